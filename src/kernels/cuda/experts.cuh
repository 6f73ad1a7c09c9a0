// What the kernels of expert_linear get, and how a block finds its tile.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/kernels.h"

namespace heed::cuda {

inline constexpr int kMostExperts = 1024;

struct Experts {
  const void* x;
  int64_t x_row;
  const int32_t *rows, *expert_start;
  int64_t weight_row;  // elements, of blocks bytes
  const float* bias;
  int64_t bias_row;
  float* out;
  int64_t out_row;
  int count, in, outs;
  const void* weights[kMostExperts];
};

// Which expert the n-th tile of kRows rows is of, and its first row; a block asks with all its threads.
template <int kRows>
__device__ int2 find_tile(const Experts& p, int n) {
  __shared__ int2 found;
  if (threadIdx.x == 0) found = {-1, 0};
  __syncthreads();
  if (threadIdx.x < 32) {
    int before = 0;  // tiles of the experts so far
    for (int first = 0; first < p.count && before <= n; first += 32) {
      const int e = first + static_cast<int>(threadIdx.x);
      const int start = p.expert_start[min(e, p.count)];
      const int own = e < p.count ? (p.expert_start[e + 1] - start + kRows - 1) / kRows : 0;
      int sum = own;
      for (int step = 1; step < 32; step *= 2) {
        const int left = __shfl_up_sync(~0U, sum, step);
        if (static_cast<int>(threadIdx.x) >= step) sum += left;
      }
      const int own_first = before + sum - own;
      if (own_first <= n && n < own_first + own) found = {e, start + (n - own_first) * kRows};
      before += __shfl_sync(~0U, sum, 31);
    }
  }
  __syncthreads();
  return found;
}

// On tensor cores; bfloat16 x and weights whose rows begin at multiples of 16 bytes.
bool tiles_take(const Experts& p);
void run_expert_tiles(const Stream& stream, const Experts& p, int64_t assignments);

}  // namespace heed::cuda
