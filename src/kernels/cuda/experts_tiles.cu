// expert_linear on tensor cores. Definition: kernels/ref/ref_moe.cpp. Figures: docs/cuda.md.
//
// A block has a tile of rows of one expert by a tile of its outputs, and runs along the summed dimension 64
// at a time, whose rows and weights a ring of asynchronous copies brings. Few rows are bound by reading the
// weights: small tiles, so that there are blocks enough; many by the products.
#include <algorithm>

#include "kernels/cuda/experts.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/wgmma.cuh"

namespace heed::cuda {
namespace {

constexpr int kDepth = 64;             // of a stage
constexpr int kChunk = 8;              // elements in 16 bytes
constexpr int kRowBytes = kDepth * 2;  // of a stage's row, its chunks of 16 bytes at chunk ^ row
constexpr int kRowChunks = kDepth / kChunk;

template <int kRows_, int kOuts_, int kWarpRows_, int kWarpOuts_, int kStages_>
struct Tile {
  static constexpr int kRows = kRows_, kOuts = kOuts_;  // of a block
  static constexpr int kAcross = kOuts / kWarpOuts_;    // warps
  static constexpr int kThreads = kRows / kWarpRows_ * kAcross * 32;
  static constexpr int kStages = kStages_;
  static constexpr int kM = kWarpRows_ / 16, kN = kWarpOuts_ / 8;  // products of a warp
  static constexpr int kSums = kM * kN * 4;                        // of a thread
  static constexpr int kStage = (kRows + kOuts) * kRowBytes;
  static constexpr int kShared = kStages * kStage + 1024;  // 1024 to align
};

// 16-byte chunk `chunk` of row `row` in a stage's part.
__device__ __forceinline__ uint32_t place(uint32_t part, int row, int chunk) {
  return part + row * kRowBytes + (chunk ^ (row % kRowChunks)) * 16;
}

// The part of a stage that has kCount rows: thread i copies chunk i % 8 of rows i / 8, i / 8 + kThreads / 8,
// ...
template <int kCount, int kThreads>
struct Rows {
  static constexpr int kEach = kCount * kRowChunks / kThreads;
  const __nv_bfloat16* from[kEach];
  bool real[kEach];
  static __device__ int row(int i) {
    return static_cast<int>(threadIdx.x) / kRowChunks + i * (kThreads / kRowChunks);
  }
  __device__ __forceinline__ void copy(uint32_t part, int k, int in) const {
    const int chunk = static_cast<int>(threadIdx.x) % kRowChunks;
    const int at = k + chunk * kChunk;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      ptx::copy16(place(part, row(i), chunk), from[i] + (at < in ? at : 0), real[i] && at < in);
    }
  }
};

template <class C>
__device__ __forceinline__ void multiply_by_warp(uint32_t stage, float (&sum)[C::kSums]) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = warp / C::kAcross * C::kM * 16;
  const int out = warp % C::kAcross * C::kN * 8;
  const uint32_t weights = stage + C::kRows * kRowBytes;
#pragma unroll
  for (int k = 0; k < kRowChunks; k += 2) {
    uint32_t a[C::kM][4];
    uint32_t b[C::kN / 2][4];
#pragma unroll
    for (int m = 0; m < C::kM; ++m) {
      ptx::load_matrices(a[m], place(stage, row + m * 16 + lane % 16, k + lane / 16));
    }
#pragma unroll
    for (int n = 0; n < C::kN / 2; ++n) {
      ptx::load_matrices(b[n], place(weights, out + n * 16 + lane / 16 * 8 + lane % 8, k + lane / 8 % 2));
    }
#pragma unroll
    for (int m = 0; m < C::kM; ++m) {
#pragma unroll
      for (int n = 0; n < C::kN; ++n) {
        ptx::multiply(reinterpret_cast<float(&)[4]>(sum[(m * C::kN + n) * 4]), a[m], b[n / 2][n % 2 * 2],
                      b[n / 2][n % 2 * 2 + 1]);
      }
    }
  }
}

// The same where a warp's tile is its share of a warpgroup's: 16 rows of 64, by 128 outputs.
template <class C>
__device__ __forceinline__ void multiply_stage(uint32_t stage, float (&sum)[C::kSums]) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (C::kM == 1 && C::kN == 16) {
    constexpr int kAtom = 8 * kRowBytes;
    const int group =
        __shfl_sync(~0U, static_cast<int>(threadIdx.x) / 128, 0);  // so it is known to be uniform
    const uint32_t rows = stage + group * 64 * kRowBytes;
    const uint32_t weights = stage + C::kRows * kRowBytes;
    wgmma::pin(sum);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < kRowBytes; k += 32) {
      wgmma::multiply(sum, wgmma::rows_descriptor(rows + k, kAtom),
                      wgmma::rows_descriptor(weights + k, kAtom), true);
    }
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::pin(sum);
    return;
  }
