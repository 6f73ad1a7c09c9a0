// Attention of short sequences: decoding, drafts, the ends of prefills. And of all where there is no Hopper.
// Definition: kernels/ref/ref.cpp, attention. Bound by memory: each visible key and value is read once for
// every 16 packed rows. On an H100, of a copy's rate: 1.00 at 64 x 8192 keys, 0.99 at 256 x 2048.
//
// A block runs one unit at a time: 16 rows with a range of keys. Its 4 warps form groups of kShare warps; a
// group takes every n-th slice of 16 keys and has its own softmax and its own ring of kStages slices filled
// by asynchronous copies, so that groups do not wait for each other before the end of a part:
//
//   scores[16, 16] = Q[16, dim] K[16, dim]^T      every warp of the group
//   out[16, columns] += P[16, 16] V[16, columns]  each warp its share of the columns
//
// Then the groups' results are added up in their order, through shared memory, to that of the part. Meanwhile
// the rings fill with the next slices: the memory never idles. Parts are merged in their order: in registers,
// as they come, if a unit has them all, else by a second kernel. (Merging in the block that finishes last was
// slower: the fence that it needs waits for the rings.) Keys outside of a unit are never read: their places
// are filled with zeros.
#pragma once
#include <cfloat>

#include "kernels/cuda/attention_device.cuh"

namespace heed::cuda {
namespace {

using ptx::shared;

constexpr int kSlice = 16;  // keys; the least block of a cache
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

// Bytes of a row of shared memory from the first row. Chunks of 16 bytes lie elsewhere in their 128 bytes, so
// that what a warp reads at once uses all banks: Elements::swizzle, in which bits of the row do not mix.
template <class Elements, int kRowBytes>
__device__ int place_of(int row, int byte) {
  static_assert(kRowBytes % 64 == 0);
  return (row * kRowBytes + byte) ^ Elements::template swizzle<kRowBytes>(row) * 16;
}
// The same row, `bytes` further: at is the place of one of its first chunks.
__device__ uint32_t further(uint32_t at, int bytes) { return (at ^ bytes % 128) + bytes / 128 * 128; }

// Elements_: what keys and values are, and how they are multiplied. kAliased: values are the first columns of
// the keys (latent attention). kAtOnce: rows whose sums the groups exchange at a time. kBlocks: of a
// multiprocessor, for which registers have to suffice; where one more than shared memory has room for, so
// that blocks of the kernel before are no hindrance.
template <class Elements_, int kK_, int kV_, int kShare_, int kStages_, int kAtOnce_, int kBlocks_,
          bool kAliased_ = false>
struct Config {
  using Elements = Elements_;
  static constexpr int kK = kK_, kV = kV_;  // head_dim and v_dim, rounded up
  static constexpr int kShare = kShare_, kStages = kStages_;
  static constexpr int kAtOnce = kAtOnce_, kBlocks = kBlocks_;
  static constexpr bool kAliased = kAliased_;
  static constexpr int kGroups = kWarps / kShare;
  static constexpr int kColumns = kV / kShare;  // of a warp
  static constexpr int kKRow = Elements::row_bytes(kK);
  static constexpr int kVRow = kAliased ? kKRow : Elements::row_bytes(kV);
  static constexpr int kStage = kSlice * (kKRow + (kAliased ? 0 : kVRow));  // bytes, as those to come
  static constexpr int kRings = kGroups * kStages * kStage;
  static constexpr int kQ = kShortTile * kK * 2;
  static constexpr int kSums = kAtOnce * kV;  // of a group, floats
  static constexpr int kShared = kRings + kQ + kGroups * kSums * 4 + (kGroups + 2) * kShortTile * 8;
  // Results of a thread, in pieces of 4 columns; rows follow one another.
  static constexpr int kPieces = (kShortTile * kV / 4 + kThreads - 1) / kThreads;
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

// Weight of a result with these stats in a merge whose largest score is `largest`.
__device__ float weight_of(float2 stats, float largest) {
  return ptx::exp2(stats.x - fmaxf(largest, -FLT_MAX));  // 0 if it has none
}

__device__ float4 scaled(float4 x, float scale) {
  return {x.x * scale, x.y * scale, x.z * scale, x.w * scale};
}
__device__ float4 plus_scaled(float4 to, float4 x, float scale) {
  return {fmaf(x.x, scale, to.x), fmaf(x.y, scale, to.y), fmaf(x.z, scale, to.z), fmaf(x.w, scale, to.w)};
}

// How the sum of some parts of a row and that of the next part are added to one of both. Parts are added in
// their order, with the same bits wherever that is done.
struct Sum {
  float keep, weight;  // of what is there, and of the part
  float2 stats;        // of both

