// What the kernels that normalise rows share, so that a row has the same bits in all of them: rows of up to
// kNormWarpDim elements are a warp's, longer ones a block's of kNormThreads, whose warps' sums are added in
// their order.
#pragma once
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {

inline constexpr int kNormThreads = 256;
inline constexpr int64_t kNormWarpDim = 1024;

template <int kCount>
__device__ void add_squares(float& sum, const Pack<float, kCount>& v) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum += v.x[i] * v.x[i];
}
__device__ inline float sum_of_warp(float sum) {
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0U, sum, step);
  return sum;
}

// The sum of squares of a warp's part of a row that `threads` threads share, this being the `thread`-th:
// kCount elements at a time.
template <int kCount>
__device__ float squares(const float* x, int64_t dim, int thread, int threads) {
  float sum = 0;
  for (int64_t c = thread * kCount; c < dim; c += threads * kCount) add_squares(sum, load<kCount>(x + c));
  return sum_of_warp(sum);
}

__device__ inline float inverse_of(float squares, int64_t dim, float eps) {
  return 1 / sqrtf(squares / static_cast<float>(dim) + eps);
}

}  // namespace heed::cuda
