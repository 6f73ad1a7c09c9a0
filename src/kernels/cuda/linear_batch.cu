// linear of up to kMostBatchRows rows. Definition: kernels/ref/ref.cpp. Bound by reading the weights once.
//
//   out^T[outputs of a tile, rows] = weight[outputs, in] x^T[in, rows]
//
// Two warpgroups have up to 64 outputs of a tile each; tensor cores read both operands from shared memory.
// The sum over `in` is shared by the blocks of a cluster, so that a block has its columns of x in shared
// memory once and for all tiles. Tiles are as large as makes the last round of clusters full. One warp has
// the tensor copy engine bring weights through a ring; they are asked for before the kernel waits for the one
// before it. A tile's sums are finished by all blocks of the cluster, each some of the tokens: they send one
// another what they have, and finish a tile when the next is multiplied with.
//
// Norms, activations and residual sums are kernels beside it: fused into this one they were slower.
#include <algorithm>

#include "kernels/cuda/linear_batch.h"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/wgmma.cuh"

// For GPUs before Hopper the kernel is compiled empty, and what it would use is unused.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

constexpr int kGroups = 2;               // warpgroups that multiply
constexpr int kWorkers = kGroups * 128;  // their threads
constexpr int kThreads = kWorkers + 32;  // and a warp that has weights brought
constexpr int kGroupRows = 64;           // outputs of a warpgroup, of which it may use fewer
constexpr int kTile = kGroups * kGroupRows;
constexpr int kDepth = 64;  // elements of `in` in a stage
constexpr int kRowBytes = kDepth * 2;
constexpr int kAtom = 8 * kRowBytes;
constexpr int kMostStages = 12;

struct Params {
  CUtensorMap weight;
  const __nv_bfloat16* x;
  int64_t x_row;
  const float* bias;
  float* out;
  int64_t out_row;
  int tokens, in, outs, tiles;
  int rows, stages;  // rows: of a tile's weights, of each warpgroup
};

// A block's columns of `in`, in units of kDepth.
struct Share {
  int first, count;
  __device__ Share(int in, int rank, int cluster) {
    const int units = in / kDepth;
    first = units * rank / cluster;
    count = units * (rank + 1) / cluster - first;
  }
  __host__ __device__ static int most(int in, int cluster) { return (in / kDepth + cluster - 1) / cluster; }
};

// Shared memory of a block, as addresses. A stage has the rows of one warpgroup and then those of the other;
// tensor cores read kGroupRows from where these begin, and what they make of the others is never looked at.
// Rows of x are kTokens. Both in atoms as wgmma.cuh has them, x one unit behind the other. Sums are those of
// the tokens that a block finishes, from each block of the cluster; two of them take turns.
template <int kTokens_, int kCluster_>
struct Memory {
  static constexpr int kTokens = kTokens_, kCluster = kCluster_;
  static constexpr int kUnit = kTokens * kRowBytes;  // of x
  static constexpr int kSums = kTokens * kTile * 4;  // from all blocks of the cluster
  static constexpr int kBarriers = (2 * kMostStages + 2) * 8;

  uint32_t base;
  int slot, stages, units;
  __device__ Memory(const void* memory, const Params& p)
      : base((ptx::shared(memory) + 1023) / 1024 * 1024),
        slot(slot_of(p.rows)),
        stages(p.stages),
        units(Share::most(p.in, kCluster)) {}
  __host__ __device__ static int slot_of(int rows) { return (rows * kRowBytes + 1023) / 1024 * 1024; }
  static int bytes(int rows, int stages, int units) {
    return stages * kGroups * slot_of(rows) + units * kUnit + 2 * kSums + kBarriers + 1024;
  }
  __device__ uint32_t stage(int i) const { return base + i * kGroups * slot; }
  __device__ uint32_t x(int unit) const { return stage(stages) + unit * kUnit; }
  __device__ uint32_t sums(int buffer) const { return x(units) + buffer * kSums; }
  __device__ uint32_t full(int i) const { return sums(2) + i * 8; }
  __device__ uint32_t free(int i) const { return full(kMostStages + i); }
  __device__ uint32_t sums_full(int buffer) const { return full(2 * kMostStages + buffer); }
};

template <class M>
__device__ void init_barriers(const M& memory) {
  for (int i = 0; i < memory.stages; ++i) {
    ptx::barrier_init(memory.full(i), 1);
    ptx::barrier_init(memory.free(i), kWorkers / 32);
  }
  ptx::barrier_init(memory.sums_full(0), 1);
  ptx::barrier_init(memory.sums_full(1), 1);
  ptx::barrier_inits_done();
}

