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
#include "kernels/cuda/linear_few.cuh"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/ops.h"

namespace heed::cuda {
namespace {

using namespace few;

constexpr int kSteps = 8;  // of a warp on their way

// Row i of a tile's 16; gated: 8 of the gate, then the same 8 of up. Rows that there are not are the last
// one.
__device__ inline const char* weights_of(const Params& p, const TilePlace& at, int i) {
  const Matrix& m = p.parts[p.gated && i >= 8 ? 1 : at.part];
  const int64_t row = min(at.row + (p.gated ? i % 8 : i), m.outs - 1);
  return static_cast<const char*>(m.weight) + row * (static_cast<int>(m.weight_row) * 2);
}

// Where a thread's weights are, of rows lane / 4 and lane / 4 + 8.
struct Weights {
  const char* rows[2];

  __device__ void go_to(const Params& p, int tile, int first, int lane) {
    const TilePlace at = place_of_tile(p, tile);
#pragma unroll
    for (int i = 0; i < 2; ++i)
      rows[i] = weights_of(p, at, lane / 4 + i * 8) + first * (kDepth * 2) + lane % 4 * 16;
  }
  __device__ void skip(int steps) {
#pragma unroll
    for (int i = 0; i < 2; ++i) rows[i] += steps * (kDepth * 2);
  }
  __device__ void load(uint4 (&to)[2], int step) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) to[i] = ptx::load_once(rows[i] + step * (kDepth * 2));
  }
};

// A warp's sums of one tile.
template <class C>
struct Sums {
  float sum[2][C::kGroups][4] = {};

