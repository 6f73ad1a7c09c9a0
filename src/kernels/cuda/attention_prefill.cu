// Attention of long sequences on Hopper. Definition: kernels/ref/ref.cpp, attention. Bound by the tensor
// cores.
//
// A block runs one unit at a time: 64 packed rows for each of kGroups warpgroups, over tiles of kKeys keys
// from an absolute multiple on. One more warp has the tensor copy engine fill a ring of two tiles of keys and
// of values, page by page. A warpgroup keeps two products in flight and computes weights meanwhile:
//
//   tensor cores:  Q K(j+1)^T,  P(j) V(j)           | Q K(j+2)^T, ...
//   the others:    .........    P(j+1) = softmax of | ...
//
// and warpgroups take turns at issuing, so that one's softmax runs under another's products. Tiles that all
// rows see whole are not tested, tiles that no row sees are not visited. Only values outside of the unit's
// keys within a visited tile need care: whatever lies there, their weight 0 must give 0, so they are cleared.
#include <cuda.h>

#include <numeric>

#include "kernels/cuda/attention_device.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace heed::cuda {
namespace {

using ptx::shared;

constexpr int kGroupThreads = 128;  // of a warpgroup
constexpr int kGroupRows = 64;
constexpr int kStages = 2;
constexpr int kAtom = 64;        // columns of a tile in shared memory
constexpr int kAtomBytes = 128;  // of its rows

// The named barriers of a block: one of each warpgroup by itself, one for its turn.
constexpr int kOwn = 1;
constexpr int kTurn = 4;

template <int kDim_, int kKeys_, int kGroups_, int kProducerRegisters_, int kRegisters_>
struct Config {
  static constexpr int kDim = kDim_, kKeys = kKeys_, kGroups = kGroups_;
  static constexpr int kProducerRegisters = kProducerRegisters_, kRegisters = kRegisters_;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kAtoms = kDim / kAtom;
  static constexpr int kQ = kGroupRows * kDim * 2;  // bytes of a warpgroup's queries
  static constexpr int kTile = kKeys * kDim * 2;    // bytes of a tile of keys, or values
  static constexpr int kTileAtom = kKeys * kAtomBytes;
  static constexpr int kBarriers = 4 * kStages * 8;
  static constexpr int kShared = kGroups * kQ + 2 * kStages * kTile + kBarriers + 1024;  // 1024 to align
};

struct PrefillParams {
  CUtensorMap k, v;  // [blocks, kv_heads, block, dim], in boxes of `box` rows and 64 columns
  AttentionParams attention;
  int box;
};

// The tiles of a unit: first those of the sinks, then from the first key on.
template <int kKeys>
struct Tiles {
  int sinks, first, count;
  __device__ explicit Tiles(const AttentionUnit& unit) {
    sinks = (unit.sink_hi + kKeys - 1) / kKeys;
    first = max(unit.key_lo / kKeys, sinks);
    count = sinks + max((unit.key_hi + kKeys - 1) / kKeys - first, 0);
  }
  __device__ int key(int i) const { return (i < sinks ? i : first + i - sinks) * kKeys; }
};

__device__ bool visits(const AttentionUnit& unit, int lo, int hi) {  // any key of [lo, hi)
  return lo < unit.sink_hi || (lo < unit.key_hi && hi > unit.key_lo);
}

// Shared memory of a block, as addresses.
template <class C>
struct Memory {
  uint32_t base;
  __device__ explicit Memory(const void* memory) : base((shared(memory) + 1023) / 1024 * 1024) {}
  __device__ uint32_t q(int group) const { return base + group * C::kQ; }
  __device__ uint32_t k(int stage) const { return base + C::kGroups * C::kQ + stage * C::kTile; }
  __device__ uint32_t v(int stage) const { return k(kStages) + stage * C::kTile; }
  __device__ uint32_t barrier(int kind, int stage) const { return v(kStages) + (kind * kStages + stage) * 8; }
  __device__ uint32_t k_full(int stage) const { return barrier(0, stage); }
  __device__ uint32_t k_free(int stage) const { return barrier(1, stage); }
  __device__ uint32_t v_full(int stage) const { return barrier(2, stage); }
  __device__ uint32_t v_free(int stage) const { return barrier(3, stage); }
};

// A place in the ring: the tile's number over all units of a block gives its stage and its round's parity.
struct Place {
  int stage, parity;
  __device__ explicit Place(int tile) : stage(tile % kStages), parity(tile / kStages % 2) {}
};

// Calls body(unit, kv head) for each of this block's units.
template <class Body>
__device__ __forceinline__ void for_units(const AttentionParams& p, const Body& body) {
  const auto* units =
      reinterpret_cast<const AttentionUnit*>(reinterpret_cast<const char*>(p.plan) + p.plan->prefill_offset);
  const int work = p.plan->prefill_units * p.kv_heads;
  const int blocks = static_cast<int>(gridDim.x);
  for (int round = 0; round * blocks < work; ++round) {
    const int index = snake(round, static_cast<int>(blockIdx.x), blocks);
    if (index < work) body(units[index / p.kv_heads], index % p.kv_heads);
  }
}

// ---- The warp that fills the ring; lane i copies the i-th box of every tile ----

template <class C>
__device__ void copy_tile(const CUtensorMap& map, uint32_t to, uint32_t barrier, int box, int row, int head,
                          int block, bool mine) {
  const int boxes = __popc(__ballot_sync(~0U, mine));
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) ptx::barrier_arrive_expecting(barrier, boxes * box * kAtomBytes * C::kAtoms);
  __syncwarp();
  if (!mine) return;
  for (int atom = 0; atom < C::kAtoms; ++atom) {
    ptx::copy_box(to + atom * C::kTileAtom + lane * box * kAtomBytes, &map, atom * kAtom, row, head, block,
                  barrier);
  }
}