// Has the weights of all of a cluster's tiles brought, one thread.
template <class M>
__device__ void fill_ring(const Params& p, const M& memory, const Share& share, int tile, int clusters) {
  int stage = 0;
  int parity = 1;
  for (; tile < p.tiles; tile += clusters) {
    const int row = tile * kGroups * p.rows;
    for (int unit = 0; unit < share.count; ++unit) {
      ptx::barrier_wait(memory.free(stage), parity);
      ptx::barrier_arrive_expecting(memory.full(stage), kGroups * p.rows * kRowBytes);
      const int column = (share.first + unit) * kDepth;
      ptx::copy_box(memory.stage(stage), &p.weight, column, row, memory.full(stage));
      ptx::copy_box(memory.stage(stage) + memory.slot, &p.weight, column, row + p.rows, memory.full(stage));
      if (++stage == memory.stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  }
}

// A block's columns of x, 8 at a time.
template <class M>
__device__ void put_rows(const Params& p, const Share& share, const M& memory) {
  const __nv_bfloat16* from = p.x + share.first * kDepth;
  const int width = share.count * kDepth;
  for (int token = static_cast<int>(threadIdx.x) / 32; token < p.tokens; token += kWorkers / 32) {
    for (int c = static_cast<int>(threadIdx.x) % 32 * 8; c < width; c += 256) {
      const uint32_t to = memory.x(c / kDepth) + token * kRowBytes + (c % kDepth / 8 ^ token % 8) * 16;
      ptx::copy16(to, from + token * p.x_row + c);
    }
  }
  ptx::copies_commit();
  ptx::copies_wait<0>();
}

// The place in the ring of a warpgroup that multiplies.
struct Place {
  int stage = 0, parity = 0;
};

// This block's part of a tile's sums.
template <class M>
__device__ void multiply_tile(const M& memory, const Share& share, Place& place, float (&d)[M::kTokens / 2]) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const int group = __shfl_sync(~0U, static_cast<int>(threadIdx.x) / 128, 0);
  const bool first_lane = threadIdx.x % 32 == 0;
  int before = -1;
  wgmma::pin(d);
  for (int unit = 0; unit < share.count; ++unit) {
    ptx::barrier_wait(memory.full(place.stage), place.parity);
    const uint32_t weights = memory.stage(place.stage) + group * memory.slot;
    const uint32_t x = memory.x(unit);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < kRowBytes; k += 32) {
      wgmma::multiply(d, wgmma::rows_descriptor(weights + k, kAtom), wgmma::rows_descriptor(x + k, kAtom),
                      unit > 0 || k > 0);
    }
    wgmma::commit();
    wgmma::wait<1>();
    if (before >= 0 && first_lane) ptx::barrier_arrive(memory.free(before));
    before = place.stage;
    if (++place.stage == memory.stages) place = {0, place.parity ^ 1};
  }
  wgmma::wait<0>();
  wgmma::pin(d);
  if (first_lane) ptx::barrier_arrive(memory.free(before));
#endif
}

__device__ inline float2 load_shared_pair(uint32_t from) {
  float2 x;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(from) : "memory");
  return x;
}

// The sums of a tile. A block of the cluster finishes kOwn of the tokens, for which it gets pairs of tokens
// of each output from all: [kCluster][kTile][kPairs], pairs in an order in which neither who sends nor who
// reads meets others at a bank. Outputs count from kGroupRows on for the second warpgroup.
template <class M>
struct Sums {
  static constexpr int kTokens = M::kTokens, kCluster = M::kCluster;
  static constexpr int kOwn = kTokens / kCluster, kPairs = kOwn / 2;
  static constexpr int kLine = kOwn < 32 ? 32 / kOwn : 1;  // outputs that use all banks
  const Params& p;
  const M& memory;
  const int rank;

  static __device__ int offset(int from, int out, int pair) {
    return ((from * kTile + out) * kOwn + (pair ^ out / kLine % kPairs) * 2) * 4;
  }
  __device__ int bytes() const { return kTokens * kGroups * p.rows * 4; }  // of a tile

