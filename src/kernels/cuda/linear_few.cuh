// What the kernels of linears of few rows share: tiles of outputs, h in shared memory, and the sums at a
// tile's end. linear_few.cu says how such a kernel works.
#pragma once
#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/cuda/acts.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/runtime.h"

namespace heed::cuda::few {

inline constexpr int kThreads = kNormThreads;
inline constexpr int kWarps = kThreads / 32;
inline constexpr int kDepth = 32;  // elements of `in` in a step
inline constexpr int kMostCluster = 8;
inline constexpr int kMostShared = 226 << 10;  // of a block, bytes
inline constexpr int64_t kMostIn = 16384;      // then h fits, whatever its rows
inline constexpr int kMostNormedRows = 2;      // more are normalised by a kernel of their own

struct Matrix {
  const void* weight;
  const float* bias;
  float* out;
  int64_t weight_row, out_row;  // weight_row: elements, of blocks bytes
  int outs, end;                // end: the tile after its last
};

struct Params {
  const void* x;  // f32 where it is normalised here, else bf16
  int64_t x_row;
  const float* norm;
  float eps;
  int tokens, in, tiles, count;
  Matrix parts[LinearsArgs::kMost];
  bool normalise, accumulate, gated;
  Act act;
  void* inner;
  int64_t inner_row;
  bool inner_bf16;
};

// The matrix of a tile (gated: the gate's) and its first output there.
struct TilePlace {
  int part, row;
};

__device__ inline TilePlace place_of_tile(const Params& p, int tile) {
  if (p.gated) return {0, tile * 8};
  int part = 0;
  int first = 0;
  while (part + 1 < p.count && tile >= p.parts[part].end) first = p.parts[part++].end;
  return {part, (tile - first) * 16};
}

// How a tile is computed: with kGroups of 8 rows of h.
template <int kGroups_>
struct Config {
  static constexpr int kGroups = kGroups_;
  static constexpr int kSums = kGroups * 128;  // of a tile, floats
  static_assert(kSums <= kThreads, "a thread finishes one");
  // Of the warps' sums and the cluster's, floats: two of each in turn, but in a cluster, whose blocks wait
  // for each other after every tile, the warps' are free again.
  __host__ __device__ static int own(int cluster) { return (cluster > 1 ? 1 : 2) * kWarps * kSums; }
  __host__ __device__ static int all(int cluster) { return cluster > 1 ? 2 * cluster * kSums : 0; }
  static int bytes(int tokens, int row_size, int cluster) {
    return (own(cluster) + all(cluster)) * int{sizeof(float)} + tokens * row_size * 2;
  }
};

// Sums of a tile have the order of the accumulators: [kGroups][lane][4]. The i-th one's token and row.
__device__ inline int token_of(int i) { return i / 128 * 8 + i / 4 % 4 * 2 + i % 2; }
__device__ inline int row_of(const Params& p, int i) { return i / 16 % 8 + (!p.gated && i % 4 >= 2 ? 8 : 0); }

// A warp's steps of `in`: [first, first + count); its block's begin with block_first. A step is kDepth
// elements, `unit` of them stay together.
struct Share {
  int block_first, first, count;
  __device__ Share(const Params& p, int rank, int cluster, int warp, int unit) {
    const int units = p.in / (kDepth * unit);
    const int begin = units * rank / cluster;
    const int own = units * (rank + 1) / cluster - begin;
    block_first = begin * unit;
    first = (begin + own * warp / kWarps) * unit;
    count = (begin + own * (warp + 1) / kWarps) * unit - first;
  }
};

// Sums of squares of a block's rows, as norm_kernel has them: first each warp's, then all.
__device__ inline void put_squares(const Params& p, float* sums) {
  const auto* x = static_cast<const float*>(p.x);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const bool row_a_warp = p.in <= kNormWarpDim;
  for (int t = 0; t < p.tokens; ++t) {
    if (row_a_warp && t != warp) continue;
    const float sum =
        squares<4>(x + t * p.x_row, p.in, static_cast<int>(row_a_warp ? threadIdx.x % 32 : threadIdx.x),
                   row_a_warp ? 32 : kThreads);
    if (threadIdx.x % 32 == 0) sums[t * kWarps + (row_a_warp ? 0 : warp)] = sum;
  }
}
__device__ inline float inverse_of_row(const Params& p, const float* sums, int token) {
  float sum = 0;
  for (int w = 0; w < (p.in <= kNormWarpDim ? 1 : kWarps); ++w) sum += sums[token * kWarps + w];
  return inverse_of(sum, p.in, p.eps);
}

// Eight columns of x times the inverse and the norm's weights.
struct Normed {
  Pack<float, 4> x[2];
  __device__ void load_from(const float* from) {
    x[0] = load<4>(from);
    x[1] = load<4>(from + 4);
  }
  __device__ void times(float factor) {
    for (int i = 0; i < 8; ++i) x[i / 4].x[i % 4] *= factor;
  }
  __device__ void times(const Normed& other) {
    for (int i = 0; i < 8; ++i) x[i / 4].x[i % 4] *= other.x[i / 4].x[i % 4];
  }
  __device__ void put(__nv_bfloat16* to) const {
    Pack<float, 8> all;
    for (int i = 0; i < 8; ++i) all.x[i] = x[i / 4].x[i % 4];
    store(to, all);
  }
};

// A warp's columns [first, first + width) of h, from `to` on; width is a multiple of kDepth.
__device__ inline void put_rows(const Params& p, int first, int width, int row_size, __nv_bfloat16* to,
                                int lane) {
  const int chunks = width / 8;
  for (int t = 0; t < p.tokens; ++t) {
    const auto* from = static_cast<const __nv_bfloat16*>(p.x) + t * p.x_row + first;
    for (int c = lane; c < chunks; c += 32) ptx::copy16(ptx::shared(to + t * row_size + c * 8), from + c * 8);
  }
  ptx::copies_commit();
  ptx::copies_wait<0>();
  __syncwarp();
}

__device__ inline void put_normed_rows(const Params& p, float* sums, int first, int width, int row_size,
                                       __nv_bfloat16* to, int lane) {
  Normed weight;
  const bool mine = lane * 8 < width;  // of the first 256 columns
  if (p.norm != nullptr && mine) weight.load_from(p.norm + first + lane * 8);
  ptx::wait_for_previous();
  const auto* x = static_cast<const float*>(p.x) + first;
  Normed row;
  if (mine) row.load_from(x + lane * 8);
  put_squares(p, sums);
  __syncthreads();
  for (int t = 0; t < p.tokens; ++t) {
    const float inverse = inverse_of_row(p, sums, t);
    for (int c = lane * 8; c < width; c += 256) {
      if (t > 0 || c >= 256) row.load_from(x + t * p.x_row + c);
      if (p.norm != nullptr && c >= 256) weight.load_from(p.norm + first + c);
      row.times(inverse);
      if (p.norm != nullptr) row.times(weight);
      row.put(to + t * row_size + c);
    }
    if (p.norm != nullptr && mine && width > 256) weight.load_from(p.norm + first + lane * 8);
  }
  __syncwarp();
}

// before: what is there, where it is added to.
__device__ inline void finish(const Matrix& m, int row, int token, float sum, float before) {
  if (m.bias != nullptr) sum += m.bias[row];
  m.out[token * m.out_row + row] = before + sum;
}

__device__ inline void finish_gated(const Params& p, int row, int token, float gate, float up) {
  if (p.parts[0].bias != nullptr) gate += p.parts[0].bias[row];
  if (p.parts[1].bias != nullptr) up += p.parts[1].bias[row];
  const float value = activated(p.act, gate, up);
  const int64_t at = token * p.inner_row + row;
  if (p.inner_bf16) {
    static_cast<__nv_bfloat16*>(p.inner)[at] = __float2bfloat16_rn(value);
  } else {
    static_cast<float*>(p.inner)[at] = value;
  }
}

// A sum over the parts that others made, in their order; parts: of a cluster, or 0: of the warps.
template <class C>
__device__ float total_of(const float* from, int i, int parts) {
  float whole = 0;
  if (parts == 0) {
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) whole += from[warp * C::kSums + i];
  } else {
    for (int part = 0; part < parts; ++part) whole += from[part * C::kSums + i];
  }
  return whole;
}

