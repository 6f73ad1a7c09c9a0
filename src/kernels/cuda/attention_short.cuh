// Attention of short sequences: decoding, drafts, the ends of prefills. And of all where there is no Hopper.
// Definition: kernels/ref/ref.cpp, attention. Bound by memory: each visible key and value is read once for
// all packed rows of a unit, 8 or 16.
//
// A block runs one unit at a time: its rows with a range of keys. Its 4 warps form groups of kShare warps; a
// group takes every n-th slice of 16 keys and has its own softmax and its own ring of kStages slices filled
// by asynchronous copies, so that groups do not wait for each other before the end of a part:
//
//   scores[16, rows] = K[16, dim] Q[rows, dim]^T          every warp of the group
//   out[columns, rows] += V[16, columns]^T P[16, rows]    each warp its share of the columns
//
// Keys and columns are the 16 rows of a product's tile and the unit's rows its 8 columns, or a tile would be
// half empty. What scores are less is moved only where one is 2^kRoom above it, so that most slices need no
// lane to know another's scores. Then the groups' results are added up in their order, through shared memory,
// to that of the part. Meanwhile the rings fill with the next slices: the memory never idles. Parts are added
// up as attention_parts.cuh says. Keys outside of a unit are never read: their places are filled with zeros.
//
// A step of one sequence is a chain of such kernels, each too short to fetch more instructions than it must:
// hence loops that stay loops.
#pragma once
#include <algorithm>

#include "kernels/cuda/attention_parts.cuh"

namespace heed::cuda {
namespace {

using ptx::shared;

constexpr float kRoom = 8;  // of weights above 1, log2

// Bytes of a row of shared memory from the first row. Chunks of 16 bytes lie elsewhere in their 128 bytes, so
// that what a warp reads at once uses all banks: Elements::swizzle, in which bits of the row do not mix.
template <class Elements, int kRowBytes>
__device__ int place_of(int row, int byte) {
  static_assert(kRowBytes % 64 == 0);
  return (row * kRowBytes + byte) ^ Elements::template swizzle<kRowBytes>(row) * 16;
}
// The same row, `bytes` further: at is the place of one of its first chunks.
__device__ uint32_t further(uint32_t at, int bytes) { return (at ^ bytes % 128) + bytes / 128 * 128; }

// Elements_: what keys and values are, and how they are multiplied. kRowGroups: of 8 rows each that a unit
// has at most. kAliased: values are the first columns of the keys (latent attention). kAtOnce: rows whose
// sums the groups exchange at a time. kBlocks: of a multiprocessor, for which registers have to suffice;
// where one more than shared memory has room for, so that blocks of the kernel before are no hindrance.
template <class Elements_, int kRowGroups_, int kK_, int kV_, int kShare_, int kStages_, int kAtOnce_,
          int kBlocks_, bool kAliased_ = false>
struct Config {
  using Elements = Elements_;
  static constexpr int kRowGroups = kRowGroups_, kRows = 8 * kRowGroups;
  static constexpr int kK = kK_, kV = kV_;  // head_dim and v_dim, rounded up
  static constexpr int kShare = kShare_, kStages = kStages_;
  static constexpr int kAtOnce = kAtOnce_ < kRows ? kAtOnce_ : kRows, kBlocks = kBlocks_;
  static constexpr bool kAliased = kAliased_;
  static constexpr int kGroups = kWarps / kShare;
  static constexpr int kColumns = kV / kShare;  // of a warp
  static constexpr int kTiles = kColumns / 16;  // of its results
  static constexpr int kKRow = Elements::row_bytes(kK);
  static constexpr int kVRow = kAliased ? kKRow : Elements::row_bytes(kV);
  static constexpr int kStage = kSlice * (kKRow + (kAliased ? 0 : kVRow));  // bytes, as those to come
  static constexpr int kRings = kGroups * kStages * kStage;
  static constexpr int kQ = kRows * kK * 2;
  static constexpr int kSums = kAtOnce * kV;  // of a group, floats
  static constexpr int kShared = kRings + kQ + kGroups * kSums * 4 + (kGroups + 2) * kRows * 8;
  // Results of a thread, in pieces of 4 columns; rows follow one another.
  static constexpr int kPieces = (kRows * kV / 4 + kThreads - 1) / kThreads;
};

// The slices of a unit that a group visits: those whose number it has, first those of the sinks, then from
// the first key on. Counted without the gap between both: from the group's number on in steps of kGroups.
template <class C>
struct Slices {
  int sink_end, gap, end;
  __device__ Slices(const AttentionUnit& unit, int group) {
    const auto own_from = [&](int slice) {
      return slice + (group + C::kGroups - slice % C::kGroups) % C::kGroups;
    };
    sink_end = (unit.sink_hi + kSlice - 1) / kSlice;
    gap = own_from(max(unit.key_lo / kSlice, sink_end)) - own_from(sink_end);
    end = max((unit.key_hi + kSlice - 1) / kSlice - gap, sink_end);
  }
  __device__ int at(int i) const { return i < sink_end ? i : i + gap; }
};

// The place of a warp in its block, and its group's ring.
template <class C>
struct Warp {
  int lane, group, part;  // part: of the group's warps, and of the columns
  uint32_t ring;