  // To those who finish it: this block's part, which thread i has as wgmma.cuh says.
  __device__ void send(const float (&d)[kTokens / 2], int buffer) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int out = static_cast<int>(threadIdx.x / 32) * 16 + lane / 4;
#pragma unroll
    for (int j = 0; j < kTokens / 8; ++j) {
      const int pair = j * 4 + lane % 4;
      const int to = pair / kPairs;
      const uint32_t barrier = ptx::address_in_block(to, memory.sums_full(buffer));
      const uint32_t sums = ptx::address_in_block(to, memory.sums(buffer));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (out % kGroupRows + 8 * i >= p.rows) continue;
        ptx::send(sums + offset(rank, out + 8 * i, pair % kPairs),
                  float2{d[j * 4 + 2 * i], d[j * 4 + 2 * i + 1]}, barrier);
      }
    }
  }

  // Threads have an output each, and every second pair of tokens.
  __device__ void finish(int tile, int buffer, int parity) const {
    constexpr int kStep = kWorkers / kTile, kEach = (kPairs + kStep - 1) / kStep;
    const int out = static_cast<int>(threadIdx.x) % kTile;
    const int row = (tile * kGroups + out / kGroupRows) * p.rows + out % kGroupRows;
    const bool real = out % kGroupRows < p.rows && row < p.outs;
    const float bias = real && p.bias != nullptr ? p.bias[row] : 0;
    ptx::barrier_wait(memory.sums_full(buffer), parity);
    if (!real) return;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int pair = static_cast<int>(threadIdx.x) / kTile + i * kStep;
      const int token = rank * kOwn + pair * 2;
      if (pair >= kPairs || token >= p.tokens) continue;
      const float2 sum = total(buffer, out, pair);
      float* to = p.out + token * p.out_row + row;
      *to = sum.x + bias;
      if (token + 1 < p.tokens) to[p.out_row] = sum.y + bias;
    }
  }

 private:
  __device__ float2 total(int buffer, int out, int pair) const {
    float2 whole = {0, 0};
#pragma unroll
    for (int from = 0; from < kCluster; ++from) {
      const float2 part = load_shared_pair(memory.sums(buffer) + offset(from, out, pair));
      whole.x += part.x;
      whole.y += part.y;
    }
    return whole;
  }
};

// The warpgroups that multiply.
template <class M>
__device__ void work(const Params& p, const M& memory, const Share& share, int rank, int tile, int clusters) {
  ptx::wait_for_previous();
  put_rows(p, share, memory);
  ptx::cluster_wait();  // the others have begun: their memory is there
  ptx::shared_writes_to_engines();
  ptx::threads_sync(1, kWorkers);
  const Sums<M> sums = {p, memory, rank};
  Place place;
  int n = 0;
  for (; tile + n * clusters < p.tiles; ++n) {
    float d[M::kTokens / 2] = {};
    multiply_tile(memory, share, place, d);
    // A block that sends anything of a tile has finished the one before, in all its threads: who gets it may
    // send into the memory of that one.
    if (n > 0) {
      sums.finish(tile + (n - 1) * clusters, (n - 1) % 2, (n - 1) / 2 % 2);
      ptx::threads_sync(1, kWorkers);
    }
    if (threadIdx.x == 0) ptx::barrier_arrive_expecting(memory.sums_full(n % 2), sums.bytes());
    sums.send(d, n % 2);
  }
  sums.finish(tile + (n - 1) * clusters, (n - 1) % 2, (n - 1) / 2 % 2);
}

template <class M>
__global__ void __launch_bounds__(kThreads, 2) batch_kernel(const __grid_constant__ Params p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) char raw[];
  const M memory(raw, p);
  const int rank = static_cast<int>(blockIdx.x) % M::kCluster;
  const int tile = static_cast<int>(blockIdx.x) / M::kCluster;
  const int clusters = static_cast<int>(gridDim.x) / M::kCluster;
  const Share share(p.in, rank, M::kCluster);
  ptx::let_next_start();
  if (threadIdx.x == 0) init_barriers(memory);
  __syncthreads();
  ptx::cluster_arrive_relaxed();
  if (threadIdx.x < kWorkers) {
    work(p, memory, share, rank, tile, clusters);
  } else {
    if (threadIdx.x == kWorkers) fill_ring(p, memory, share, tile, clusters);
    __syncwarp();
    ptx::cluster_wait();
  }
#endif
}

// ---- The host's side ----

constexpr int64_t kMostIn = 1 << 20;      // far more than fits into shared memory
constexpr int kMostShared = 226 << 10;    // of a block, bytes
constexpr int kHalfShared = 113 << 10;    // of a block that has another beside it
constexpr int kRing = 48 << 10;           // of weights on their way, at least
constexpr int64_t kTileBytes = 24 << 10;  // that a block could read while it finishes a tile

// How a call is run; cluster 0: not at all. Clusters of one block are none to the device: then what blocks
// send is illegal, and cluster barriers are barriers of the block.
struct Way {
  int cluster = 0, clusters = 0, rows = 0, tiles = 0, stages = 0;
  int64_t cost = INT64_MAX;  // bytes that the busiest block reads
};