#endif
  multiply_by_warp<C>(stage, sum);
}

template <class C>
__global__ void __launch_bounds__(C::kThreads, C::kThreads == 256 ? 2 : 1)
    tile_kernel(const __grid_constant__ Experts p) {
  extern __shared__ __align__(16) char memory[];
  const int2 tile = find_tile<C::kRows>(p, static_cast<int>(blockIdx.y));
  const int e = tile.x;
  if (e < 0) return;
  const int end = p.expert_start[e + 1];
  const int column = static_cast<int>(blockIdx.x) * C::kOuts;
  Rows<C::kRows, C::kThreads> x;
  Rows<C::kOuts, C::kThreads> w;
#pragma unroll
  for (int i = 0; i < x.kEach; ++i) {
    const int at = tile.y + x.row(i);
    x.real[i] = at < end;
    const int from = min(at, end - 1);
    x.from[i] = static_cast<const __nv_bfloat16*>(p.x) + (p.rows != nullptr ? p.rows[from] : from) * p.x_row;
  }
#pragma unroll
  for (int i = 0; i < w.kEach; ++i) {
    const int at = column + w.row(i);
    w.real[i] = at < p.outs;
    w.from[i] = static_cast<const __nv_bfloat16*>(p.weights[e]) + min(at, p.outs - 1) * p.weight_row;
  }
  const uint32_t ring = (ptx::shared(memory) + 1023) / 1024 * 1024;
  const int steps = (p.in + kDepth - 1) / kDepth;
  const auto fetch = [&](int step) {
    if (step < steps) {
      const uint32_t stage = ring + step % C::kStages * C::kStage;
      x.copy(stage, step * kDepth, p.in);
      w.copy(stage + C::kRows * kRowBytes, step * kDepth, p.in);
    }
    ptx::copies_commit();
  };
  for (int step = 0; step < C::kStages - 1; ++step) fetch(step);
  float sum[C::kSums] = {};
  for (int step = 0; step < steps; ++step) {
    ptx::copies_wait<C::kStages - 2>();
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    ptx::shared_writes_to_engines();
#endif
    __syncthreads();
    fetch(step + C::kStages - 1);  // where everybody is done with the step before
    multiply_stage<C>(ring + step % C::kStages * C::kStage, sum);
  }
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int m = 0; m < C::kM; ++m) {
#pragma unroll
    for (int n = 0; n < C::kN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = tile.y + (warp / C::kAcross * C::kM + m) * 16 + lane / 4 + i / 2 * 8;
        const int o = column + (warp % C::kAcross * C::kN + n) * 8 + lane % 4 * 2 + i % 2;
        if (row >= end || o >= p.outs) continue;
        p.out[row * p.out_row + o] =
            sum[(m * C::kN + n) * 4 + i] + (p.bias != nullptr ? p.bias[e * p.bias_row + o] : 0);
      }
    }
  }
}

template <class C>
void run_tiles(const Stream& stream, const Experts& p, int64_t assignments) {
  static const bool ready = [] {
    allow_shared(tile_kernel<C>, C::kShared);
    return true;
  }();
  CHECK(ready);
  // As many tiles of rows as there can be; those that there are not return at once.
  const int64_t tiles = std::min<int64_t>(assignments, assignments / C::kRows + p.count);
  const dim3 grid(static_cast<unsigned>((p.outs + C::kOuts - 1) / C::kOuts), static_cast<unsigned>(tiles));
  tile_kernel<C><<<grid, C::kThreads, C::kShared, handle_of(stream)>>>(p);
  CUDA_LAUNCHED("expert tile_kernel");
}

using Few = Tile<16, 64, 16, 16, 4>;
using Some = Tile<64, 128, 32, 64, 4>;
using Many = Tile<128, 128, 16, 128, 3>;

}  // namespace

bool tiles_take(const Experts& p) {
  bool yes = p.in % kChunk == 0 && p.x_row % kChunk == 0 && p.weight_row % kChunk == 0 &&
             reinterpret_cast<uintptr_t>(p.x) % 16 == 0;
  for (int e = 0; e < p.count; ++e) yes = yes && reinterpret_cast<uintptr_t>(p.weights[e]) % 16 == 0;
  return yes;
}

void run_expert_tiles(const Stream& stream, const Experts& p, int64_t assignments) {
  const int64_t each = assignments / p.count;
  if (each <= Few::kRows) return run_tiles<Few>(stream, p, assignments);
  if (each <= Some::kRows) return run_tiles<Some>(stream, p, assignments);
  run_tiles<Many>(stream, p, assignments);
}

}  // namespace heed::cuda