  __device__ Sum(float2 before, float2 part) {
    const float most = fmaxf(before.x, part.x);
    keep = weight_of(before, most);
    weight = weight_of(part, most);
    stats = {most, fmaf(part.y, weight, before.y * keep)};
  }
  __device__ float4 of(float4 before, float4 part) const {
    return plus_scaled(scaled(before, keep), part, weight);
  }
};
constexpr float kNone = -INFINITY;  // largest score of a row that has none

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

// Walks a block's units: those of some bins, each with one kv head.
struct Units {
  const AttentionUnit* units;
  const int32_t* starts;
  int work, kv_heads, at, i = 0, others = 0, left = 0;

  __device__ explicit Units(const AttentionParams& p)
      : units(reinterpret_cast<const AttentionUnit*>(p.plan + 1)),
        starts(in_plan<int32_t>(p, p.plan->starts_offset)),
        work(p.plan->short_bins * p.kv_heads),
        kv_heads(p.kv_heads),
        at(static_cast<int>(blockIdx.x) - static_cast<int>(gridDim.x)) {}

  __device__ bool next() {
    if (left > 0) {
      --left;
      i = others++;
      return true;
    }
    at += static_cast<int>(gridDim.x);
    if (at >= work) return false;
    i = at / kv_heads;
    others = starts[i];
    left = starts[i + 1] - others;
    return true;
  }
  __device__ const AttentionUnit& unit() const { return units[i]; }
  __device__ int head() const { return at % kv_heads; }
};

// Fills a group's ring, slice after slice and unit after unit.
template <class C>
struct Loader {
  using Elements = typename C::Elements;
  using Element = typename Elements::Type;
  const AttentionParams& p;
  const Warp<C>& warp;
  Units units;
  AttentionUnit unit = {};
  int head = 0;
  Slices<C> slices;
  int i = 0;  // of the slices, the next
  const int32_t* table = nullptr;
  int entry = 0, entry_row = 0;  // of the table, for one of the next 32 slices a lane
  int stage = 0;                 // of the ring, for the next slice
  bool more = true;

  __device__ Loader(const AttentionParams& params, const Warp<C>& w)
      : p(params), warp(w), units(params), slices(unit, w.group) {}

  // Starts the copies of the next slice, if there is one.
  __device__ void next() {
    while (more && i >= slices.end) take_unit();
    if (more) {
      const int key = slices.at(i) * kSlice;
      const int lane = i / C::kGroups % 32;
      const int mine = i + warp.lane * C::kGroups;
      if (lane == 0 && mine < slices.end) {
        const int ahead = slices.at(mine) * kSlice;
        entry = table[ahead / p.block];
        entry_row = ahead % p.block;
      }
      const int block = __shfl_sync(~0U, entry, lane);
      const int64_t row = __shfl_sync(~0U, entry_row, lane);
      const auto* k = static_cast<const Element*>(p.k) + block * p.k_block + head * p.k_head + row * p.k_row;
      load_rows<C::kK, C::kKRow>(warp.keys(stage), k, p.k_row, p.head_dim, key, block);
      if constexpr (!C::kAliased) {
        const auto* v =
            static_cast<const Element*>(p.v) + block * p.v_block + head * p.v_head + row * p.v_row;
        load_rows<C::kV, C::kVRow>(warp.values(stage), v, p.v_row, p.v_dim, key, block);
      }
      i += C::kGroups;
      stage = warp.after(stage);
    }
    ptx::copies_commit();
  }

  // Starts the copies of the next slice if its keys were in the cache before this step.
  __device__ bool next_if_old() {
    while (more && i >= slices.end) take_unit();
    if (!more || (slices.at(i) + 1) * kSlice > unit.last) return false;
    next();
    return true;
  }

  __device__ void take_unit() {
    more = units.next();
    if (!more) return;
    unit = units.unit();
    head = units.head();
    slices = Slices<C>(unit, warp.group);
    i = warp.group;
    table = table_of(p, unit.sequence);
  }

