// Attention of long sequences on Hopper. Definition: kernels/ref/ref.cpp, attention. Bound by the tensor
// cores: on an H200, causal 8192 runs at 0.69 of a large product's rate (dim 128), 0.74 (256) and 0.51 (64),
// 2048 tokens after 30720 at 0.78.
//
// A block runs one unit at a time: 64 packed rows for each of kGroups warpgroups, over tiles of kKeys keys
// from an absolute multiple on. One more warpgroup brings the data: two warps have the tensor copy engine
// fill rings of two tiles of keys and of values, page by page (one warp for both was a tenth slower); the
// others bring the next unit. A computing warpgroup keeps two products in flight and computes weights
// meanwhile:
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

// For GPUs before Hopper the kernel is compiled empty, and what it would use is unused.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

using ptx::shared;

constexpr int kGroupThreads = 128;  // of a warpgroup
constexpr int kGroupRows = 64;
constexpr int kStages = 2;
constexpr int kPackets = 2;
// Queries, keys and values in shared memory are made of atoms: 8 rows of 64 columns, 128 bytes each. A tile
// of keys has all atoms of its first 8 rows, then those of the next 8: a page of 16 rows is then one piece,
// which the copy engine writes with one instruction. It takes about as long for a small one as for a large
// one.
constexpr int kAtom = 64;     // columns
constexpr int kAtomRows = 8;  // rows
constexpr int kRowBytes = 128;
constexpr int kAtomBytes = kAtomRows * kRowBytes;

// The named barriers of a block: one of each warpgroup by itself, one for its turn.
constexpr int kOwn = 1;
constexpr int kTurn = 4;

template <int kDim_, int kKeys_, int kGroups_, int kProducerRegisters_, int kRegisters_>
struct Config {
  static constexpr int kDim = kDim_, kKeys = kKeys_, kGroups = kGroups_;
  static constexpr int kProducerRegisters = kProducerRegisters_, kRegisters = kRegisters_;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kAtoms = kDim / kAtom;
  static constexpr int kQ = kGroupRows * kDim * 2;   // bytes of a warpgroup's queries
  static constexpr int kTile = kKeys * kDim * 2;     // bytes of a tile of keys, or values
  static constexpr int kStep = kAtoms * kAtomBytes;  // from 8 rows to the next
  static constexpr int kRows = kGroups * kGroupRows;
  static constexpr int kPacket = (80 + kRows * 12 + 127) / 128 * 128;  // bytes: a unit, and its rows' masks
  static constexpr int kBarriers = (4 * kStages + 2 * kPackets) * 8;
  static constexpr int kShared =
      kGroups * kQ + kPackets * kPacket + 2 * kStages * kTile + kBarriers + 1024;  // 1024 to align
};

// The copy engine knows five dimensions, so that blocks and heads share one: its index is a block's number
// times `block` plus a head's times `head`.
struct Steps {
  int block, head;
  int64_t stride;  // elements from one index to the next
  __device__ int index(int b, int h) const { return b * block + h * head; }
};

struct PrefillParams {
  // [block and head, rows / 8, dim / 64, 8, 64] in boxes of `box` rows; or, where 64 does not divide dim,
  // [block and head, rows / 8, 1, 8, dim] in boxes of an atom, with zeros where dim ends.
  CUtensorMap k, v;
  AttentionParams attention;
  int box;                 // rows that a lane copies: of one page
  bool whole;              // the first of the two
  Steps k_steps, v_steps;  // to the first coordinate
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
  __device__ uint32_t packet(int slot) const { return v(kStages) + slot * C::kPacket; }  // a Packet
  __device__ uint32_t barrier(int i) const { return packet(kPackets) + i * 8; }
  __device__ uint32_t k_full(int stage) const { return barrier(stage); }
  __device__ uint32_t k_free(int stage) const { return barrier(kStages + stage); }
  __device__ uint32_t v_full(int stage) const { return barrier(2 * kStages + stage); }
  __device__ uint32_t v_free(int stage) const { return barrier(3 * kStages + stage); }
  __device__ uint32_t unit_full(int slot) const { return barrier(4 * kStages + slot); }
  __device__ uint32_t unit_free(int slot) const { return barrier(4 * kStages + kPackets + slot); }
};