  __device__ explicit Warp(uint32_t rings)
      : lane(threadIdx.x % 32),
        group(threadIdx.x / 32 / C::kShare),
        part(threadIdx.x / 32 % C::kShare),
        ring(rings + group * C::kStages * C::kStage) {}

  __device__ void group_sync() const {
    if constexpr (C::kShare == 1) {
      __syncwarp();
    } else {
      ptx::threads_sync(1 + group, 32 * C::kShare);
    }
  }
  // Addresses of a stage of the ring.
  __device__ uint32_t keys(int stage) const { return ring + stage * C::kStage; }
  __device__ uint32_t values(int stage) const { return keys(stage) + (C::kAliased ? 0 : kSlice * C::kKRow); }
  __device__ static int after(int stage) { return stage + 1 == C::kStages ? 0 : stage + 1; }
};

// The units of a bin, all with one kv head.
struct Bin {
  const AttentionUnit* units;
  int first, others, count, head;
  int first_merge, last_merge;

  __device__ Bin(const AttentionParams& p, int at)
      : units(reinterpret_cast<const AttentionUnit*>(p.plan + 1)), first(p.of_kv_heads(at)) {
    head = at - first * p.kv_heads;
    const auto* bin = in_plan<AttentionBin>(p, p.plan->bins_offset) + first;
    others = bin[0].others;
    count = 1 + bin[1].others - others;
    first_merge = bin[0].first_merge;
    last_merge = bin[0].last_merge;
  }
  __device__ const AttentionUnit& unit(int n) const { return units[n == 0 ? first : others + n - 1]; }
};

// Fills a group's ring, slice after slice and unit after unit.
template <class C>
struct Loader {
  using Elements = typename C::Elements;
  using Element = typename Elements::Type;
  const AttentionParams& p;
  const Warp<C>& warp;
  const Bin& bin;
  AttentionUnit unit = {};
  int n = 0;  // of the bin's units, the next
  Slices<C> slices;
  int i = 0;  // of the slices, the next
  const int32_t* table = nullptr;
  int entry = 0, entry_row = 0;  // of the table, for one of the next 32 slices a lane
  int stage = 0;                 // of the ring, for the next slice

  __device__ Loader(const AttentionParams& params, const Warp<C>& w, const Bin& b)
      : p(params), warp(w), bin(b), slices(unit, w.group) {}

  // Whether there is another slice, whose unit is then `unit`.
  __device__ bool has_next() {
#pragma unroll 1
    while (i >= slices.end && n < bin.count) take_unit();
    return i < slices.end;
  }
  // Whether that slice's keys were in the cache before this step.
  __device__ bool is_old() const { return (slices.at(i) + 1) * kSlice <= unit.last; }

