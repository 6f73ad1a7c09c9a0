// Attention of long sequences on Hopper. Definition: kernels/ref/ref.cpp, attention. Bound by the tensor
// cores; figures: docs/cuda.md.
//
// A block runs one unit at a time: 64 packed rows for each of kGroups warpgroups, over tiles of kKeys keys
// from an absolute multiple on. One more warpgroup brings the data: two warps have the tensor copy engine
// fill rings of tiles of keys and of values, page by page (one warp for both was a tenth slower); another
// brings the next unit. Of a cache of fp8 three warps fill them (attention_widen.cuh). Computing warpgroups
// take turns at the tensor cores, so that one's softmax runs under another's products:
//
//   one:      Q K(j+1)^T, P(j) V(j) | P(j+1) = softmax of it  | Q K(j+2)^T, P(j+1) V(j+1) | ...
//   another:  softmax               | Q K(j+1)^T, P(j) V(j)   | softmax                   | ...
//
// A warp that issues a product stands still until the tensor cores have taken it, that is for as long as the
// product before it lasts, so a softmax cannot run under products of its own. Then nothing is gained by
// waiting for Q K(j+1)^T alone: after both products have ended, the compiler is free to weave rounding and
// sums into the exponentials. The next queries come under a unit's last product where registers allow. Tiles
// that all rows see whole are not tested, tiles that no row sees are not visited. Only values outside of the
// unit's keys within a visited tile need care: whatever lies there, their weight 0 must give 0, so they are
// cleared.
#pragma once
#include "kernels/cuda/attention_consume.cuh"
#include "kernels/cuda/attention_produce.cuh"
#include "kernels/cuda/attention_widen.cuh"

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
      ptx::barrier_init(memory.k_full(stage), C::Type::kWidens ? C::kFillers : 1);
      ptx::barrier_init(memory.v_full(stage), C::Type::kWidens ? C::kFillers : 1);
      ptx::barrier_init(memory.k_free(stage), C::kConsumers);
      ptx::barrier_init(memory.v_free(stage), C::kConsumers);
    }
    for (int slot = 0; slot < C::kPackets; ++slot) {
      ptx::barrier_init(memory.unit_full(slot), 32);
      ptx::barrier_init(memory.unit_free(slot), C::kConsumers + C::kFillers);
    }
    ptx::barrier_inits_done();
  }
  __syncthreads();
  // This way round, or the compiler has computing threads make do with what all have at the start.
  if (threadIdx.x >= kGroupThreads) {
    ptx::take_registers<C::kRegisters>();
    Consumer<C> consumer(params, memory);
    if (consumer.group == C::kGroups - 1) consumer.give_turn();  // the first turn
    consumer.run();
  } else {
    ptx::give_registers<C::kProducerRegisters>();
    const auto warp = threadIdx.x / 32;
    if constexpr (C::Type::kWidens) {
      if (warp < C::kFillers) {
        widen_tiles<C>(params.attention, memory, static_cast<int>(warp));
      } else {
        bring_units<C>(params.attention, memory);
      }
    } else if (warp == 0) {
      fill_ring<C>(params, memory, params.k, params.k_steps, memory.k(0), memory.k_full(0), memory.k_free(0));
    } else if (warp == 1) {
      fill_ring<C>(params, memory, params.v, params.v_steps, memory.v(0), memory.v_full(0), memory.v_free(0));
    } else if (warp == 2) {
      bring_units<C>(params.attention, memory);
    }
  }
#endif
}

// What is left of a launch when the maps are there.
template <class C>
void launch_prefill(const AttentionLaunch& launch, const AttentionParams& p, PrefillParams params) {
  static const bool ready = [] {
    allow_shared(prefill_kernel<C>, C::kShared);
    return true;
  }();
  CHECK(ready);
  params.wide = writes_wide(p);
  params.attention = p;
  prefill_kernel<C><<<launch.sms, C::kThreads, C::kShared, handle_of(launch.stream)>>>(params);
  CUDA_LAUNCHED("attention prefill_kernel");
}

}  // namespace
}  // namespace heed::cuda