// What computing warps need to know of a unit.
struct Packet {
  AttentionUnit unit;
  int head, unused[3];
  RowMask rows[1];  // of Config::kRows
};

// A place in a ring: the tile's number over all units of a block gives its stage and its round's parity.
template <int kRing>
struct PlaceIn {
  int stage, parity;
  __device__ explicit PlaceIn(int tile) : stage(tile % kRing), parity(tile / kRing % 2) {}
};
using Place = PlaceIn<kStages>;

__device__ const AttentionUnit* units_of(const AttentionParams& p) {
  return reinterpret_cast<const AttentionUnit*>(reinterpret_cast<const char*>(p.plan) +
                                                p.plan->prefill_offset);
}

// Units of this block: the last round may leave some without.
__device__ __forceinline__ int count_units(const AttentionParams& p) {
  const int work = p.plan->prefill_units * p.kv_heads;
  const int blocks = static_cast<int>(gridDim.x);
  const int whole = work / blocks;
  return whole + (snake(whole, static_cast<int>(blockIdx.x), blocks) < work ? 1 : 0);
}
// Of the n-th: its index times the kv heads, plus the kv head.
__device__ __forceinline__ int work_of(int n) {
  return snake(n, static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x));
}

// ---- The warps that fill the rings, one keys and one values; lane i copies the i-th box of every tile ----

template <class C>
__device__ void copy_tile(const PrefillParams& params, const CUtensorMap& map, uint32_t to, uint32_t barrier,
                          int row, int index, bool mine) {
  const int box = params.box;
  const int boxes = __popc(__ballot_sync(~0U, mine));
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) ptx::barrier_arrive_expecting(barrier, boxes * box / kAtomRows * C::kStep);
  __syncwarp();
  if (!mine) return;
  to += lane * box / kAtomRows * C::kStep;
  if (params.whole) {
    ptx::copy_box(to, &map, 0, 0, 0, row / kAtomRows, index, barrier);
    return;
  }
  for (int i = 0; i < box / kAtomRows; ++i) {
    for (int atom = 0; atom < C::kAtoms; ++atom) {
      ptx::copy_box(to + i * C::kStep + atom * kAtomBytes, &map, atom * kAtom, 0, 0, row / kAtomRows + i,
                    index, barrier);
    }
  }
}

// full, free: the barriers of a ring.
template <class C>
__device__ void fill_ring(const PrefillParams& params, const CUtensorMap& map, const Steps& steps,
                          uint32_t ring, uint32_t full, uint32_t free) {
  const AttentionParams& p = params.attention;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) ptx::prefetch_map(&map);
  const int count = count_units(p);
  int done = 0;
  for (int n = 0; n < count; ++n) {
    const AttentionUnit& unit = units_of(p)[work_of(n) / p.kv_heads];
    const int head = work_of(n) % p.kv_heads;
    const Tiles<C::kKeys> tiles(unit);
    const int32_t* table = table_of(p, unit.sequence);
    const auto entry_of = [&](int i) {
      const int key = tiles.key(i) + lane * params.box;
      const bool mine =
          i < tiles.count && lane * params.box < C::kKeys && visits(unit, key, key + params.box);
      return mine ? table[key / p.block] : -1;
    };
    int entry = entry_of(0);
    for (int i = 0; i < tiles.count; ++i, ++done) {
      const int next = entry_of(i + 1);
      const Place place(done);
      const int row = (tiles.key(i) + lane * params.box) % p.block;
      ptx::barrier_wait(free + place.stage * 8, place.parity ^ 1);
      copy_tile<C>(params, map, ring + place.stage * C::kTile, full + place.stage * 8, row,
                   steps.index(entry, head), entry >= 0);
      entry = next;
    }
  }
}