  // Starts the copies of that slice, if there is one.
  __device__ void next(bool has_one) {
    if (has_one) {
      const int key = slices.at(i) * kSlice;
      const int lane = i / C::kGroups % 32;
      const int mine = i + warp.lane * C::kGroups;
      if (lane == 0 && mine < slices.end) {
        const int ahead = slices.at(mine);
        const int block = p.of_block(ahead);
        entry = table[block];
        entry_row = ahead * kSlice - block * p.block;
      }
      const int block = __shfl_sync(~0U, entry, lane);
      const int row = __shfl_sync(~0U, entry_row, lane);
      const auto* k =
          static_cast<const Element*>(p.k) + block * p.k_block + bin.head * p.k_head + row * p.k_row;
      load_rows<C::kK, C::kKRow>(warp.keys(stage), k, p.k_row, p.head_dim, key, block);
      if constexpr (!C::kAliased) {
        const auto* v =
            static_cast<const Element*>(p.v) + block * p.v_block + bin.head * p.v_head + row * p.v_row;
        load_rows<C::kV, C::kVRow>(warp.values(stage), v, p.v_row, p.v_dim, key, block);
      }
      i += C::kGroups;
      stage = warp.after(stage);
    }
    ptx::copies_commit();
  }

 private:
  __device__ void take_unit() {
    unit = bin.unit(n++);
    slices = Slices<C>(unit, warp.group);
    i = warp.group;
    table = table_of(p, unit.sequence);
  }

  // stride: elements.
  template <int kDim, int kRowBytes>
  __device__ void load_rows(uint32_t to, const Element* from, int stride, int dim, int key, int block) const {
    constexpr int kChunk = 16 / sizeof(Element), kChunks = kDim / kChunk, kLanes = 32 * C::kShare;
    const int thread = warp.part * 32 + warp.lane;
    const bool whole = block >= 0 && unit.key_lo <= key && key + kSlice <= unit.key_hi;
    if constexpr (kLanes % kChunks == 0) {
      if (whole) {  // a thread keeps its column and steps over rows; columns beyond dim are zero already
        constexpr int kRows = kLanes / kChunks;
        const int column = thread % kChunks * kChunk;
        if (column >= dim) return;
        to += place_of<Elements, kRowBytes>(thread / kChunks, thread % kChunks * 16);
        from += int64_t{thread / kChunks} * stride + column;
#pragma unroll
        for (int row = 0; row < kSlice; row += kRows) {
          ptx::copy16((to ^ Elements::template swizzle<kRowBytes>(row) * 16) + row * kRowBytes,
                      from + int64_t{row} * stride);
        }
        return;
      }
    }
#pragma unroll 1
    for (int c = thread; c < kSlice * kChunks; c += kLanes) {
      const int row = c / kChunks;
      const int column = c % kChunks * kChunk;
      const bool real = (whole || is_real(key + row, block)) && column < dim;
      ptx::copy16(to + place_of<Elements, kRowBytes>(row, c % kChunks * 16),
                  real ? from + int64_t{row} * stride + column : p.k, real);
    }
  }
  __device__ bool is_real(int key, int block) const {
    return block >= 0 && (key < unit.sink_hi || (unit.key_lo <= key && key < unit.key_hi));
  }
};

// A group's queries: held in registers as products want them, where there is room.
template <class C>
struct Queries {
  static constexpr int kSteps = C::kK / 16;
  static constexpr bool kHeld = C::kRowGroups == 1 && kSteps <= 16;
  uint32_t from;
  uint32_t held[kHeld ? kSteps : 1][C::kRowGroups][2];

  __device__ void load(uint32_t q, int lane) {
    from = C::Elements::template queries_of<C>(q, lane);
    if constexpr (kHeld) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) C::Elements::template load_query<C>(from, step, held[step]);
    }
  }
  // Of 16 terms.
  __device__ void of(int step, uint32_t (&b)[C::kRowGroups][2]) const {
    if constexpr (kHeld) {
#pragma unroll
      for (int n = 0; n < C::kRowGroups; ++n) b[n][0] = held[step][n][0], b[n][1] = held[step][n][1];
    } else {
      C::Elements::template load_query<C>(from, step, b);
    }
  }
};