  template <int kDim, int kRowBytes>
  __device__ void load_rows(uint32_t to, const Element* from, int64_t stride, int dim, int key,
                            int block) const {
    constexpr int kChunk = 16 / sizeof(Element), kChunks = kDim / kChunk, kLanes = 32 * C::kShare;
    const int thread = warp.part * 32 + warp.lane;
    const bool whole = block >= 0 && unit.key_lo <= key && key + kSlice <= unit.key_hi;
    if constexpr (kLanes % kChunks == 0) {
      if (whole) {  // a thread keeps its column and steps over rows; columns beyond dim are zero already
        constexpr int kRows = kLanes / kChunks;
        const int column = thread % kChunks * kChunk;
        if (column >= dim) return;
        to += place_of<Elements, kRowBytes>(thread / kChunks, thread % kChunks * 16);
        from += thread / kChunks * stride + column;
#pragma unroll
        for (int row = 0; row < kSlice; row += kRows) {
          ptx::copy16((to ^ Elements::template swizzle<kRowBytes>(row) * 16) + row * kRowBytes, from);
          from += kRows * stride;
        }
        return;
      }
    }
#pragma unroll 2
    for (int c = thread; c < kSlice * kChunks; c += kLanes) {
      const int row = c / kChunks;
      const int column = c % kChunks * kChunk;
      const bool real = (whole || is_real(key + row, block)) && column < dim;
      ptx::copy16(to + place_of<Elements, kRowBytes>(row, c % kChunks * 16),
                  real ? from + row * stride + column : p.k, real);
    }
  }
  __device__ bool is_real(int key, int block) const {
    return block >= 0 && (key < unit.sink_hi || (unit.key_lo <= key && key < unit.key_hi));
  }
};

// A group's work on one unit.
template <class C>
struct Worker {
  const AttentionParams& p;
  const Warp<C>& warp;
  const AttentionUnit& unit;
  const Slices<C> slices;
  const int lane, part;
  RowMask mask[2];  // of rows lane / 4 and lane / 4 + 8

  int i;                     // of the slices, the next
  float largest[2], sum[2];  // of a part so far
  float out[C::kColumns / 8][4];

  __device__ Worker(const AttentionParams& params, const Warp<C>& w, const AttentionUnit& u)
      : p(params), warp(w), unit(u), slices(u, w.group), lane(w.lane), part(w.part), i(w.group) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = lane / 4 + 8 * r;
      mask[r] = row < unit.rows ? p.rows[unit.token + (unit.row + row) / p.group] : RowMask{0, 0, 0};
    }
  }

  // Scores to weights; the sums so far are scaled to the new largest score.
  __device__ void weigh(int key, float (&s)[2][4]) {
    float scale[2] = {1, 1};
    bool moved = weigh_rows(0, key, s, scale[0]);
    if (unit.rows > kShortTile / 2) moved |= weigh_rows(1, key, s, scale[1]);
    if (!__any_sync(~0U, moved)) return;
#pragma unroll
    for (int c = 0; c < C::kColumns / 8; ++c) {
      out[c][0] *= scale[0];
      out[c][1] *= scale[0];
      out[c][2] *= scale[1];
      out[c][3] *= scale[1];
    }
  }

  // Rows lane / 4 (i: 0), or those 8 further (1). Has the largest score grown?
  __device__ __forceinline__ bool weigh_rows(int i, int key, float (&s)[2][4], float& scale) {
    float step = p.scale_log2;
    if (p.cap_log2 != 0) {
#pragma unroll
      for (int j = 0; j < 4; ++j) s[j / 2][2 * i + j % 2] = score_log2(p, s[j / 2][2 * i + j % 2]);
      step = 1;
    }
    if (key < unit.full_lo || key + kSlice > unit.full_hi) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (!sees(mask[i], key + j / 2 * 8 + lane % 4 * 2 + j % 2)) s[j / 2][2 * i + j % 2] = -INFINITY;
      }
    }
    float most = fmaxf(fmaxf(s[0][2 * i], s[0][2 * i + 1]), fmaxf(s[1][2 * i], s[1][2 * i + 1]));
    most = fmaxf(most, __shfl_xor_sync(~0U, most, 1));
    most = fmaxf(most, __shfl_xor_sync(~0U, most, 2));
    most = fmaxf(largest[i], most * step);
    const float base = most == -INFINITY ? 0 : most;
    scale = ptx::exp2(largest[i] - base);
    const bool moved = most != largest[i];
    largest[i] = most;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      s[j / 2][2 * i + j % 2] = ptx::exp2(fmaf(s[j / 2][2 * i + j % 2], step, -base));
    }
    sum[i] = sum[i] * scale + ((s[0][2 * i] + s[0][2 * i + 1]) + (s[1][2 * i] + s[1][2 * i + 1]));
    return moved;
  }

  // A part: what is left before slice `end`. stage: of the ring, where its first slice is.
  __device__ void run(int end, uint32_t q, Loader<C>& loader, int& stage) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      largest[r] = -INFINITY;
      sum[r] = 0;
    }