// ---- The warps that bring the units and their rows' masks, and have the queries come nearer ----

constexpr int kFillers = 64;  // threads
constexpr int kBringers = kGroupThreads - kFillers;

__device__ __forceinline__ const float* query_of(const AttentionParams& p, const AttentionUnit& unit,
                                                 int head, int row) {
  const int packed = unit.row + row;
  return p.q + (unit.token + packed / p.group) * p.q_token + (head * p.group + packed % p.group) * p.q_head;
}

template <class C>
__device__ void bring_units(const AttentionParams& p, const Memory<C>& memory) {
  const int thread = static_cast<int>(threadIdx.x) - kFillers;
  const int count = count_units(p);
  for (int n = 0; n < count; ++n) {
    const PlaceIn<kPackets> place(n);
    const AttentionUnit& unit = units_of(p)[work_of(n) / p.kv_heads];
    const int head = work_of(n) % p.kv_heads;
    // Into the second-level cache while the place is not free yet.
    constexpr int kLine = 32;  // floats
    for (int c = thread; c < unit.rows * (C::kDim / kLine); c += kBringers) {
      const int column = c % (C::kDim / kLine) * kLine;
      if (column < p.head_dim) ptx::prefetch(query_of(p, unit, head, c / (C::kDim / kLine)) + column);
    }
    ptx::barrier_wait(memory.unit_free(place.stage), place.parity ^ 1);
    auto* packet = static_cast<Packet*>(__cvta_shared_to_generic(memory.packet(place.stage)));
    if (thread == 0) {
      packet->unit = unit;
      packet->head = head;
    }
    for (int r = thread; r < C::kRows; r += kBringers) {
      packet->rows[r] = r < unit.rows ? p.rows[unit.token + (unit.row + r) / p.group] : RowMask{0, 0, 0};
    }
    ptx::barrier_arrive(memory.unit_full(place.stage));
  }
}

// ---- The warpgroups that compute ----

