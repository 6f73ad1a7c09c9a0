// expert_linear of few rows an expert, bfloat16, with weights in blocks. Definition: kernels/ref/ref_moe.cpp;
// but rows stay as they are. A block has up to 8 rows of one expert and walks over some tiles of its outputs
// as block_few.cuh has it.
#pragma once
#include "kernels/cuda/block_few.cuh"
#include "kernels/cuda/experts.cuh"

namespace heed::cuda::few {

inline constexpr int kExpertRows = 8;

// A block's columns of the rows of assignments [first, first + p.tokens).
__device__ inline void put_rows_of(const Experts& e, const Params& p, int first, int column, int width,
                                   int row_size, __nv_bfloat16* to) {
  for (int t = 0; t < p.tokens; ++t) {
    const int row = e.rows != nullptr ? e.rows[first + t] : first + t;
    const auto* from = static_cast<const __nv_bfloat16*>(e.x) + row * e.x_row + column;
    for (int c = static_cast<int>(threadIdx.x % 32); c < width / 8; c += 32)
      ptx::copy16(ptx::shared(to + t * row_size + c * 8), from + c * 8);
  }
  ptx::copies_commit();
  ptx::copies_wait<0>();
  __syncwarp();
}

template <class F>
__global__ void __launch_bounds__(kThreads, 2)
    block_expert_kernel(const __grid_constant__ Experts e, int row_size) {
#if __CUDA_ARCH__ >= 900
  using C = Config<1>;
  const int2 found = find_tile<kExpertRows>(e, static_cast<int>(blockIdx.y));
  if (found.x < 0) return;
  Params p = {};
  p.tokens = min(kExpertRows, e.expert_start[found.x + 1] - found.y);
  p.in = e.in;
  p.tiles = (e.outs + 15) / 16;
  p.count = 1;
  p.parts[0] = {.weight = e.weights[found.x],
                .bias = e.bias != nullptr ? e.bias + found.x * e.bias_row : nullptr,
                .out = e.out + found.y * e.out_row,
                .weight_row = e.weight_row,
                .out_row = e.out_row,
                .outs = e.outs,
                .end = p.tiles};
  const BlockMemory<F, C> memory(ptx::block_memory<float, 128>(), 1);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const Share share(p, 0, 1, warp, BlockRing<F>::kUnit);
  const auto tile = static_cast<int>(blockIdx.x);
  const auto blocks = static_cast<int>(gridDim.x);
  Chunks<F> chunks(p, share, tile, blocks, static_cast<int>(threadIdx.x % 32));
  fetch_first(memory, chunks, warp);
  put_rows_of(e, p, found.y, share.first * kDepth, share.count * kDepth, row_size,
              memory.rows + share.first * kDepth);
  walk_tiles(p, memory, share, chunks, row_size, tile, blocks, 1, 0, 0.0F);
#endif
}

template <class F>
void launch_block_experts(const Stream& stream, const Experts& e, int64_t assignments) {
  const int row_size = e.in + kRowPad;
  const int shared = BlockMemory<F, Config<1>>::bytes(kExpertRows, row_size, 1);
  static const bool ready = [] {
    allow_shared(block_expert_kernel<F>, kMostShared);
    return true;
  }();
  CHECK(ready && shared <= kMostShared, e.in);
  // As many tiles of rows as there can be; those that there are not return at once. At least so many tiles of
  // outputs a block that one wave has all of them.
  const int64_t row_tiles = std::min<int64_t>(assignments, assignments / kExpertRows + e.count);
  const int64_t used = std::min<int64_t>(assignments, row_tiles);
  const int tiles = (e.outs + 15) / 16;
  const int64_t wave = 2 * device_of(stream).sms();
  const auto each = static_cast<int>((tiles * used + wave - 1) / wave);
  const dim3 grid(static_cast<unsigned>((tiles + each - 1) / each), static_cast<unsigned>(row_tiles));
  block_expert_kernel<F><<<grid, kThreads, static_cast<size_t>(shared), handle_of(stream)>>>(e, row_size);
  CUDA_LAUNCHED("block_expert_kernel");
}

}  // namespace heed::cuda::few