// A group's work on one unit. Of scores a thread has keys lane / 4 and lane / 4 + 8 with rows lane % 4 * 2
// and the next one of each 8.
template <class C>
struct Worker {
  static constexpr int kRowGroups = C::kRowGroups;
  using Scores = float[kRowGroups][4];  // [...][2 * i + e]: of key lane / 4 + 8 * i and row lane % 4 * 2 + e
  const AttentionParams& p;
  const Warp<C>& warp;
  const int lane;
  AttentionUnit unit;
  Slices<C> slices;
  RowMask mask[kRowGroups][2];
  Queries<C> queries;

  int i;                                          // of the slices, the next
  float base[kRowGroups][2], sum[kRowGroups][2];  // of a part so far: what scores are less, of weights
  float out[kRowGroups][C::kTiles][4];

  __device__ Worker(const AttentionParams& params, const Warp<C>& w)
      : p(params), warp(w), lane(w.lane), unit(), slices(unit, w.group) {}

  // What is known ahead of the queries.
  __device__ void begin(const AttentionUnit& u) {
    unit = u;
    slices = Slices<C>(unit, warp.group);
    i = warp.group;
#pragma unroll
    for (int n = 0; n < kRowGroups; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int row = n * 8 + lane % 4 * 2 + e;
        mask[n][e] = row < unit.rows ? p.rows[unit.token + p.of_group(unit.row + row)] : RowMask{0, 0, 0};
      }
    }
  }

  // A part: what is left before slice `end`. stage: of the ring, where its first slice is.
  __device__ void run(int end, Loader<C>& loader, int& stage) {
    clear();
#pragma unroll 1
    for (; i < slices.end && slices.at(i) < end; i += C::kGroups) {
      ptx::copies_wait<C::kStages - 2>();
      warp.group_sync();  // everyone's copies of the slice are there, and everyone is done with the one
                          // before
      Scores s = {};
      C::Elements::template score<C>(queries, warp.keys(stage), lane, s);
      loader.next(loader.has_next());  // while products run
      typename C::Elements::template Values<C> values(warp.values(stage), lane, warp.part);
      uint32_t weights[kRowGroups][2];  // as products want them
      weigh(slices.at(i) * kSlice, s, weights);
      values.add(weights, out);
      stage = warp.after(stage);
    }
#pragma unroll
    for (int n = 0; n < kRowGroups; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
#pragma unroll
        for (int step = 4; step < 32; step *= 2) sum[n][e] += __shfl_xor_sync(~0U, sum[n][e], step);
      }
    }
  }

  // This group's results of rows [row, row + kAtOnce) to shared memory.
  __device__ void put(int row, float* sums, float2* stats) const {
#pragma unroll
    for (int n = 0; n < kRowGroups; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int own = n * 8 + lane % 4 * 2 + e;
        if (own < row || own >= min(row + C::kAtOnce, unit.rows)) continue;
        if (warp.part == 0 && lane < 4) stats[warp.group * C::kRows + own] = {base[n][e], sum[n][e]};
        float* to = sums + warp.group * C::kSums + (own - row) * C::kV + warp.part * C::kColumns;
        C::Elements::template put_row<C>(to, lane, e, out[n]);
      }
    }
  }

 private:
  __device__ void clear() {
#pragma unroll
    for (int n = 0; n < kRowGroups; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        base[n][e] = kNone;
        sum[n][e] = 0;
      }
#pragma unroll
      for (int m = 0; m < C::kTiles; ++m) out[n][m][0] = out[n][m][1] = out[n][m][2] = out[n][m][3] = 0;
    }
  }

  // Scores to weights; the sums so far are scaled where what scores are less has moved. Weights are summed as
  // rounded: then a row that sees one key, or one above all others, gets its values as they are.
  __device__ void weigh(int key, Scores& s, uint32_t (&weights)[kRowGroups][2]) {
    if (p.cap_log2 != 0) {
      for_each(s, [&](float& x, int, int) { x = score_log2(p, x); });
    } else {
      for_each(s, [&](float& x, int, int) { x *= p.scale_log2; });
    }
    if (key < unit.full_lo || key + kSlice > unit.full_hi) hide(key, s);
    bool above = false;
    for_each(s, [&](float x, int n, int j) { above |= x - base[n][j % 2] > kRoom; });
    if (__any_sync(~0U, above)) raise(s);
    for_each(s, [&](float& x, int n, int j) { x = ptx::exp2(x - base[n][j % 2]); });
#pragma unroll
    for (int n = 0; n < kRowGroups; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t pair = C::Elements::round(s[n][2 * i], s[n][2 * i + 1]);
        weights[n][i] = ptx::transpose(pair);
      }
    }
    for_each(s, [&](float x, int n, int j) { sum[n][j % 2] += x; });
  }
  template <class Do>
  static __device__ __forceinline__ void for_each(Scores& s, Do run) {
#pragma unroll
    for (int n = 0; n < kRowGroups; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) run(s[n][j], n, j);
    }
  }
  __device__ void hide(int key, Scores& s) const {
    for_each(s, [&](float& x, int n, int j) {
      if (!sees(mask[n][j % 2], key + j / 2 * 8 + lane / 4)) x = -INFINITY;
    });
  }
  // Each row by itself, so that rows beside it change none of its bits.
  __device__ void raise(const Scores& s) {
#pragma unroll
    for (int n = 0; n < kRowGroups; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float most = fmaxf(s[n][e], s[n][2 + e]);
#pragma unroll
        for (int step = 4; step < 32; step *= 2) most = fmaxf(most, __shfl_xor_sync(~0U, most, step));
        if (!(most - base[n][e] > kRoom)) most = base[n][e];
        const float keep = ptx::exp2(base[n][e] - most);
        base[n][e] = most;
        sum[n][e] *= keep;
#pragma unroll
        for (int m = 0; m < C::kTiles; ++m) {
          out[n][m][e] *= keep;
          out[n][m][2 + e] *= keep;
        }
      }
    }
  }
};

