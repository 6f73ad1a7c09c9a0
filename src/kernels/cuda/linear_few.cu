// linears of up to kMostFewRows rows. Definition: kernels/parts.cpp. Bound by reading the weights once.
//
//   out^T[16 outputs, rows] = weight[16 outputs, in] h^T[in, rows]
//
// A tile is 16 outputs (gated: 8 of the gate and the same 8 of up, so that a thread has both). The sum over
// `in` is shared by the 8 warps of a block, and by the blocks of a cluster where h would be too large for one
// or tiles too few for the device; tensor cores add up a warp's part, then the warps' sums are added in their
// order and the blocks' in theirs. Weights pass through registers alone: a thread loads 16 consecutive bytes
// of two rows, which are two steps' fragments if the elements of `in` are taken in another order, the same
// for weights and h. A warp has kSteps steps of 32 elements on their way at any time, those of the next tile
// as well.
//
// The first weights are asked for before the kernel waits for the one before it, so that launches, norms and
// h cost the memory no time. The grid is one wave, which walks over the tiles.
#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/checks.h"
#include "kernels/cuda/acts.cuh"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"

namespace heed::cuda {
namespace {

constexpr int kThreads = kNormThreads;
constexpr int kWarps = kThreads / 32;
constexpr int kDepth = 32;  // elements of `in` in a step
constexpr int kSteps = 8;   // of a warp on their way
constexpr int kMostCluster = 8;
constexpr int64_t kMostIn = 16384;  // then h fits, whatever its rows
constexpr int kMostNormedRows = 2;  // more are normalised by a kernel of their own

struct Matrix {
  const __nv_bfloat16* weight;
  const float* bias;
  float* out;
  int64_t weight_row, out_row;
  int outs, end;  // end: the tile after its last
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

__device__ TilePlace place_of_tile(const Params& p, int tile) {
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
__device__ int token_of(int i) { return i / 128 * 8 + i / 4 % 4 * 2 + i % 2; }
__device__ int row_of(const Params& p, int i) { return i / 16 % 8 + (!p.gated && i % 4 >= 2 ? 8 : 0); }

// Where a thread's weights of a tile begin: of rows lane / 4 and lane / 4 + 8.
struct Weights {
  const __nv_bfloat16* rows[2];

  __device__ Weights(const Params& p, int tile, int column, int lane) {
    const TilePlace at = place_of_tile(p, tile);
    const Matrix& a = p.parts[at.part];
    const Matrix& b = p.gated ? p.parts[1] : a;
    const int low = at.row + lane / 4;
    const int high = p.gated ? low : low + 8;
    rows[0] = a.weight + min(low, a.outs - 1) * a.weight_row + column + lane % 4 * 8;
    rows[1] = b.weight + min(high, b.outs - 1) * b.weight_row + column + lane % 4 * 8;
  }
  __device__ void load(uint4 (&to)[2], int step) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(to[i].x), "=r"(to[i].y), "=r"(to[i].z), "=r"(to[i].w)
                   : "l"(rows[i] + step * kDepth));
    }
  }
};

// Sums of squares of a block's rows, as norm_kernel has them: first each warp's, then all.
__device__ void put_squares(const Params& p, float* sums) {
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
__device__ float inverse_of_row(const Params& p, const float* sums, int token) {
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
__device__ void put_rows(const Params& p, int first, int width, int row_size, __nv_bfloat16* to, int lane) {
  const int chunks = width / 8;
  for (int t = 0; t < p.tokens; ++t) {
    const auto* from = static_cast<const __nv_bfloat16*>(p.x) + t * p.x_row + first;
    for (int c = lane; c < chunks; c += 32) ptx::copy16(ptx::shared(to + t * row_size + c * 8), from + c * 8);
  }
  ptx::copies_commit();
  ptx::copies_wait<0>();
  __syncwarp();
}

__device__ void put_normed_rows(const Params& p, float* sums, int first, int width, int row_size,
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
__device__ void finish(const Matrix& m, int row, int token, float sum, float before) {
  if (m.bias != nullptr) sum += m.bias[row];
  m.out[token * m.out_row + row] = before + sum;
}

__device__ void finish_gated(const Params& p, int row, int token, float gate, float up) {
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

// A warp's sums of one tile.
template <class C>
struct Sums {
  float sum[2][C::kGroups][4] = {};

  __device__ void add(const uint4 (&w)[2], uint32_t rows, int row_size, int tokens, int lane) {
    const uint32_t a0[4] = {w[0].x, w[1].x, w[0].y, w[1].y};
    const uint32_t a1[4] = {w[0].z, w[1].z, w[0].w, w[1].w};
#pragma unroll
    for (int g = 0; g < C::kGroups; ++g) {
      uint4 b = {0, 0, 0, 0};
      if (g * 8 + lane / 4 < tokens) b = ptx::load16(rows + g * 8 * row_size * 2);
      ptx::multiply(sum[0][g], a0, b.x, b.y);
      ptx::multiply(sum[1][g], a1, b.z, b.w);
    }
  }
  __device__ void put(float* to, int lane) const {
#pragma unroll
    for (int g = 0; g < C::kGroups; ++g) {
      const auto& a = sum[0][g];
      const auto& b = sum[1][g];
      *reinterpret_cast<float4*>(to + g * 128 + lane * 4) = {a[0] + b[0], a[1] + b[1], a[2] + b[2],
                                                             a[3] + b[3]};
    }
  }
};

template <class C>
__global__ void __launch_bounds__(kThreads, 2)
    few_kernel(const __grid_constant__ Params p, int cluster, int row_size) {
  extern __shared__ __align__(128) float memory[];
  __shared__ float norm_sums[kMostNormedRows * kWarps];
  float* own = memory;                    // [1 or 2][kWarps][kSums]
  float* all = memory + C::own(cluster);  // [2][cluster][kSums], of the cluster's first block
  auto* rows = reinterpret_cast<__nv_bfloat16*>(all + C::all(cluster));
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int rank = static_cast<int>(blockIdx.x) % cluster;
  const int clusters = static_cast<int>(gridDim.x) / cluster;
  ptx::let_next_start();
  if (cluster > 1) ptx::cluster_arrive();

  // This warp's steps of `in`.
  const int steps = p.in / kDepth;
  const int block_first = steps * rank / cluster;
  const int block_steps = steps * (rank + 1) / cluster - block_first;
  const int first = block_first + block_steps * warp / kWarps;
  const int count = block_first + block_steps * (warp + 1) / kWarps - first;

  int tile = static_cast<int>(blockIdx.x) / cluster;
  uint4 ring[kSteps][2];
  Weights w(p, tile, first * kDepth, lane);
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    if (s >= count) break;
    w.load(ring[s], s);
  }
  const int column = (first - block_first) * kDepth;
  float before = 0;
  if (p.normalise) {
    put_normed_rows(p, norm_sums, first * kDepth, count * kDepth, row_size, rows + column, lane);
    before = read_before<C>(p, tile, rank);
  } else {
    ptx::wait_for_previous();
    before = read_before<C>(p, tile, rank);
    put_rows(p, first * kDepth, count * kDepth, row_size, rows + column, lane);
  }
  const uint32_t from = ptx::shared(rows + lane / 4 * row_size + column + lane % 4 * 8);
  if (cluster > 1) ptx::cluster_wait();  // the others have begun: their memory is there

  for (int buffer = 0; tile < p.tiles; buffer ^= 1) {
    if (tile >= clusters) before = read_before<C>(p, tile, rank);
    Sums<C> sums;
    for (int done = 0; done < count; done += kSteps) {
      // What comes after these steps: more of this tile, or the next one.
      const bool is_last = done + kSteps >= count;
      const int next_tile = is_last ? tile + clusters : tile;
      const int next_count = next_tile >= p.tiles ? 0 : is_last ? count : count - done - kSteps;
      const int next = is_last ? 0 : done + kSteps;
      if (is_last) w = Weights(p, min(next_tile, p.tiles - 1), first * kDepth, lane);
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        if (done + s < count) sums.add(ring[s], from + (done + s) * kDepth * 2, row_size, p.tokens, lane);
        if (s < next_count) w.load(ring[s], next + s);
      }
    }
    float* mine = own + (cluster > 1 ? 0 : buffer) * kWarps * C::kSums;
    sums.put(mine + warp * C::kSums, lane);
    __syncthreads();
    if (cluster == 1) {
      finish_tile<C>(p, tile, mine, 0, before);
    } else {
      float* shared_sums = all + buffer * cluster * C::kSums;
      for (int i = static_cast<int>(threadIdx.x); i < C::kSums; i += kThreads) {
        if (token_of(i) >= p.tokens) continue;
        ptx::store_in_block(0, ptx::shared(shared_sums + rank * C::kSums + i), total_of<C>(mine, i, 0));
      }
      ptx::cluster_arrive();
      ptx::cluster_wait();
      if (rank == 0) finish_tile<C>(p, tile, shared_sums, cluster, before);
    }
    tile += clusters;
  }
}

// Blocks that share a tile: enough for h, and for all of the device to have work.
int cluster_of(const Params& p, int sms) {
  constexpr int kMostRowBytes = 68 << 10;
  int cluster = std::max(1, (p.tokens * p.in * 2 + kMostRowBytes - 1) / kMostRowBytes);
  while (cluster * p.tiles * 2 <= sms && p.in / kDepth / (2 * cluster) >= kWarps) cluster *= 2;
  return std::min(cluster, kMostCluster);
}

// Clusters of the grid: all that fit at once, or as many as there are tiles.
template <class C>
int clusters_of(const CudaStream& device, int tiles, int cluster, int shared) {
  static std::mutex mutex;
  static std::map<std::pair<int, int>, int> known;
  const std::lock_guard lock(mutex);
  const auto [found, is_new] = known.try_emplace({cluster, shared}, 0);
  if (is_new) {
    allow_shared(few_kernel<C>, 226 << 10);
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
    cudaLaunchConfig_t config = {.gridDim = dim3(static_cast<unsigned>(cluster)),
                                 .blockDim = dim3(kThreads),
                                 .dynamicSmemBytes = static_cast<size_t>(shared),
                                 .attrs = &attribute,
                                 .numAttrs = 1};
    if (cluster > 1) {
      CUDA_CALL(cudaOccupancyMaxActiveClusters(&found->second, few_kernel<C>, &config));
    } else {
      int blocks = 0;
      CUDA_CALL(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, few_kernel<C>, kThreads,
                                                              static_cast<size_t>(shared)));
      found->second = blocks * device.sms();
    }
    CHECK(found->second > 0, cluster, shared);
  }
  return std::min(tiles, found->second);
}

template <class C>
void launch_few(Stream& stream, Params p) {
  const int tile_rows = p.gated ? 8 : 16;
  for (int i = 0; i < (p.gated ? 1 : p.count); ++i) {
    p.tiles += (p.parts[i].outs + tile_rows - 1) / tile_rows;
    p.parts[i].end = p.tiles;
  }
  const int cluster = cluster_of(p, device_of(stream).sms());
  // An odd number of 64 bytes, so that 8 lanes read from all banks.
  const int row_size = ((p.in / kDepth + cluster - 1) / cluster | 1) * kDepth;
  const int shared = C::bytes(p.tokens, row_size, cluster);
  const int clusters = clusters_of<C>(device_of(stream), p.tiles, cluster, shared);
  launch(stream,
         {.blocks = static_cast<unsigned>(clusters * cluster),
          .threads = kThreads,
          .shared = shared,
          .cluster = cluster},
         few_kernel<C>, p, cluster, row_size);
}

// Rows at multiples of 16 bytes.
bool rows_in_chunks(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && t.stride[0] * size_of(t.dtype) % 16 == 0;
}

Params params_of(const LinearsArgs& args, const Tensor& h, bool normalise) {
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
    p.parts[i] = {.weight = part.weight.as<const __nv_bfloat16>(),
                  .bias = part.bias.defined() ? part.bias.f32() : nullptr,
                  .out = part.out.mutable_f32(),
                  .weight_row = part.weight.stride[0],
                  .out_row = part.out.stride[0],
                  .outs = static_cast<int>(part.weight.size[0]),
                  .end = 0};
  }
  return p;
}

}  // namespace