#pragma unroll
    for (int c = 0; c < C::kColumns / 8; ++c) out[c][0] = out[c][1] = out[c][2] = out[c][3] = 0;
    for (; i < slices.end && slices.at(i) < end; i += C::kGroups) {
      ptx::copies_wait<C::kStages - 2>();
      warp.group_sync();  // everyone's copies of the slice are there, and everyone is done with the one
                          // before
      loader.next();
      float s[2][4] = {};
      C::Elements::template score<C>(q, warp.keys(stage), lane, s);
      weigh(slices.at(i) * kSlice, s);
      C::Elements::template add_values<C>(warp.values(stage), lane, part, s, out);
      stage = warp.after(stage);
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum[r] += __shfl_xor_sync(~0U, sum[r], 1);
      sum[r] += __shfl_xor_sync(~0U, sum[r], 2);
    }
  }

  // This group's results of rows [row, row + kAtOnce) to shared memory.
  __device__ void put(int row, float* sums, float2* stats) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int own = lane / 4 + 8 * r;
      if (own < row || own >= min(row + C::kAtOnce, unit.rows)) continue;
      if (part == 0 && lane % 4 == 0) stats[warp.group * kShortTile + own] = {largest[r], sum[r]};
      float* to = sums + warp.group * C::kSums + (own - row) * C::kV + part * C::kColumns;
      C::Elements::template put_row<C>(to, lane, r, out);
    }
  }
};

template <class C>
__device__ void load_queries(const AttentionParams& p, const AttentionUnit& unit, int head, char* q) {
  const float scale = query_scale(p, head);
  for (int c = threadIdx.x; c < kShortTile * (C::kK / 4); c += kThreads) {
    const int row = c / (C::kK / 4);
    const int column = c % (C::kK / 4) * 4;
    float4 x = {0, 0, 0, 0};
    if (row < unit.rows && column < p.head_dim) {
      const int r = unit.row + row;
      x = *reinterpret_cast<const float4*>(p.q + (unit.token + r / p.group) * p.q_token +
                                           (head * p.group + r % p.group) * p.q_head + column);
    }
    C::Elements::template store_query<C>(shared(q), row, column, x, scale);
  }
}

__device__ void store_row(const AttentionParams& p, int64_t token, int row, int kv_head, int column,
                          float4 sums, float2 stats) {
  const int head = kv_head * p.group + row % p.group;
  const float total = with_sink(p, head, stats).y;
  const float scale = total == 0 ? 0 : ptx::exp2(stats.x - with_sink(p, head, stats).x) / total;
  float4 out = {0, 0, 0, 0};
  if (stats.y != 0) out = scaled(sums, scale * value_scale(p, kv_head));
  store4(p, token + row / p.group, head, column, out);
}

// Where the results of a part are exchanged, in shared memory, after the queries: each group's sums of
// kAtOnce rows and stats of all, and the stats of all parts so far, which take turns with those one part
// later.
template <class C>
struct Exchange {
  float* sums;
  float2 *stats, *whole;
  __device__ explicit Exchange(char* memory)
      : sums(reinterpret_cast<float*>(memory + C::kQ)),
        stats(reinterpret_cast<float2*>(sums + C::kGroups * C::kSums)),
        whole(stats + C::kGroups * kShortTile) {}
};

// What becomes of a unit: a thread's pieces of it.
template <class C>
struct Results {
  static constexpr int kAcross = C::kV / 4;
  const AttentionParams& p;
  const AttentionUnit& unit;
  const int head;
  float4 whole[C::kPieces];

  // Of the n-th part, rows [row, row + kAtOnce).
  __device__ void add(int n, int row, const Exchange<C>& exchange) {
#pragma unroll
    for (int i = 0; i < C::kPieces; ++i) {
      const int own = row_of(i);
      if (own < row || own >= min(row + C::kAtOnce, unit.rows)) continue;
      float2 part = {kNone, 0};
      float4 value = {0, 0, 0, 0};
      const float2* stats = exchange.stats + own;
#pragma unroll
      for (int g = 0; g < C::kGroups; ++g) part.x = fmaxf(part.x, stats[g * kShortTile].x);
#pragma unroll
      for (int g = 0; g < C::kGroups; ++g) {
        const float weight = weight_of(stats[g * kShortTile], part.x);
        const float* from = exchange.sums + g * C::kSums + (own - row) * C::kV + column_of(i);
        part.y = fmaf(stats[g * kShortTile].y, weight, part.y);
        value = plus_scaled(value, *reinterpret_cast<const float4*>(from), weight);
      }
      if (unit.slot < 0) {
        add_part(n, i, part, value, exchange.whole + own);
      } else if (column_of(i) < p.v_dim) {
        const int64_t place = (int64_t{unit.slot + n} * p.kv_heads + head) * kShortTile + own;
        *reinterpret_cast<float4*>(p.partial + place * p.v_dim + column_of(i)) = value;
        if (column_of(i) == 0) p.stats[place] = part;
      }
    }
  }