template <class C>
__device__ void load_queries(const AttentionParams& p, const AttentionUnit& unit, int head, char* q) {
  const float scale = query_scale(p, head);
#pragma unroll
  for (int c = static_cast<int>(threadIdx.x); c < C::kRows * (C::kK / 4); c += kThreads) {
    const int row = c / (C::kK / 4);
    const int column = c % (C::kK / 4) * 4;
    float4 x = {0, 0, 0, 0};
    if (row < unit.rows && column < p.head_dim) {
      const int r = unit.row + row;
      const int beside = p.of_group(r);
      x = *reinterpret_cast<const float4*>(p.q + (unit.token + beside) * p.q_token +
                                           (head * p.group + r - beside * p.group) * p.q_head + column);
    }
    C::Elements::template store_query<C>(shared(q), row, column, x, scale);
  }
}

template <class C>
__device__ void run_unit(const AttentionParams& p, Worker<C>& worker, int head, Loader<C>& loader, int& stage,
                         char* memory) {
  const Exchange<C> exchange(memory);
  const AttentionUnit& unit = worker.unit;
  load_queries<C>(p, unit, head, memory);
  __syncthreads();
  worker.queries.load(shared(memory), worker.lane);
  Results<C> results = {p, unit, head, {}};
  int end = unit.key_lo / unit.part * unit.part;
  int n = 0;
#pragma unroll 1
  for (; n == 0 || end < unit.key_hi; ++n) {
    end += unit.part;
    worker.run(end / kSlice, loader, stage);
#pragma unroll 1
    for (int row = 0; row < unit.rows; row += C::kAtOnce) {
      worker.put(row, exchange.sums, exchange.stats);
      __syncthreads();
      results.add(n, row, exchange);
      __syncthreads();  // what was exchanged has been read
    }
  }
  if (unit.slot < 0) results.store(n - 1, exchange);
}

// Fills the rings as far as keys were in the cache before this step, then waits for the kernel before this
// one, and fills the rest.
template <class C>
__device__ void fill(const AttentionParams& p, Loader<C>& loader, bool waits) {
#pragma unroll 1
  for (int filled = 0;; ++filled) {
    const bool full = filled == C::kStages - 1;
    const bool has_one = loader.has_next();
    if (waits && (full || !p.reads_ahead || !has_one || !loader.is_old())) {
      waits = false;
      ptx::wait_for_previous();
      ptx::let_next_start();  // not before: what it reads ahead would be in the way of the first keys
    }
    if (full) return;
    loader.next(has_one);
  }
}

