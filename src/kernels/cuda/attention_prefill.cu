// Attention of long sequences over bfloat16 on Hopper. The scheme: attention_prefill.cuh.
#include <numeric>

#include "kernels/cuda/attention_prefill.cuh"
#include "kernels/cuda/tensor_map.h"

// For GPUs before Hopper the kernel is compiled empty, and what it would use is unused.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

using namespace prefill;

// ---- The host's side ----

CUtensorMap map_of(const AttentionParams& p, const void* data, int dim, int64_t row, const Steps& steps,
                   int box, int atoms) {
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
      encode_tiled()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 5, const_cast<void*>(data), sizes, strides,
                     boxes, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
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
  PrefillParams params = {};
  params.box = std::gcd(p.block, C::kKeys);
  params.whole = p.head_dim % kAtom == 0;
  params.k_steps = steps_of(p.k_block, p.k_head);
  params.v_steps = steps_of(p.v_block, p.v_head);
  params.k = map_of(p, p.k, p.head_dim, p.k_row, params.k_steps, params.box, C::kAtoms);
  params.v = map_of(p, p.v, p.v_dim, p.v_row, params.v_steps, params.box, C::kAtoms);
  launch_prefill<C>(launch, p, params);
}

using Dim64 = Config<OfBf16, 64, 128, 3, 4, 32, 160>;
using Dim128 = Config<OfBf16, 128, 128, 2, 2, 40, 232>;
using Dim256 = Config<OfBf16, 256, 64, 2, 2, 40, 232>;

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