template <class C>
__device__ void produce(const PrefillParams& params, const Memory<C>& memory) {
  const AttentionParams& p = params.attention;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) {
    ptx::prefetch_map(&params.k);
    ptx::prefetch_map(&params.v);
  }
  int done = 0;
  for_units(p, [&](const AttentionUnit& unit, int head) {
    const Tiles<C::kKeys> tiles(unit);
    const int32_t* table = table_of(p, unit.sequence);
    const auto has_box = [&](int i) {
      const int key = tiles.key(i) + lane * params.box;
      return i < tiles.count && lane * params.box < C::kKeys && visits(unit, key, key + params.box);
    };
    const auto entry_of = [&](int i) {
      return has_box(i) ? table[(tiles.key(i) + lane * params.box) / p.block] : -1;
    };
    int entry = entry_of(0);
    for (int i = 0; i < tiles.count; ++i, ++done) {
      const int next = entry_of(i + 1);
      const Place place(done);
      const int row = (tiles.key(i) + lane * params.box) % p.block;
      ptx::barrier_wait(memory.k_free(place.stage), place.parity ^ 1);
      copy_tile<C>(params.k, memory.k(place.stage), memory.k_full(place.stage), params.box, row, head, entry,
                   entry >= 0);
      ptx::barrier_wait(memory.v_free(place.stage), place.parity ^ 1);
      copy_tile<C>(params.v, memory.v(place.stage), memory.v_full(place.stage), params.box, row, head, entry,
                   entry >= 0);
      entry = next;
    }
  });
}

// ---- The warpgroups that compute ----

template <class C>
struct Consumer {
  const AttentionParams& p;
  const Memory<C>& memory;
  const int group, thread, lane;
  int done = 0;  // tiles of all units so far

  RowMask mask[2];  // of the thread's two rows
  float largest[2], sum[2], scale[2];
  float out[C::kDim / 2];
  float scores[C::kKeys / 2];
  uint32_t weights[C::kKeys / 16][4];

  __device__ __forceinline__ Consumer(const AttentionParams& params, const Memory<C>& m)
      : p(params),
        memory(m),
        group(static_cast<int>(threadIdx.x) / kGroupThreads - 1),
        thread(static_cast<int>(threadIdx.x) % kGroupThreads),
        lane(thread % 32) {}

  __device__ int row(int i) const {
    return group * kGroupRows + thread / 32 * 16 + lane / 4 + 8 * i;
  }  // of the unit