  // After the n-th part, the last.
  __device__ void store(int n, const Exchange<C>& exchange) const {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < C::kPieces; ++i) {
      if (row_of(i) >= unit.rows || column_of(i) >= p.v_dim) continue;
      store_row(p, unit.token, unit.row + row_of(i), head, column_of(i), whole[i],
                exchange.whole[(n + 1) % 2 * kShortTile + row_of(i)]);
    }
  }

 private:
  __device__ void add_part(int n, int i, float2 part, float4 value, float2* stats) {
    const Sum sum(n == 0 ? float2{kNone, 0} : stats[n % 2 * kShortTile], part);
    whole[i] = sum.of(n == 0 ? float4{0, 0, 0, 0} : whole[i], value);
    if (column_of(i) == 0) stats[(n + 1) % 2 * kShortTile] = sum.stats;
  }
  static __device__ int row_of(int i) { return (static_cast<int>(threadIdx.x) + i * kThreads) / kAcross; }
  static __device__ int column_of(int i) {
    return (static_cast<int>(threadIdx.x) + i * kThreads) % kAcross * 4;
  }
};

template <class C>
__device__ void run_unit(const AttentionParams& p, const AttentionUnit& unit, int head, const Warp<C>& warp,
                         Loader<C>& loader, int& stage, char* memory) {
  const Exchange<C> exchange(memory);
  load_queries<C>(p, unit, head, memory);
  Worker<C> worker(p, warp, unit);
  Results<C> results = {p, unit, head, {}};
  int end = unit.key_lo / unit.part * unit.part;
  int n = 0;
  for (; n == 0 || end < unit.key_hi; ++n) {
    end += unit.part;
    __syncthreads();  // queries are there, or what was exchanged of the part before has been read
    worker.run(end / kSlice, shared(memory), loader, stage);
    for (int row = 0; row < unit.rows; row += C::kAtOnce) {
      if (row > 0) __syncthreads();
      worker.put(row, exchange.sums, exchange.stats);
      __syncthreads();
      results.add(n, row, exchange);
    }
  }
  if (unit.slot < 0) results.store(n - 1, exchange);
}

template <class C>
__global__ void __launch_bounds__(kThreads, C::kBlocks)
    short_kernel(const __grid_constant__ AttentionParams p) {
  auto* memory = ptx::block_memory<char, 1024>();
  // Plans are there before the step's first kernel. Blocks without a unit leave their place at once.
  if (blockIdx.x > 0 && static_cast<int>(blockIdx.x) >= Units(p).work) return;
  if (p.head_dim < C::kK || p.v_dim < C::kV) {  // columns that no copy writes
    for (int i = threadIdx.x * 16; i < C::kRings; i += kThreads * 16) {
      *reinterpret_cast<uint4*>(memory + i) = {0, 0, 0, 0};
    }
    __syncthreads();
  }
  const Warp<C> warp(shared(memory));
  Loader<C> loader(p, warp);
  int filled = 0;
  while (p.one_token && filled < C::kStages - 1 && loader.next_if_old()) ++filled;
  Units units(p);
  ptx::wait_for_previous();
  ptx::let_next_start();  // not before: what it reads ahead would be in the way of the first keys
  for (; filled < C::kStages - 1; ++filled) loader.next();
  int stage = 0;
  while (units.next()) {
    const AttentionUnit unit = units.unit();
    run_unit<C>(p, unit, units.head(), warp, loader, stage, memory + C::kRings);
  }
  ptx::copies_wait<0>();
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

template <class C>
void launch_for(const AttentionLaunch& how, const AttentionParams& params) {
  launch(
      how.stream,
      {.blocks = static_cast<unsigned>(blocks_of<C>() * how.sms), .threads = kThreads, .shared = C::kShared},
      short_kernel<C>, params);
  if (how.merges) run_merge(how, params);
}

}  // namespace
}  // namespace heed::cuda