// The queries of a unit's rows [first, last), rounded, in the layout that the products read.
template <class C>
__device__ __forceinline__ void round_queries(const AttentionParams& p, const Memory<C>& memory,
                                              const AttentionUnit& unit, int head, int first, int last,
                                              int thread, int threads) {
  constexpr int kChunks = C::kDim / 8;
#pragma unroll 4
  for (int c = first * kChunks + thread; c < last * kChunks; c += threads) {
    const int r = c / kChunks;
    const int column = c % kChunks * 8;
    float4 a = {0, 0, 0, 0};
    float4 b = {0, 0, 0, 0};
    if (r < unit.rows && column < p.head_dim) {
      const float* from = query_of(p, unit, head, r) + column;
      a = *reinterpret_cast<const float4*>(from);
      b = *reinterpret_cast<const float4*>(from + 4);
    }
    const int row = r % kGroupRows;
    const uint32_t to = memory.q(r / kGroupRows) + row / kAtomRows * C::kStep + column / kAtom * kAtomBytes +
                        row % kAtomRows * kRowBytes + ((column % kAtom / 8) ^ (row % 8)) * 16;
    ptx::store16(to, {ptx::pack(a.x, a.y), ptx::pack(a.z, a.w), ptx::pack(b.x, b.y), ptx::pack(b.z, b.w)});
  }
  ptx::shared_writes_to_engines();
}

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
        group(__shfl_sync(~0U, static_cast<int>(threadIdx.x) / kGroupThreads - 1,
                          0)),  // so it is known to be uniform
        thread(static_cast<int>(threadIdx.x) % kGroupThreads),
        lane(thread % 32) {}

  __device__ int row(int i) const {
    return group * kGroupRows + thread / 32 * 16 + lane / 4 + 8 * i;
  }  // of the unit

  __device__ __forceinline__ void issue_scores(int stage) {
    wgmma::pin(scores);
    wgmma::fence();
#pragma unroll
    for (int d = 0; d < C::kDim; d += 16) {
      const int at = d / kAtom * kAtomBytes + d % kAtom * 2;
      wgmma::multiply(scores, wgmma::rows_descriptor(memory.q(group) + at, C::kStep),
                      wgmma::rows_descriptor(memory.k(stage) + at, C::kStep), d > 0);
    }
    wgmma::commit();
  }

  __device__ __forceinline__ void issue_values(int stage) {
    wgmma::pin(out);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < C::kKeys; k += 16) {
      wgmma::multiply(out, weights[k / 16],
                      wgmma::columns_descriptor(memory.v(stage) + k / kAtomRows * C::kStep, C::kStep));
    }
    wgmma::commit();
  }

  // Values of the tile that the unit does not visit become zero.
  __device__ __forceinline__ void clear_values(const AttentionUnit& unit, int key, int stage) const {
    if ((unit.key_lo <= key && key + C::kKeys <= unit.key_hi) || key + C::kKeys <= unit.sink_hi) return;
    for (int c = thread; c < C::kKeys * C::kAtoms * (kRowBytes / 16); c += kGroupThreads) {
      const int k = key + c * 16 / C::kStep * kAtomRows + c * 16 % kAtomBytes / kRowBytes;
      if (!visits(unit, k, k + 1)) ptx::store16(memory.v(stage) + c * 16, {0, 0, 0, 0});
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
      constexpr int kChains = 4;  // of sums and maxima, that do not wait for each other
      float most[kChains];
#pragma unroll
      for (int j = 0; j < C::kKeys / 8; ++j) {
        const float larger = fmaxf(scores[4 * j + 2 * i], scores[4 * j + 2 * i + 1]);
        most[j % kChains] = j < kChains ? larger : fmaxf(most[j % kChains], larger);
      }
      float all = fmaxf(fmaxf(most[0], most[1]), fmaxf(most[2], most[3]));
      all = fmaxf(all, __shfl_xor_sync(~0U, all, 1));
      all = fmaxf(all, __shfl_xor_sync(~0U, all, 2));
      all = fmaxf(largest[i], all * unit_scale);
      const float base = all == -INFINITY ? 0 : all;
      scale[i] = ptx::exp2(largest[i] - base);
      largest[i] = all;
      float added[kChains] = {};
#pragma unroll
      for (int j = 0; j < C::kKeys / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& s = scores[4 * j + 2 * i + e];
          s = ptx::exp2(fmaf(s, unit_scale, -base));
          added[(2 * j + e) % kChains] += s;
        }
      }
      sum[i] = sum[i] * scale[i] + ((added[0] + added[1]) + (added[2] + added[3]));
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

  // The block's n-th unit.
  __device__ __forceinline__ void run(int n) {
    const PlaceIn<kPackets> queries(n);
    const int slot = queries.stage;
    ptx::barrier_wait(memory.unit_full(slot), queries.parity);
    const auto* packet = static_cast<const Packet*>(__cvta_shared_to_generic(memory.packet(slot)));
    const AttentionUnit unit = packet->unit;
    const int head = packet->head;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      mask[i] = packet->rows[row(i)];
      largest[i] = -INFINITY;
      sum[i] = 0;
    }
#pragma unroll
    for (int j = 0; j < C::kDim / 2; ++j) out[j] = 0;
    const Tiles<C::kKeys> tiles(unit);
    const int first = group * kGroupRows;
    round_queries<C>(p, memory, unit, head, first, first + kGroupRows, thread, kGroupThreads);
    ptx::threads_sync(kOwn + group, kGroupThreads);
    if (tiles.count == 0) {
      free(memory.unit_free(slot));
    } else {
      run_tiles(unit, tiles, slot);
    }
    write(unit, head);
  }

  __device__ __forceinline__ void run_tiles(const AttentionUnit& unit, const Tiles<C::kKeys>& tiles,
                                            int slot) {
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
      wgmma::after(sum);  // or the compiler moves all of this behind the wait
      wgmma::wait<0>();
      wgmma::pin(out);
      free(memory.v_free(place.stage));
      round_weights();
      rescale();
      place = next;
    }
    free(memory.unit_free(slot));
    ptx::barrier_wait(memory.v_full(place.stage), place.parity);
    clear_values(unit, tiles.key(tiles.count - 1), place.stage);
    issue_values(place.stage);
    wgmma::wait<0>();
    wgmma::pin(out);
    free(memory.v_free(place.stage));
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
    for (int slot = 0; slot < kPackets; ++slot) {
      ptx::barrier_init(memory.unit_full(slot), kBringers);
      ptx::barrier_init(memory.unit_free(slot), C::kGroups * kGroupThreads / 32);
    }
    ptx::barrier_inits_done();
  }
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    ptx::give_registers<C::kProducerRegisters>();
    if (threadIdx.x < 32) {
      fill_ring<C>(params, params.k, params.k_steps, memory.k(0), memory.k_full(0), memory.k_free(0));
    } else if (threadIdx.x < kFillers) {
      fill_ring<C>(params, params.v, params.v_steps, memory.v(0), memory.v_full(0), memory.v_free(0));
    } else {
      bring_units<C>(params.attention, memory);
    }
  } else {
    ptx::take_registers<C::kRegisters>();
    Consumer<C> consumer(params.attention, memory);
    if (consumer.group == C::kGroups - 1) consumer.give_turn();  // the first turn
    const int count = count_units(params.attention);
    for (int n = 0; n < count; ++n) consumer.run(n);
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

CUtensorMap map_of(const AttentionParams& p, const __nv_bfloat16* data, int dim, int64_t row,
                   const Steps& steps, int box, int atoms) {
  const auto n = [](int64_t size) { return static_cast<cuuint64_t>(size); };
  const bool whole = dim % kAtom == 0;
  CUtensorMap map;
  const cuuint64_t sizes[] = {n(whole ? kAtom : dim), kAtomRows, n(whole ? dim / kAtom : 1),
                              n(p.block / kAtomRows),
                              n((p.blocks - 1) * steps.block + int64_t{p.kv_heads - 1} * steps.head + 1)};
  const cuuint64_t strides[] = {n(row * 2), kRowBytes, n(row * kAtomRows * 2), n(steps.stride * 2)};
  const cuuint32_t boxes[] = {kAtom, kAtomRows, static_cast<cuuint32_t>(whole ? atoms : 1),
                              static_cast<cuuint32_t>(whole ? box / kAtomRows : 1), 1};
  const cuuint32_t ones[] = {1, 1, 1, 1, 1};
  const CUresult result =
      encode_tiled()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 5, const_cast<__nv_bfloat16*>(data), sizes,
                     strides, boxes, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled", static_cast<int>(result), dim, p.block, row,
        steps.stride);
  return map;
}

Steps steps_of(int64_t block, int64_t head) {
  const int64_t stride = std::gcd(block, head);
  return {static_cast<int>(block / stride), static_cast<int>(head / stride), stride};
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
  params.whole = p.head_dim % kAtom == 0;
  params.k_steps = steps_of(p.k_block, p.k_head);
  params.v_steps = steps_of(p.v_block, p.v_head);
  params.k = map_of(p, p.k, p.head_dim, p.k_row, params.k_steps, params.box, C::kAtoms);
  params.v = map_of(p, p.v, p.v_dim, p.v_row, params.v_steps, params.box, C::kAtoms);
  params.attention = p;
  prefill_kernel<C><<<launch.sms, C::kThreads, C::kShared, handle_of(launch.stream)>>>(params);
  CUDA_LAUNCHED("attention prefill_kernel");
}

using Dim64 = Config<64, 128, 3, 32, 160>;
using Dim128 = Config<128, 128, 2, 40, 232>;
using Dim256 = Config<256, 64, 2, 40, 232>;

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