  // The warpgroup's queries, rounded, in the layout that the products read.
  __device__ __forceinline__ void load_queries(const AttentionUnit& unit, int head) const {
    constexpr int kChunks = C::kDim / 8;
#pragma unroll 4
    for (int c = thread; c < kGroupRows * kChunks; c += kGroupThreads) {
      const int r = c / kChunks;
      const int column = c % kChunks * 8;
      const int packed = unit.row + group * kGroupRows + r;
      float4 a = {0, 0, 0, 0};
      float4 b = {0, 0, 0, 0};
      if (group * kGroupRows + r < unit.rows && column < p.head_dim) {
        const float* from = p.q + (unit.token + packed / p.group) * p.q_token +
                            (head * p.group + packed % p.group) * p.q_head + column;
        a = *reinterpret_cast<const float4*>(from);
        b = *reinterpret_cast<const float4*>(from + 4);
      }
      const uint32_t to = memory.q(group) + column / kAtom * (kGroupRows * kAtomBytes) + r * kAtomBytes +
                          ((column % kAtom / 8) ^ (r % 8)) * 16;
      ptx::store16(to, {ptx::pack(a.x, a.y), ptx::pack(a.z, a.w), ptx::pack(b.x, b.y), ptx::pack(b.z, b.w)});
    }
    ptx::shared_writes_to_engines();
    ptx::threads_sync(kOwn + group, kGroupThreads);
  }

  __device__ __forceinline__ void issue_scores(int stage) {
    wgmma::pin(scores);
    wgmma::fence();
#pragma unroll
    for (int d = 0; d < C::kDim; d += 16) {
      const uint32_t a = memory.q(group) + d / kAtom * (kGroupRows * kAtomBytes) + d % kAtom * 2;
      const uint32_t b = memory.k(stage) + d / kAtom * C::kTileAtom + d % kAtom * 2;
      wgmma::multiply(scores, wgmma::rows_descriptor(a), wgmma::rows_descriptor(b), d > 0);
    }
    wgmma::commit();
  }

  __device__ __forceinline__ void issue_values(int stage) {
    wgmma::pin(out);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < C::kKeys; k += 16) {
      wgmma::multiply(out, weights[k / 16],
                      wgmma::columns_descriptor(memory.v(stage) + k * kAtomBytes, C::kTileAtom));
    }
    wgmma::commit();
  }

  // Values of the tile that the unit does not visit become zero.
  __device__ __forceinline__ void clear_values(const AttentionUnit& unit, int key, int stage) const {
    if ((unit.key_lo <= key && key + C::kKeys <= unit.key_hi) || key + C::kKeys <= unit.sink_hi) return;
    if (thread < C::kKeys && !visits(unit, key + thread, key + thread + 1)) {
      for (int atom = 0; atom < C::kAtoms; ++atom) {
        for (int c = 0; c < kAtomBytes; c += 16) {
          ptx::store16(memory.v(stage) + atom * C::kTileAtom + thread * kAtomBytes + c, {0, 0, 0, 0});
        }
      }
    }
    ptx::shared_writes_to_engines();
    ptx::threads_sync(kOwn + group, kGroupThreads);
  }

  __device__ __forceinline__ void hide(int key) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int from = key + lane % 4 * 2;
      const int lo = mask[i].lo - from;
      const int hi = mask[i].hi - from;
      const int sinks = mask[i].sinks - from;
