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
  int tile_rows = 16;  // outputs of a tile, gated: of each
  static_assert(LinearsArgs::kMost == 3);
  int second = INT32_MAX, third = INT32_MAX;  // the first tiles of these parts, where tiles are not of one
};

// The matrix of a tile (gated: the gate's) and its first output there.
struct TilePlace {
  int part, row;
};

__device__ inline TilePlace place_of_tile(const Params& p, int tile) {
  const int part = (tile >= p.second ? 1 : 0) + (tile >= p.third ? 1 : 0);
  const int first = part == 0 ? 0 : part == 1 ? p.second : p.third;
  return {part, (tile - first) * p.tile_rows};
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
__device__ inline int token_of(unsigned i) { return static_cast<int>(i / 128 * 8 + i / 4 % 4 * 2 + i % 2); }
__device__ inline int row_of(const Params& p, unsigned i) {
  return static_cast<int>(i / 16 % 8 + (!p.gated && i % 4 >= 2 ? 8 : 0));
}

// A warp's steps of `in`: [first, first + count), of its block's [block_first, block_first + block_count). A
// step is kDepth elements, `unit` of them stay together.
struct Share {
  int block_first, block_count, first, count;
  __device__ Share(const Params& p, int rank, int cluster, int warp, int unit) {
    const int units = p.in / (kDepth * unit);
    const int begin = units * rank / cluster;
    const int own = units * (rank + 1) / cluster - begin;
    block_first = begin * unit;
    block_count = own * unit;
    first = (begin + own * warp / kWarps) * unit;
    count = (begin + own * (warp + 1) / kWarps) * unit - first;
  }
};

// A warp's columns [first, first + width) of h, from `to` on; width is a multiple of kDepth.
__device__ inline void put_rows(const Params& p, int first, int width, int row_size, __nv_bfloat16* to,
                                int lane) {
  const auto* from = static_cast<const __nv_bfloat16*>(p.x) + first;
#pragma unroll 1
  for (int t = 0; t < p.tokens; ++t) {
#pragma unroll 1
    for (int c = lane * 8; c < width; c += 256) ptx::copy16(ptx::shared(to + c), from + c);
    to += row_size;
    from += p.x_row;
  }
  ptx::copies_commit();
  ptx::copies_wait<0>();
  __syncwarp();
}

// What a thread has at a time of a row that its block normalises: kHeld pieces of four columns.
struct NormedPieces {
  static constexpr int kHeld = 4;
  static constexpr int kStep = kThreads * 4;  // columns from one to the next
  static constexpr int kAtOnce = kHeld * kStep;
  Pack<float, 4> x[kHeld], weight[kHeld];

  // Of columns first, first + step and so on. All loads are on their way at once.
  static __device__ void load_some(Pack<float, 4> (&to)[kHeld], const float* from, int first, int step,
                                   int in) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (first + i * step < in) to[i] = load<4>(from + first + i * step);
    }
  }
  // The sum of squares as norm_kernel has it, of a warp's columns.
  __device__ float squares_of(const float* row, int first, int step, int in) {
    float sum = 0;
#pragma unroll 1
    for (int c = 0; c < in; c += kHeld * step) {
      load_some(x, row, c + first, step, in);
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        if (c + first + i * step < in) add_squares(sum, x[i]);
      }
    }
    return sum_of_warp(sum);
  }
  // Those that are among `width` columns; c: where in these the first is.
  __device__ void put(__nv_bfloat16* to, int c, int width, float inverse, bool weighted) const {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (c + i * kStep < 0 || c + i * kStep >= width) continue;
      Pack<float, 4> v = x[i];
      for (int k = 0; k < 4; ++k) v.x[k] *= inverse;
      for (int k = 0; k < 4 && weighted; ++k) v.x[k] *= weight[i].x[k];
      store(to + c + i * kStep, v);
    }
  }
};

__device__ inline float inverse_of_row(const Params& p, const float* sums, bool row_a_warp) {
  float sum = sums[0];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) {
    if (!row_a_warp) sum += sums[w];
  }
  return inverse_of(sum, p.in, p.eps);
}

// Behind the rows a block has the norm's weights, unless they are too many: bytes.
__host__ __device__ inline int norm_bytes(const Params& p) {
  return p.normalise && p.norm != nullptr && p.in <= NormedPieces::kAtOnce ? p.in * int{sizeof(float)} : 0;
}

// Asks for them: each thread for those that it needs itself.
__device__ inline void fetch_norm(const Params& p, int row_size, __nv_bfloat16* rows) {
  if (norm_bytes(p) == 0) return;
  auto* to = reinterpret_cast<float*>(rows + p.tokens * row_size);
#pragma unroll 1
  for (int c = static_cast<int>(threadIdx.x * 4); c < p.in; c += NormedPieces::kStep)
    ptx::copy16(ptx::shared(to + c), p.norm + c);
  ptx::copies_commit();
}

