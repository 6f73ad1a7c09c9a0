// Attention of long sequences on Hopper. Definition: kernels/ref/ref.cpp, attention. Bound by the tensor
// cores; figures: docs/cuda.md.
//
// A block runs one unit at a time: 64 packed rows for each of kGroups warpgroups, over tiles of kKeys keys
// from an absolute multiple on. One more warpgroup brings the data: two warps have the tensor copy engine
// fill rings of tiles of keys and of values, page by page (one warp for both was a tenth slower); another
// brings the next unit. A computing warpgroup keeps two products in flight and computes weights meanwhile:
//
//   tensor cores:  Q K(j+1)^T,  P(j) V(j)           | Q K(j+2)^T, ...
//   the others:    .........    P(j+1) = softmax of | ...
//
// and warpgroups take turns at issuing, so that one's softmax runs under another's products. From unit to
// unit the next queries come under the last product, and results go out under the first of the next. Tiles
// that all rows see whole are not tested, tiles that no row sees are not visited. Only values outside of the
// unit's keys within a visited tile need care: whatever lies there, their weight 0 must give 0, so they are
// cleared.
#include <numeric>

#include "kernels/cuda/attention_consume.cuh"
#include "kernels/cuda/attention_produce.cuh"
#include "kernels/cuda/tensor_map.h"

// For GPUs before Hopper the kernel is compiled empty, and what it would use is unused.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

using namespace prefill;

template <class C>
__global__ void __launch_bounds__(C::kThreads, 1)
    prefill_kernel(const __grid_constant__ PrefillParams params) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) char raw[];
  const Memory<C> memory(raw);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < C::kStages; ++stage) {
      ptx::barrier_init(memory.k_full(stage), 1);
      ptx::barrier_init(memory.v_full(stage), 1);
      ptx::barrier_init(memory.k_free(stage), C::kConsumers);
      ptx::barrier_init(memory.v_free(stage), C::kConsumers);
    }
    for (int slot = 0; slot < kPackets; ++slot) {
      ptx::barrier_init(memory.unit_full(slot), 32);
      ptx::barrier_init(memory.unit_free(slot), C::kConsumers + 2);
    }
    ptx::barrier_inits_done();
  }
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    ptx::give_registers<C::kProducerRegisters>();
    const auto warp = threadIdx.x / 32;
    if (warp == 0) {
      fill_ring<C>(params, memory, params.k, params.k_steps, memory.k(0), memory.k_full(0), memory.k_free(0));
    } else if (warp == 1) {
      fill_ring<C>(params, memory, params.v, params.v_steps, memory.v(0), memory.v_full(0), memory.v_free(0));
    } else if (warp == 2) {
      bring_units<C>(params.attention, memory);
    }
  } else {
    ptx::take_registers<C::kRegisters>();
    Consumer<C> consumer(params, memory);
    if (consumer.group == C::kGroups - 1) consumer.give_turn();  // the first turn
    consumer.run();
  }
#endif
}

// ---- The host's side ----

CUtensorMap map_of(const AttentionParams& p, const __nv_bfloat16* data, int dim, int64_t row,
                   const Steps& steps, int box, int atoms) {
  const auto n = [](int64_t size) { return static_cast<cuuint64_t>(size); };
  const bool whole = dim % kAtom == 0;
  CUtensorMap map;
  const cuuint64_t sizes[] = {n(whole ? kAtom : dim), kAtomRows, n(whole ? dim / kAtom : 1),
                              n(p.block / kAtomRows),
                              n((p.blocks - 1) * steps.block + int64_t{p.kv_heads - 1} * steps.head + 1)};
  const cuuint64_t strides[] = {n(row * 2), kRowBytes, n(row * kAtomRows * 2), n(steps.stride * 2)};
  const cuuint32_t boxes[] = {kAtom, kAtomRows, static_cast<cuuint32_t>(whole ? atoms : 1),
                              static_cast<cuuint32_t>(whole ? box / kAtomRows : 1), 1};
  const cuuint32_t ones[] = {1, 1, 1, 1, 1};
  const CUresult result =
      encode_tiled()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 5, const_cast<__nv_bfloat16*>(data), sizes,
                     strides, boxes, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled", static_cast<int>(result), dim, p.block, row,
        steps.stride);
  return map;
}

Steps steps_of(int64_t block, int64_t head) {
  const int64_t stride = std::gcd(block, head);
  return {static_cast<int>(block / stride), static_cast<int>(head / stride), stride};
}

template <class C>
void launch_for(const AttentionLaunch& launch, const AttentionParams& p) {
  static const bool ready = [] {
    allow_shared(prefill_kernel<C>, C::kShared);
    return true;
  }();
  CHECK(ready);
  PrefillParams params;
  params.box = std::gcd(p.block, C::kKeys);
  params.whole = p.head_dim % kAtom == 0;
  params.k_steps = steps_of(p.k_block, p.k_head);
  params.v_steps = steps_of(p.v_block, p.v_head);
  params.k = map_of(p, p.k, p.head_dim, p.k_row, params.k_steps, params.box, C::kAtoms);
  params.v = map_of(p, p.v, p.v_dim, p.v_row, params.v_steps, params.box, C::kAtoms);
  params.wide = p.out_bf16 && reinterpret_cast<uintptr_t>(p.out) % 16 == 0 && p.out_token % 8 == 0 &&
                p.out_head % 8 == 0 && p.v_dim % 32 == 0;
  params.attention = p;
  prefill_kernel<C><<<launch.sms, C::kThreads, C::kShared, handle_of(launch.stream)>>>(params);
  CUDA_LAUNCHED("attention prefill_kernel");
}

using Dim64 = Config<64, 128, 3, 4, 32, 160>;
using Dim128 = Config<128, 128, 2, 2, 40, 232>;
using Dim256 = Config<256, 64, 2, 2, 40, 232>;

}  // namespace

int prefill_tile(int head_dim, int v_dim) {
  if (head_dim != v_dim || head_dim > Dim256::kDim) return 0;
  return head_dim <= Dim64::kDim ? Dim64::kRows : head_dim <= Dim128::kDim ? Dim128::kRows : Dim256::kRows;
}

void run_prefill(const AttentionLaunch& launch, const AttentionParams& params) {
  if (params.head_dim <= Dim64::kDim) return launch_for<Dim64>(launch, params);
  if (params.head_dim <= Dim128::kDim) return launch_for<Dim128>(launch, params);
  launch_for<Dim256>(launch, params);
}

}  // namespace heed::cuda