#pragma unroll
      for (int j = 0; j < C::kKeys / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int column = j * 8 + e;
          if ((column < lo || column >= hi) && column >= sinks) scores[4 * j + 2 * i + e] = -INFINITY;
        }
      }
    }
  }

  // Scores to weights in place, and by how much earlier sums shrink.
  __device__ __forceinline__ void weigh(const AttentionUnit& unit, int key) {
    float unit_scale = p.scale_log2;
    if (p.cap_log2 != 0) {
#pragma unroll
      for (int j = 0; j < C::kKeys / 2; ++j) scores[j] = score_log2(p, scores[j]);
      unit_scale = 1;
    }
    if (key < unit.full_lo || key + C::kKeys > unit.full_hi) hide(key);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float most = scores[2 * i];
#pragma unroll
      for (int j = 0; j < C::kKeys / 8; ++j)
        most = fmaxf(most, fmaxf(scores[4 * j + 2 * i], scores[4 * j + 2 * i + 1]));
      most = fmaxf(most, __shfl_xor_sync(~0U, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0U, most, 2));
      most = fmaxf(largest[i], most * unit_scale);
      const float base = most == -INFINITY ? 0 : most;
      scale[i] = ptx::exp2(largest[i] - base);
      largest[i] = most;
      float added = 0;
#pragma unroll
      for (int j = 0; j < C::kKeys / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& s = scores[4 * j + 2 * i + e];
          s = ptx::exp2(fmaf(s, unit_scale, -base));
          added += s;
        }
      }
      sum[i] = sum[i] * scale[i] + added;
    }
  }

  __device__ __forceinline__ void round_weights() {
#pragma unroll
    for (int k = 0; k < C::kKeys / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) weights[k][i] = ptx::pack(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
    }
  }

  __device__ __forceinline__ void rescale() {
#pragma unroll
    for (int j = 0; j < C::kDim / 8; ++j) {
      out[4 * j] *= scale[0];
      out[4 * j + 1] *= scale[0];
      out[4 * j + 2] *= scale[1];
      out[4 * j + 3] *= scale[1];
    }
  }

  __device__ __forceinline__ void free(uint32_t barrier) const {
    if (lane == 0) ptx::barrier_arrive(barrier);
  }
  __device__ __forceinline__ void take_turn() const { ptx::threads_sync(kTurn + group, 2 * kGroupThreads); }
  __device__ __forceinline__ void give_turn() const {
    ptx::threads_arrive(kTurn + (group + 1) % C::kGroups, 2 * kGroupThreads);
  }

  __device__ __forceinline__ void run(const AttentionUnit& unit, int head) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      mask[i] = row(i) < unit.rows ? p.rows[unit.token + (unit.row + row(i)) / p.group] : RowMask{0, 0, 0};
      largest[i] = -INFINITY;
      sum[i] = 0;
    }
#pragma unroll
    for (int j = 0; j < C::kDim / 2; ++j) out[j] = 0;
    const Tiles<C::kKeys> tiles(unit);
    if (tiles.count > 0) {
      load_queries(unit, head);
      Place place(done++);
      ptx::barrier_wait(memory.k_full(place.stage), place.parity);
      issue_scores(place.stage);
      wgmma::wait<0>();
      wgmma::pin(scores);
      free(memory.k_free(place.stage));
      weigh(unit, tiles.key(0));
      round_weights();
      for (int i = 1; i < tiles.count; ++i) {
        const Place next(done++);
        ptx::barrier_wait(memory.k_full(next.stage), next.parity);
        take_turn();
        issue_scores(next.stage);
        ptx::barrier_wait(memory.v_full(place.stage), place.parity);
        clear_values(unit, tiles.key(i - 1), place.stage);
        issue_values(place.stage);
        give_turn();
        wgmma::wait<1>();
        wgmma::pin(scores);
        free(memory.k_free(next.stage));
        weigh(unit, tiles.key(i));
        wgmma::wait<0>();
        wgmma::pin(out);
        free(memory.v_free(place.stage));
        round_weights();
        rescale();
        place = next;
      }
      ptx::barrier_wait(memory.v_full(place.stage), place.parity);
      clear_values(unit, tiles.key(tiles.count - 1), place.stage);
      issue_values(place.stage);
      wgmma::wait<0>();
      wgmma::pin(out);
      free(memory.v_free(place.stage));
    }
    write(unit, head);
  }

  __device__ __forceinline__ void write(const AttentionUnit& unit, int kv_head) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum[i] += __shfl_xor_sync(~0U, sum[i], 1);
      sum[i] += __shfl_xor_sync(~0U, sum[i], 2);
      if (row(i) >= unit.rows) continue;
      const int packed = unit.row + row(i);
      const int head = kv_head * p.group + packed % p.group;
      const float2 stats = with_sink(p, head, {largest[i], sum[i]});
      const float factor = stats.y == 0 ? 0 : ptx::exp2(largest[i] - stats.x) / stats.y;
      const int64_t at = (unit.token + packed / p.group) * p.out_token + head * p.out_head;
