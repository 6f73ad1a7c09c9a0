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

// Where a thread's weights of a tile begin: of rows lane / 4 and lane / 4 + 8.
struct Weights {
  const __nv_bfloat16* rows[2];

  __device__ Weights(const Params& p, int tile, int column, int lane) {
    const TilePlace at = place_of_tile(p, tile);
    const Matrix& a = p.parts[at.part];
    const Matrix& b = p.gated ? p.parts[1] : a;
    const int low = at.row + lane / 4;
    const int high = p.gated ? low : low + 8;
    const auto row_of = [&](const Matrix& m, int row) {
      return static_cast<const __nv_bfloat16*>(m.weight) + min(row, m.outs - 1) * m.weight_row + column +
             lane % 4 * 8;
    };
    rows[0] = row_of(a, low);
    rows[1] = row_of(b, high);
  }
  __device__ void load(uint4 (&to)[2], int step) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) to[i] = ptx::load_once(rows[i] + step * kDepth);
  }
};

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
  __shared__ float norm_sums[kMostNormedRows * kWarps];
  auto* memory = ptx::block_memory<float, 128>();
  float* own = memory;                    // [1 or 2][kWarps][kSums]
  float* all = memory + C::own(cluster);  // [2][cluster][kSums], of the cluster's first block
  auto* rows = reinterpret_cast<__nv_bfloat16*>(all + C::all(cluster));
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int rank = static_cast<int>(blockIdx.x) % cluster;
  const int clusters = static_cast<int>(gridDim.x) / cluster;
  ptx::let_next_start();
  if (cluster > 1) ptx::cluster_arrive();

  const auto [block_first, first, count] = Share(p, rank, cluster, warp, 1);

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
    finish_tile_of_block<C>(p, tile, mine, all + buffer * cluster * C::kSums, cluster, rank, before);
    tile += clusters;
  }
}

template <class C>
void launch_few(const Stream& stream, const Params& p) {
  const int cluster = cluster_of(p, device_of(stream).sms());
  // An odd number of 64 bytes, so that 8 lanes read from all banks.
  const int row_size = ((p.in / kDepth + cluster - 1) / cluster | 1) * kDepth;
  launch_over_tiles(stream, few_kernel<C>, p, cluster, row_size, C::bytes(p.tokens, row_size, cluster));
}

}  // namespace

bool few_takes(const CudaStream& device, const LinearsArgs& args) {
  bool fits = rows_fit(device, args, kMostFewRows);
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