// Clusters that run at once with one block to a multiprocessor.
template <class M>
int most_clusters() {
  static const int most = [] {
    allow_shared(batch_kernel<M>, kMostShared);
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {static_cast<unsigned>(M::kCluster), 1, 1};
    const cudaLaunchConfig_t config = {.gridDim = dim3(M::kCluster),
                                       .blockDim = dim3(kThreads),
                                       .dynamicSmemBytes = kMostShared,
                                       .attrs = &attribute,
                                       .numAttrs = 1};
    int clusters = 0;
    if (cudaOccupancyMaxActiveClusters(&clusters, batch_kernel<M>, &config) == cudaSuccess) return clusters;
    (void)cudaGetLastError();  // a part of a GPU may be too small for any
    return 0;
  }();
  return most;
}

// The best way with clusters of some size, where it is better.
template <class M>
void improve(const LinearArgs& args, Way& best) {
  const int in = static_cast<int>(args.weight.size[1]);
  const int outs = static_cast<int>(args.weight.size[0]);
  const int units = Share::most(in, M::kCluster);
  const int most = most_clusters<M>();
  if (in / kDepth < M::kCluster || most == 0) return;
  for (int rows = 16; rows <= kGroupRows; rows += 8) {
    const auto bytes = [&](int stages) { return M::bytes(rows, stages, units); };
    int stages = std::min(kRing / (kGroups * M::slot_of(rows)), kMostStages);
    if (bytes(stages) > kMostShared) continue;
    const int limit = bytes(stages) <= kHalfShared ? kHalfShared : kMostShared;
    while (stages < kMostStages && bytes(stages + 1) <= limit) ++stages;
    const int tiles = (outs + kGroups * rows - 1) / (kGroups * rows);
    const int rounds = (tiles + most - 1) / most;
    const int64_t cost =
        rounds * (int64_t{units} * kGroups * rows * kRowBytes + kTileBytes) + units * M::kUnit;
    if (cost < best.cost) best = {M::kCluster, (tiles + rounds - 1) / rounds, rows, tiles, stages, cost};
  }
}

Way way_of(const LinearArgs& args) {
  Way best;
  if (args.x.size[0] <= 32) {
    improve<Memory<32, 2>>(args, best);
    improve<Memory<32, 4>>(args, best);
    improve<Memory<32, 8>>(args, best);
  } else {
    improve<Memory<64, 2>>(args, best);
    improve<Memory<64, 4>>(args, best);
    improve<Memory<64, 8>>(args, best);
  }
  return best;
}

template <class M>
void launch_batch(const Stream& stream, const LinearArgs& args, const Way& way) {
  const Params p = {.weight = map_of_rows(args.weight, way.rows),
                    .x = args.x.as<const __nv_bfloat16>(),
                    .x_row = args.x.stride[0],
                    .bias = args.bias.defined() ? args.bias.f32() : nullptr,
                    .out = args.out.mutable_f32(),
                    .out_row = args.out.stride[0],
                    .tokens = static_cast<int>(args.x.size[0]),
                    .in = static_cast<int>(args.weight.size[1]),
                    .outs = static_cast<int>(args.weight.size[0]),
                    .tiles = way.tiles,
                    .rows = way.rows,
                    .stages = way.stages};
  launch(stream,
         {.blocks = static_cast<unsigned>(way.clusters * M::kCluster),
          .threads = kThreads,
          .shared = M::bytes(way.rows, way.stages, Share::most(p.in, M::kCluster)),
          .cluster = M::kCluster},
         batch_kernel<M>, p);
}

template <int kTokens>
void launch_batch(const Stream& stream, const LinearArgs& args, const Way& way) {
  if (way.cluster == 2) return launch_batch<Memory<kTokens, 2>>(stream, args, way);
  if (way.cluster == 4) return launch_batch<Memory<kTokens, 4>>(stream, args, way);
  CHECK(way.cluster == 8, way.cluster);
  launch_batch<Memory<kTokens, 8>>(stream, args, way);
}

// Rows at multiples of 16 bytes.
bool in_chunks(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && t.stride[0] * size_of(t.dtype) % 16 == 0;
}

}  // namespace

bool batch_takes(const CudaStream& device, const LinearArgs& args) {
  const int64_t tokens = args.x.size[0];
  return device.hopper() && !args.accumulate && kMostFewRows < tokens && tokens <= kMostBatchRows &&
         args.x.dtype == DType::kBF16 && args.weight.dtype == DType::kBF16 && in_chunks(args.x) &&
         in_chunks(args.weight) && args.weight.size[1] % kDepth == 0 && args.weight.size[1] <= kMostIn &&
         args.weight.size[0] <= INT32_MAX / 2 && way_of(args).cluster > 0;
}

void run_batch(Stream& stream, const LinearArgs& args) {
  const Way way = way_of(args);
  args.x.size[0] <= 32 ? launch_batch<32>(stream, args, way) : launch_batch<64>(stream, args, way);
}

}  // namespace heed::cuda