#pragma unroll
      for (int j = 0; j < C::kDim / 8; ++j) {
        const int column = j * 8 + lane % 4 * 2;
        if (column < p.v_dim)
          store2(p, at + column, out[4 * j + 2 * i] * factor, out[4 * j + 2 * i + 1] * factor);
      }
    }
  }
};

template <class C>
__global__ void __launch_bounds__(C::kThreads, 1)
    prefill_kernel(const __grid_constant__ PrefillParams params) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) char raw[];
  const Memory<C> memory(raw);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      ptx::barrier_init(memory.k_full(stage), 1);
      ptx::barrier_init(memory.v_full(stage), 1);
      ptx::barrier_init(memory.k_free(stage), C::kGroups * kGroupThreads / 32);
      ptx::barrier_init(memory.v_free(stage), C::kGroups * kGroupThreads / 32);
    }
    ptx::barrier_inits_done();
  }
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    ptx::give_registers<C::kProducerRegisters>();
    if (threadIdx.x < 32) produce<C>(params, memory);
  } else {
    ptx::take_registers<C::kRegisters>();
    Consumer<C> consumer(params.attention, memory);
    if (consumer.group == C::kGroups - 1) consumer.give_turn();  // the first turn
    for_units(
        params.attention, [&](const AttentionUnit& unit, int head)
                              __attribute__((always_inline)) { consumer.run(unit, head); });
  }
#endif
}

// ---- The host's side ----

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

// Of the driver, found at run time: the program must start without one.
EncodeTiled encode_tiled() {
  static const EncodeTiled found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    constexpr unsigned kSince = 12000;
    CUDA_CALL(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSince, cudaEnableDefault,
                                               &result));
    CHECK(result == cudaDriverEntryPointSuccess, static_cast<int>(result));
    return reinterpret_cast<EncodeTiled>(function);
  }();
  return found;
}

CUtensorMap map_of(const AttentionParams& p, const __nv_bfloat16* data, int dim, int64_t block, int64_t head,
                   int64_t row, int box) {
  CUtensorMap map;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(dim), static_cast<cuuint64_t>(p.block),
                              static_cast<cuuint64_t>(p.kv_heads), static_cast<cuuint64_t>(p.blocks)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(row * 2), static_cast<cuuint64_t>(head * 2),
                                static_cast<cuuint64_t>(block * 2)};
  const cuuint32_t boxes[] = {kAtom, static_cast<cuuint32_t>(box), 1, 1};
  const cuuint32_t steps[] = {1, 1, 1, 1};
  const CUresult result =
      encode_tiled()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<__nv_bfloat16*>(data), sizes,
                     strides, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled", static_cast<int>(result), dim, p.block, row, head,
        block);
  return map;
}

template <class C>
void launch_for(const AttentionLaunch& launch, const AttentionParams& p) {
  static const bool ready = [] {
    allow_shared(prefill_kernel<C>, C::kShared);
    return true;
  }();
  CHECK(ready);
  PrefillParams params;
  params.box = std::gcd(p.block, C::kKeys);
  params.k = map_of(p, p.k, p.head_dim, p.k_block, p.k_head, p.k_row, params.box);
  params.v = map_of(p, p.v, p.v_dim, p.v_block, p.v_head, p.v_row, params.box);
  params.attention = p;
  prefill_kernel<C><<<launch.sms, C::kThreads, C::kShared, launch.stream>>>(params);
  CUDA_LAUNCHED("attention prefill_kernel");
}

using Dim64 = Config<64, 128, 3, 32, 160>;
using Dim128 = Config<128, 128, 2, 24, 240>;
using Dim256 = Config<256, 64, 2, 24, 240>;

}  // namespace

int prefill_tile(int head_dim, int v_dim) {
  if (head_dim != v_dim || head_dim > Dim256::kDim) return 0;
  return (head_dim <= Dim64::kDim ? Dim64::kGroups : Dim128::kGroups) * kGroupRows;
}

void run_prefill(const AttentionLaunch& launch, const AttentionParams& params) {
  if (params.head_dim <= Dim64::kDim) return launch_for<Dim64>(launch, params);
  if (params.head_dim <= Dim128::kDim) return launch_for<Dim128>(launch, params);
  launch_for<Dim256>(launch, params);
}

}  // namespace heed::cuda
