// arg_max: the largest of each row and where it is. Definition: kernels/ref/ref.cpp, arg_max. Bound by
// reading the rows once: a row is cut into parts of kPart elements, one a block, whose results a warp
// compares.
#include "kernels/checks.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPart = 4096;
constexpr int64_t kMostRows = 4096;  // of a launch

using Key = unsigned long long;

// Keys compare as (value, -place): equal values by their place, the first being the larger. 0: no candidate.
__device__ Key key_of(float x, int place) {
  if (!(x > -INFINITY)) return 0;
  const unsigned bits = __float_as_uint(x + 0.0F);  // -0 is as large as 0
  const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return (Key{ordered} << 32) | (0xffffffffU - static_cast<unsigned>(place));
}

__device__ Key largest_of_warp(Key key) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const Key other = __shfl_xor_sync(~0U, key, step);
    key = other > key ? other : key;
  }
  return key;
}

template <int kEach>
__global__ void __launch_bounds__(kThreads) part_kernel(const float* x, int64_t x_row, int dim, Key* parts) {
  ptx::let_next_start();
  ptx::wait_for_previous();
  __shared__ Key warps[kThreads / 32];
  const float* row = x + blockIdx.y * x_row;
  const int end = min(dim, (static_cast<int>(blockIdx.x) + 1) * kPart);
  Key best = 0;
  for (int i = static_cast<int>(blockIdx.x) * kPart + static_cast<int>(threadIdx.x) * kEach; i < end;
       i += kThreads * kEach) {
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
  best = largest_of_warp(threadIdx.x < kThreads / 32 ? warps[threadIdx.x] : 0);
  if (threadIdx.x == 0) parts[int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = best;
}

__global__ void __launch_bounds__(32) finish_kernel(const Key* parts, int count, int32_t* ids) {
  ptx::let_next_start();
  ptx::wait_for_previous();
  const Key* row = parts + int64_t{blockIdx.x} * count;
  Key best = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 32) best = row[i] > best ? row[i] : best;
  best = largest_of_warp(best);
  if (threadIdx.x == 0)
    ids[blockIdx.x] = best == 0 ? 0 : static_cast<int32_t>(0xffffffffU - static_cast<unsigned>(best));
}

}  // namespace

void arg_max(Stream& stream, const ArgMaxArgs& args) {
  const Shapes n = check(args);
  const int64_t rows = n["rows"];
  const int dim = static_cast<int>(n["dim"]);
  if (rows == 0) return;
  const auto count = static_cast<unsigned>((dim + kPart - 1) / kPart);
  for (int64_t first = 0; first < rows; first += kMostRows) {
    const auto some = static_cast<unsigned>(std::min(kMostRows, rows - first));
    auto* parts = static_cast<Key*>(device_of(stream).scratch(int64_t{some} * count * int64_t{sizeof(Key)}));
    const float* x = args.x.f32() + first * args.x.stride[0];
    const LaunchShape shape = {.blocks = count, .rows = some, .threads = kThreads};
    if (count > 0 && in_fours(args.x)) {
      launch(stream, shape, part_kernel<4>, x, args.x.stride[0], dim, parts);
    } else if (count > 0) {
      launch(stream, shape, part_kernel<1>, x, args.x.stride[0], dim, parts);
    }
    launch(stream, {.blocks = some, .threads = 32}, finish_kernel, parts, static_cast<int>(count),
           args.ids + first);
  }
}

}  // namespace heed::cuda