// A block's columns [first, first + width) of h, normalised, once the kernel before has ended. kPending: the
// groups of copies that this thread has asked for since fetch_norm.
template <int kPending>
__device__ void put_normed_rows(const Params& p, float* sums, int first, int width, int row_size,
                                __nv_bfloat16* to) {
  const bool row_a_warp = p.in <= kNormWarpDim;  // every warp then computes all of its sum
  const bool weighted = p.norm != nullptr;
  const auto* x = static_cast<const float*>(p.x);
  const int own = static_cast<int>(threadIdx.x * 4);
  const int of_sum = row_a_warp ? static_cast<int>(threadIdx.x % 32 * 4) : own;
  const auto* norm = norm_bytes(p) > 0 ? reinterpret_cast<const float*>(to + p.tokens * row_size) : p.norm;
  ptx::wait_for_previous();
  NormedPieces pieces;
#pragma unroll 1
  for (int t = 0; t < p.tokens; ++t) {
    const float sum =
        pieces.squares_of(x + t * p.x_row, of_sum, row_a_warp ? 32 * 4 : NormedPieces::kStep, p.in);
    if (threadIdx.x % 32 == 0) sums[t * kWarps + threadIdx.x / 32] = sum;
  }
  if (norm_bytes(p) > 0) ptx::copies_wait<kPending>();
  __syncthreads();
  // The last row first, of which the pieces are still there.
#pragma unroll 1
  for (int t = p.tokens - 1; t >= 0; --t) {
    const float inverse = inverse_of_row(p, sums + t * kWarps, row_a_warp);
    const bool held = t == p.tokens - 1 && !row_a_warp && p.in <= NormedPieces::kAtOnce;
#pragma unroll 1
    for (int c = own; c < p.in; c += NormedPieces::kAtOnce) {
      if (!held) NormedPieces::load_some(pieces.x, x + t * p.x_row, c, NormedPieces::kStep, p.in);
      if (weighted) NormedPieces::load_some(pieces.weight, norm, c, NormedPieces::kStep, p.in);
      pieces.put(to + t * row_size, c - first, width, inverse, weighted);
    }
  }
  __syncthreads();
}

// A sum over the parts that others made, in their order; kParts: how many, or 0: `parts`.
template <class C, int kParts>
__device__ float total_of(const float* from, int parts) {
  float whole = 0;
  if constexpr (kParts > 0) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) whole += from[part * C::kSums];
  } else {
#pragma unroll 1
    for (int part = 0; part < parts; ++part) whole += from[part * C::kSums];
  }
  return whole;
}

// Where a thread's sum of a tile goes, and what is added to it.
template <class C>
struct Output {
  void* out = nullptr;  // null: nowhere
  float add = 0;        // a bias, and what is there
  float up = 0;         // gated: up's bias

  __device__ Output(const Params& p, int tile, int rank) {
    const unsigned i = threadIdx.x;
    const TilePlace at = place_of_tile(p, tile);
    const Matrix& m = p.parts[at.part];
    const int row = at.row + row_of(p, i);
    const int token = token_of(i);
    if (rank != 0 || i >= C::kSums || token >= p.tokens || row >= m.outs) return;
    if (p.gated && i % 4 >= 2) return;  // another thread's second sum
    if (m.bias != nullptr) add = m.bias[row];
    if (!p.gated) {
      out = m.out + token * m.out_row + row;
      return;
    }
    if (p.parts[1].bias != nullptr) up = p.parts[1].bias[row];
    out = static_cast<char*>(p.inner) + (token * p.inner_row + row) * (p.inner_bf16 ? 2 : 4);
  }
  __device__ void read_before(const Params& p) {
    if (p.accumulate && out != nullptr) add += *static_cast<const float*>(out);
  }
  // from: this thread's sum of the first part; parts as total_of has them.
  template <int kParts>
  __device__ void finish(const Params& p, const float* from, int parts) const {
    if (out == nullptr) return;
    const float sum = total_of<C, kParts>(from, parts) + add;
    if (!p.gated) {
      *static_cast<float*>(out) = sum;
      return;
    }
    const float value = activated(p.act, sum, total_of<C, kParts>(from + 2, parts) + up);
    if (p.inner_bf16) {
      *static_cast<__nv_bfloat16*>(out) = __float2bfloat16_rn(value);
    } else {
      *static_cast<float*>(out) = value;
    }
  }
};

// Ends a tile whose sums are in `mine` by warps. In a cluster its first block adds up what all have, in
// `all`; both memories are free again when the next tile but one begins.
template <class C>
__device__ void finish_tile_of_block(const Params& p, const Output<C>& output, const float* mine, float* all,
                                     int cluster, int rank) {
  const unsigned i = threadIdx.x;
  if (cluster == 1) return output.template finish<kWarps>(p, mine + i, 0);
  if (i < C::kSums && token_of(i) < p.tokens)
    ptx::store_in_block(0, ptx::shared(all + rank * C::kSums + i), total_of<C, kWarps>(mine + i, 0));
  ptx::cluster_arrive();
  ptx::cluster_wait();
  if (rank == 0) output.template finish<0>(p, all + i, cluster);
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
  p.tile_rows = tile_rows;
  if (!p.gated && p.count > 1) p.second = p.parts[0].end;
  if (!p.gated && p.count > 2) p.third = p.parts[1].end;
  return p;
}

}  // namespace heed::cuda::few
