// The largest of each row and where it is, by parts of a row that a block each takes: what arg_max and draw
// begin with.
#pragma once
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {

inline constexpr int kPartThreads = 256;
inline constexpr int kPart = 4096;  // elements
constexpr int parts_of(int64_t dim) { return static_cast<int>((dim + kPart - 1) / kPart); }

using Key = unsigned long long;

// Keys compare as (value, -place): equal values by their place, the first being the larger. 0: no candidate.
__device__ inline Key key_of(float x, int place) {
  if (!(x > -INFINITY)) return 0;
  const unsigned bits = __float_as_uint(x + 0.0F);  // -0 is as large as 0
  const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return (Key{ordered} << 32) | (0xffffffffU - static_cast<unsigned>(place));
}

__device__ inline Key largest_of_warp(Key key) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const Key other = __shfl_xor_sync(~0U, key, step);
    key = other > key ? other : key;
  }
  return key;
}

// 0 where there is none.
__device__ inline int32_t place_of(Key key) {
  return key == 0 ? 0 : static_cast<int32_t>(0xffffffffU - static_cast<unsigned>(key));
}

__device__ inline float value_of(Key key) {
  const auto ordered = static_cast<unsigned>(key >> 32);
  return __uint_as_float((ordered >> 31) != 0 ? ordered & 0x7fffffffU : ~ordered);
}

template <int kEach>
__global__ void __launch_bounds__(kPartThreads)
    largest_kernel(const float* x, int64_t x_row, int dim, Key* parts) {
  ptx::let_next_start();
  ptx::wait_for_previous();
  __shared__ Key warps[kPartThreads / 32];
  const float* row = x + blockIdx.y * x_row;
  const int end = min(dim, (static_cast<int>(blockIdx.x) + 1) * kPart);
  Key best = 0;
  for (int i = static_cast<int>(blockIdx.x) * kPart + static_cast<int>(threadIdx.x) * kEach; i < end;
       i += kPartThreads * kEach) {
    const Pack<float, kEach> values = load<kEach>(row + i);
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const Key key = key_of(values.x[j], i + j);
      best = key > best ? key : best;
    }
  }
  best = largest_of_warp(best);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  best = largest_of_warp(threadIdx.x < kPartThreads / 32 ? warps[threadIdx.x] : 0);
  if (threadIdx.x == 0) parts[int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = best;
}

// parts: [rows, parts_of(dim)]
inline void find_largest(Stream& stream, const Tensor& x, Key* parts) {
  const auto dim = static_cast<int>(x.size[1]);
  const LaunchShape shape = {.blocks = static_cast<unsigned>(parts_of(dim)),
                             .rows = static_cast<unsigned>(x.size[0]),
                             .threads = kPartThreads};
  if (in_fours(x)) {
    launch(stream, shape, largest_kernel<4>, x.f32(), x.stride[0], dim, parts);
  } else {
    launch(stream, shape, largest_kernel<1>, x.f32(), x.stride[0], dim, parts);
  }
}

}  // namespace heed::cuda