template <class C>
__device__ void run_bin(const AttentionParams& p, int at, bool waits, const Warp<C>& warp, char* memory) {
  const Bin bin(p, at);
  if (p.head_dim < C::kK || p.v_dim < C::kV) {  // columns that no copy writes
    __syncthreads();
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x) * 16; i < C::kRings; i += kThreads * 16)
      *reinterpret_cast<uint4*>(memory + i) = {0, 0, 0, 0};
    __syncthreads();
  }
  Loader<C> loader(p, warp, bin);
  Worker<C> worker(p, warp);
  worker.begin(bin.unit(0));
  fill(p, loader, waits);
  int stage = 0;
#pragma unroll 1
  for (int n = 0;;) {
    run_unit<C>(p, worker, bin.head, loader, stage, memory + C::kRings);
    if (++n == bin.count) break;
    worker.begin(bin.unit(n));
  }
  ptx::copies_wait<0>();
  merge_where_last<C>(p, bin.first_merge, bin.last_merge, bin.head, memory);
}

template <class C>
__global__ void __launch_bounds__(kThreads, C::kBlocks)
    short_kernel(const __grid_constant__ AttentionParams p) {
  auto* memory = ptx::block_memory<char, 1024>();
  // Plans are there before the step's first kernel. Blocks without a bin leave their place at once.
  const int work = p.plan->short_bins * p.kv_heads;
  if (static_cast<int>(blockIdx.x) >= work) {
    if (blockIdx.x == 0) ptx::wait_for_previous();
    return;
  }
  const Warp<C> warp(shared(memory));
#pragma unroll 1
  for (int at = static_cast<int>(blockIdx.x); at < work; at += static_cast<int>(gridDim.x)) {
    run_bin<C>(p, at, at == static_cast<int>(blockIdx.x), warp, memory);
  }
}

bool is_aliased(const AttentionParams& p) {
  return p.k == p.v && p.k_block == p.v_block && p.k_head == p.v_head && p.k_row == p.v_row;
}

// Blocks that a multiprocessor runs at once.
template <class C>
int blocks_of() {
  static const int blocks = [] {
    allow_shared(short_kernel<C>, C::kShared);
    int each = 0;
    CUDA_CALL(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, short_kernel<C>, kThreads, C::kShared));
    CHECK(each > 0, C::kShared);
    return each;
  }();
  return blocks;
}

// Where half of the blocks have something to do, a multiprocessor need not have room for more: it is the
// linear layers beside them that want what is left of its memory, and that are slower for what a kernel left
// it at.
template <class C>
void launch_for(const AttentionLaunch& how, const AttentionParams& params) {
  constexpr int kReserved = 1 << 10;  // of a block, by CUDA
  const int each = blocks_of<C>();
  launch(how.stream,
         {.blocks = static_cast<unsigned>(each * how.sms),
          .threads = kThreads,
          .shared = C::kShared,
          .shared_of_all = how.sparse ? (each + 1) / 2 * (C::kShared + 2 * kReserved) : 0},
         short_kernel<C>, params);
}

// With the kernel for such rows and sizes: Elements::with_rows knows which there are.
template <class Elements, class F>
auto with_config(bool narrow, int k, int v, bool aliased, const F& run) {
  return narrow ? Elements::template with_rows<1>(k, v, aliased, run)
                : Elements::template with_rows<2>(k, v, aliased, run);
}

template <class Elements>
void run_short_of(const AttentionLaunch& launch, const AttentionParams& params) {
  with_config<Elements>(launch.narrow, params.head_dim, params.v_dim, is_aliased(params),
                        [&]<class C>(C) { launch_for<C>(launch, params); });
}

template <class Elements>
int short_blocks_of(int head_dim, int v_dim) {
  const auto of = [&](bool narrow) {
    return with_config<Elements>(narrow, head_dim, v_dim, head_dim > v_dim,
                                 []<class C>(C) { return blocks_of<C>(); });
  };
  return std::min(of(true), of(false));
}

}  // namespace
}  // namespace heed::cuda