// What is there where a thread's sum of a tile is added.
template <class C>
__device__ float read_before(const Params& p, int tile, int rank) {
  const int i = static_cast<int>(threadIdx.x);
  if (!p.accumulate || rank != 0 || i >= C::kSums) return 0;
  const TilePlace at = place_of_tile(p, tile);
  const Matrix& m = p.parts[at.part];
  const int row = at.row + row_of(p, i);
  return token_of(i) < p.tokens && row < m.outs ? m.out[token_of(i) * m.out_row + row] : 0;
}

// Finishes a thread's output of a tile; parts as total_of has them.
template <class C>
__device__ void finish_tile(const Params& p, int tile, const float* from, int parts, float before) {
  const int i = static_cast<int>(threadIdx.x);
  const TilePlace at = place_of_tile(p, tile);
  const Matrix& m = p.parts[at.part];
  const int row = at.row + row_of(p, i);
  if (i >= C::kSums || token_of(i) >= p.tokens || row >= m.outs) return;
  if (!p.gated) {
    finish(m, row, token_of(i), total_of<C>(from, i, parts), before);
  } else if (i % 4 < 2) {
    finish_gated(p, row, token_of(i), total_of<C>(from, i, parts), total_of<C>(from, i + 2, parts));
  }
}

// Ends a tile whose sums are in `mine` by warps. In a cluster its first block adds up what all have, in
// `all`; both memories are free again when the next tile but one begins.
template <class C>
__device__ void finish_tile_of_block(const Params& p, int tile, const float* mine, float* all, int cluster,
                                     int rank, float before) {
  if (cluster == 1) return finish_tile<C>(p, tile, mine, 0, before);
  for (int i = static_cast<int>(threadIdx.x); i < C::kSums; i += kThreads) {
    if (token_of(i) >= p.tokens) continue;
    ptx::store_in_block(0, ptx::shared(all + rank * C::kSums + i), total_of<C>(mine, i, 0));
  }
  ptx::cluster_arrive();
  ptx::cluster_wait();
  if (rank == 0) finish_tile<C>(p, tile, all, cluster, before);
}