bool few_takes(const CudaStream& device, const LinearsArgs& args) {
  const Tensor& h = args.normalise ? args.h : args.x;
  bool fits = device.hopper() && 0 < h.size[0] && h.size[0] <= kMostFewRows && h.dtype == DType::kBF16 &&
              h.size[1] % kDepth == 0 && h.size[1] <= kMostIn && rows_in_chunks(args.x) &&
              rows_in_chunks(h) &&
              (!args.norm.defined() || reinterpret_cast<uintptr_t>(args.norm.data) % 16 == 0);
  for (int i = 0; i < args.count; ++i) {
    const Tensor& weight = args.parts[i].weight;
    fits = fits && weight.dtype == DType::kBF16 && rows_in_chunks(weight) && weight.size[0] > 0 &&
           weight.size[0] <= INT32_MAX / 2;
  }
  return fits;
}

void run_few(Stream& stream, const LinearsArgs& args) {
  const bool normalise = args.normalise && args.x.size[0] <= kMostNormedRows;
  if (args.normalise && !normalise)
    rms_norm(stream, {.x = args.x, .weight = args.norm, .eps = args.eps, .out = args.h});
  const Params p = params_of(args, args.normalise ? args.h : args.x, normalise);
  p.tokens <= 8 ? launch_few<Config<1>>(stream, p) : launch_few<Config<2>>(stream, p);
}

}  // namespace heed::cuda