  // group: elements from a row of h to the one 8 behind.
  __device__ void add(const uint4 (&w)[2], const __nv_bfloat16* rows, int group) {
    const uint32_t a0[4] = {w[0].x, w[1].x, w[0].y, w[1].y};
    const uint32_t a1[4] = {w[0].z, w[1].z, w[0].w, w[1].w};
#pragma unroll
    for (int g = 0; g < C::kGroups; ++g) {
      const uint4 b = *reinterpret_cast<const uint4*>(rows + g * group);
      ptx::multiply(sum[0][g], a0, b.x, b.y);
      ptx::multiply(sum[1][g], a1, b.z, b.w);
    }
  }
  // With `steps` steps, in whose place in the ring the `coming` next ones are then asked for. kWhole: there
  // are kSteps, and as many come or none; without branches their instructions overlap.
  template <bool kWhole>
  __device__ __forceinline__ void add_some(uint4 (&ring)[kSteps][2], int steps, const __nv_bfloat16* rows,
                                           int group, const Weights& next, int coming) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      if (kWhole || s < steps) add(ring[s], rows + s * kDepth, group);
      if (kWhole ? coming > 0 : s < coming) next.load(ring[s], s);
    }
  }
  // A warp's whole share of a tile, x: its rows of h. `next`: the block's next tile, the first of whose
  // weights are asked for on the way.
  __device__ __forceinline__ void add_share(const Params& p, const Share& share, uint4 (&ring)[kSteps][2],
                                            Weights& weights, int next, const __nv_bfloat16* x, int group,
                                            int lane) {
#pragma unroll 1
    for (int left = share.count; left > 0; left -= kSteps) {
      // What comes after these steps: more of this tile, or the next one.
      int coming = left - kSteps;
      if (coming > 0) {
        weights.skip(kSteps);
      } else if (next < p.tiles) {
        coming = share.count;
        weights.go_to(p, next, share.first, lane);
      }
      if (left >= kSteps && (coming <= 0 || coming >= kSteps)) {
        add_some<true>(ring, kSteps, x, group, weights, coming);
      } else {
        add_some<false>(ring, left, x, group, weights, coming);
      }
      x += kSteps * kDepth;
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

template <class C, bool kCluster>
__global__ void __launch_bounds__(kThreads, 2)
    few_kernel(const __grid_constant__ Params p, int blocks_of_cluster, int row_size) {
  __shared__ float norm_sums[kMostNormedRows * kWarps];
  const int cluster = kCluster ? blocks_of_cluster : 1;
  auto* memory = ptx::block_memory<float, 128>();
  float* own = memory;                    // [1 or 2][kWarps][kSums]
  float* all = memory + C::own(cluster);  // [2][cluster][kSums], of the cluster's first block
  auto* rows = reinterpret_cast<__nv_bfloat16*>(all + C::all(cluster));
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int rank = static_cast<int>(blockIdx.x) % cluster;
  const int clusters = static_cast<int>(gridDim.x) / cluster;
  ptx::let_next_start();
  if (kCluster) ptx::cluster_arrive();

  const Share share(p, rank, cluster, warp, 1);
  int tile = static_cast<int>(blockIdx.x) / cluster;
  uint4 ring[kSteps][2];
  Weights weights;
  weights.go_to(p, tile, share.first, lane);
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    if (s < share.count) weights.load(ring[s], s);
  }
  Output<C> output(p, tile, rank);
  const int column = (share.first - share.block_first) * kDepth;
  if (p.normalise) {
    fetch_norm(p, row_size, rows);
    put_normed_rows<0>(p, norm_sums, share.block_first * kDepth, share.block_count * kDepth, row_size, rows);
    output.read_before(p);
  } else {
    ptx::wait_for_previous();
    output.read_before(p);
    put_rows(p, share.first * kDepth, share.count * kDepth, row_size, rows + column, lane);
  }
  if (kCluster) ptx::cluster_wait();  // the others have begun: their memory is there

  // Rows that there are not read as the last one, and count for nothing.
  const auto row_at = [&](int token) { return min(token, p.tokens - 1) * row_size; };
  const auto* from = rows + row_at(lane / 4) + column + lane % 4 * 8;
  const int group = row_at(lane / 4 + 8) - row_at(lane / 4);
  for (int buffer = 0;; buffer ^= 1) {
    const int next = tile + clusters;
    Sums<C> sums;
    sums.add_share(p, share, ring, weights, next, from, group, lane);
    float* mine = own + (kCluster ? 0 : buffer) * kWarps * C::kSums;
    sums.put(mine + warp * C::kSums, lane);
    __syncthreads();
    finish_tile_of_block<C>(p, output, mine, all + buffer * cluster * C::kSums, cluster, rank);
    tile = next;
    if (tile >= p.tiles) break;
    output = Output<C>(p, tile, rank);
    output.read_before(p);
  }
}

template <class C>
void launch_few(const Stream& stream, const Params& p) {
  const int cluster = cluster_of(p, device_of(stream).sms());
  // An odd number of 64 bytes, so that 8 lanes read from all banks.
  const int row_size = ((p.in / kDepth + cluster - 1) / cluster | 1) * kDepth;
  const int bytes = C::bytes(p.tokens, row_size, cluster) + norm_bytes(p);
  cluster > 1 ? launch_over_tiles(stream, few_kernel<C, true>, p, cluster, row_size, bytes)
              : launch_over_tiles(stream, few_kernel<C, false>, p, cluster, row_size, bytes);
}

}  // namespace

bool few_takes(const CudaStream& device, const LinearsArgs& args) {
  bool fits = rows_fit(device, args, kMostFewRows);
  for (int i = 0; i < args.count; ++i) {
    const Tensor& weight = args.parts[i].weight;
    fits = fits && weight.dtype == DType::kBF16 && rows_in_chunks(weight) && weight.size[0] > 0 &&
           weight.size[0] <= INT32_MAX / 2 && weight.stride[0] <= INT32_MAX / 2;
  }
  return fits;
}

void run_few(Stream& stream, const LinearsArgs& args) {
  const bool normalise = args.normalise && args.x.size[0] <= kMostNormedRows;
  if (args.normalise && !normalise)
    rms_norm(stream, {.x = args.x, .weight = args.norm, .eps = args.eps, .out = args.h});
  const Params p = params_of(args, args.normalise ? args.h : args.x, normalise);
  launch_few<Config<1>>(stream, p);
}

}  // namespace heed::cuda