// Blocks that share a tile: enough for h, and for all of the device to have work.
inline int cluster_of(const Params& p, int sms) {
  constexpr int kMostRowBytes = 68 << 10;
  int cluster = std::max(1, (p.tokens * p.in * 2 + kMostRowBytes - 1) / kMostRowBytes);
  while (cluster * p.tiles * 2 <= sms && p.in / kDepth / (2 * cluster) >= kWarps) cluster *= 2;
  return std::min(cluster, kMostCluster);
}

// Clusters of the grid: all that fit at once, or as many as there are tiles.
template <class Kernel>
int clusters_of(const CudaStream& device, Kernel* kernel, int tiles, int cluster, int shared) {
  static std::mutex mutex;
  static std::map<std::tuple<Kernel*, int, int>, int> known;
  const std::lock_guard lock(mutex);
  const auto [found, is_new] = known.try_emplace({kernel, cluster, shared}, 0);
  if (is_new) {
    allow_shared(kernel, kMostShared);
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
    cudaLaunchConfig_t config = {.gridDim = dim3(static_cast<unsigned>(cluster)),
                                 .blockDim = dim3(kThreads),
                                 .dynamicSmemBytes = static_cast<size_t>(shared),
                                 .attrs = &attribute,
                                 .numAttrs = 1};
    if (cluster > 1) {
      CUDA_CALL(cudaOccupancyMaxActiveClusters(&found->second, kernel, &config));
    } else {
      int blocks = 0;
      CUDA_CALL(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kThreads,
                                                              static_cast<size_t>(shared)));
      found->second = blocks * device.sms();
    }
    CHECK(found->second > 0, cluster, shared);
  }
  return std::min(tiles, found->second);
}

// One wave of blocks over all tiles.
template <class Kernel>
void launch_over_tiles(const Stream& stream, Kernel* kernel, const Params& p, int cluster, int row_size,
                       int shared) {
  const int clusters = clusters_of(device_of(stream), kernel, p.tiles, cluster, shared);
  launch(stream,
         {.blocks = static_cast<unsigned>(clusters * cluster),
          .threads = kThreads,
          .shared = shared,
          .cluster = cluster},
         kernel, p, cluster, row_size);
}

// Rows at multiples of 16 bytes.
inline bool rows_in_chunks(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && t.stride[0] * size_of(t.dtype) % 16 == 0;
}

// Whether what such a kernel reads besides the weights lies as it wants it.
inline bool rows_fit(const CudaStream& device, const LinearsArgs& args, int64_t most_rows) {
  const Tensor& h = args.normalise ? args.h : args.x;
  return device.hopper() && 0 < h.size[0] && h.size[0] <= most_rows && h.dtype == DType::kBF16 &&
         h.size[1] % kDepth == 0 && h.size[1] <= kMostIn && rows_in_chunks(args.x) && rows_in_chunks(h) &&
         (!args.norm.defined() || reinterpret_cast<uintptr_t>(args.norm.data) % 16 == 0);
}

inline Params params_of(const LinearsArgs& args, const Tensor& h, bool normalise) {
  Params p = {.x = normalise ? args.x.data : h.data,
              .x_row = normalise ? args.x.stride[0] : h.stride[0],
              .norm = args.norm.defined() ? args.norm.f32() : nullptr,
              .eps = args.eps,
              .tokens = static_cast<int>(h.size[0]),
              .in = static_cast<int>(h.size[1]),
              .tiles = 0,
              .count = args.count,
              .parts = {},
              .normalise = normalise,
              .accumulate = args.accumulate,
              .gated = args.gated,
              .act = args.act,
              .inner = args.inner.data,
              .inner_row = args.inner.stride[0],
              .inner_bf16 = args.inner.dtype == DType::kBF16};
  for (int i = 0; i < args.count; ++i) {
    const LinearsArgs::Part& part = args.parts[i];
    p.parts[i] = {.weight = part.weight.data,
                  .bias = part.bias.defined() ? part.bias.f32() : nullptr,
                  .out = part.out.mutable_f32(),
                  .weight_row = is_blocks(part.weight.dtype)
                                    ? bytes_of(part.weight.dtype, part.weight.stride[0])
                                    : part.weight.stride[0],
                  .out_row = part.out.stride[0],
                  .outs = static_cast<int>(part.weight.size[0]),
                  .end = 0};
  }
  const int tile_rows = p.gated ? 8 : 16;
  for (int i = 0; i < (p.gated ? 1 : p.count); ++i) {
    p.tiles += (p.parts[i].outs + tile_rows - 1) / tile_rows;
    p.parts[i].end = p.tiles;
  }
  return p;
}

}  // namespace heed::cuda::few
