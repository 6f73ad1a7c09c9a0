// Parts of a short sequence's keys: how their results are added up, in their order and with the same bits
// wherever that is done. The groups of a block exchange theirs through shared memory; a unit that has all
// parts of its rows keeps their sum in registers; of a tile that was cut, units write theirs to memory, and
// the block that comes last merges them.
#pragma once
#include <cfloat>

#include "kernels/cuda/attention_device.cuh"

namespace heed::cuda {
namespace {

constexpr int kThreads = 128;  // of a block
constexpr int kWarps = kThreads / 32;

// What scores of a row are less that has none. Finite: what is subtracted from it is a number.
constexpr float kNone = -FLT_MAX;

__device__ float4 scaled(float4 x, float scale) {
  return {x.x * scale, x.y * scale, x.z * scale, x.w * scale};
}
__device__ float4 plus_scaled(float4 to, float4 x, float scale) {
  return {fmaf(x.x, scale, to.x), fmaf(x.y, scale, to.y), fmaf(x.z, scale, to.z), fmaf(x.w, scale, to.w)};
}

// Stats of a row: what was subtracted from its scores, in units of log2, and the sum of weights.
// How the sum of some parts of a row and that of the next part are added to one of both.
struct Sum {
  float keep, weight;  // of what is there, and of the part
  float2 stats;        // of both

  __device__ Sum(float2 before, float2 part) {
    const float most = fmaxf(before.x, part.x);
    keep = ptx::exp2(before.x - most);
    weight = ptx::exp2(part.x - most);
    stats = {most, fmaf(part.y, weight, before.y * keep)};
  }
  __device__ float4 of(float4 before, float4 part) const {
    return plus_scaled(scaled(before, keep), part, weight);
  }
};

__device__ void store_row(const AttentionParams& p, int64_t token, int row, int kv_head, int column,
                          float4 sums, float2 stats) {
  const int64_t beside = p.of_group(row);
  const int head = kv_head * p.group + row - static_cast<int>(beside) * p.group;
  const float2 all = with_sink(p, head, stats);
  const float scale = all.y == 0 ? 0 : __fdividef(ptx::exp2(stats.x - all.x), all.y);
  float4 out = {0, 0, 0, 0};
  if (stats.y != 0) out = scaled(sums, scale * value_scale(p, kv_head));
  store4(p, token + beside, head, column, out);
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
        whole(stats + C::kGroups * C::kRows) {}
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
      for (int g = 0; g < C::kGroups; ++g) part.x = fmaxf(part.x, stats[g * C::kRows].x);
#pragma unroll
      for (int g = 0; g < C::kGroups; ++g) {
        const float weight = ptx::exp2(stats[g * C::kRows].x - part.x);
        const float* from = exchange.sums + g * C::kSums + (own - row) * C::kV + column_of(i);
        part.y = fmaf(stats[g * C::kRows].y, weight, part.y);
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
                exchange.whole[(n + 1) % 2 * C::kRows + row_of(i)]);
    }
  }

  static __device__ int row_of(int i) { return (static_cast<int>(threadIdx.x) + i * kThreads) / kAcross; }
  static __device__ int column_of(int i) {
    return (static_cast<int>(threadIdx.x) + i * kThreads) % kAcross * 4;
  }

 private:
  __device__ void add_part(int n, int i, float2 part, float4 value, float2* stats) {
    const Sum sum(n == 0 ? float2{kNone, 0} : stats[n % 2 * C::kRows], part);
    whole[i] = sum.of(n == 0 ? float4{0, 0, 0, 0} : whole[i], value);
    if (column_of(i) == 0) stats[(n + 1) % 2 * C::kRows] = sum.stats;
  }
};

// Merges the parts of a tile, a batch of them at a time: as Sum does one by one, but of a batch all weights
// are found at once, for what scores are less so far is the most of what came before.
template <class C>
struct Merge {
  using R = Results<C>;
  static constexpr int kMost = C::kRings / (kThreads * 16), kBatch = kMost < 64 ? kMost : 64;
  static_assert(C::kRows * kBatch * 16 <= C::kShared - C::kRings);
  const AttentionParams& p;
  const AttentionMerge& tile;
  const int head;
  float4* parts;    // [kBatch][kThreads]: of the piece that a thread is at
  float4* weights;  // [kRows][kBatch]: of what is there, of the part, the part's sum of weights, what scores
                    // are less
  int begin = 0, count = 0;  // the batch
  float4 value[C::kPieces] = {};
  float2 stats[C::kPieces] = {};

  __device__ Merge(const AttentionParams& params, const AttentionMerge& merge, int kv_head, char* memory)
      : p(params),
        tile(merge),
        head(kv_head),
        parts(reinterpret_cast<float4*>(memory)),
        weights(reinterpret_cast<float4*>(memory + C::kRings)) {}

  __device__ void run() {
    float most[kRowsOfWarp];
    for (float& x : most) x = kNone;
#pragma unroll 1
    for (; begin < tile.slots; begin += kBatch) {
      count = min(kBatch, tile.slots - begin);
      if (begin > 0) __syncthreads();  // the last batch's weights have been read
      start_copies(0);
#pragma unroll
      for (int i = 0; i < kRowsOfWarp; ++i) {
        const int row = static_cast<int>(threadIdx.x) / 32 + i * kWarps;
        if (row < tile.rows) weigh(row, most[i]);
      }
      __syncthreads();
#pragma unroll
      for (int i = 0; i < C::kPieces; ++i) {
        if (R::row_of(i) >= tile.rows) break;
        if (i > 0) start_copies(i);
        ptx::copies_wait<0>();
        add(R::row_of(i), value[i], stats[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < C::kPieces; ++i) {
      if (R::row_of(i) >= tile.rows || R::column_of(i) >= p.v_dim) continue;
      store_row(p, tile.token, tile.row + R::row_of(i), head, R::column_of(i), value[i], stats[i]);
    }
  }

 private:
  static constexpr int kRowsOfWarp = C::kRows / kWarps;

  __device__ int64_t place(int part, int row) const {
    return (int64_t{tile.slot + begin + part} * p.kv_heads + head) * kShortTile + row;
  }
  __device__ void start_copies(int piece) const {
    const int row = R::row_of(piece), column = R::column_of(piece);
    if (row < tile.rows && column < p.v_dim) {
#pragma unroll 4
      for (int part = 0; part < count; ++part)
        ptx::copy16(ptx::shared(parts + part * kThreads + threadIdx.x),
                    p.partial + place(part, row) * p.v_dim + column);
    }
    ptx::copies_commit();
  }
  // most: before the batch, then after it.
  __device__ void weigh(int row, float& most) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
    for (int part = lane; part - lane < count; part += 32) {
      const float2 own = part < count ? ptx::load_written(p.stats + place(part, row)) : float2{kNone, 0};
      float upto = lane == 0 ? fmaxf(most, own.x) : own.x;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const float before = __shfl_up_sync(~0U, upto, step);
        if (lane >= step) upto = fmaxf(upto, before);
      }
      float before = __shfl_up_sync(~0U, upto, 1);
      if (lane == 0) before = most;
      most = __shfl_sync(~0U, upto, 31);
      if (part < count)
        weights[row * kBatch + part] = {ptx::exp2(before - upto), ptx::exp2(own.x - upto), own.y, upto};
    }
  }
  __device__ void add(int row, float4& to, float2& all) const {
#pragma unroll 4
    for (int part = 0; part < count; ++part) {
      const float4 w = weights[row * kBatch + part];
      to = plus_scaled(scaled(to, w.x), parts[part * kThreads + threadIdx.x], w.y);
      all = {w.w, fmaf(w.z, w.y, all.y * w.x)};
    }
  }
};

// Of up to two tiles that a block has written parts of, or -1. Once it has no copies on their way, for which
// a fence would wait.
template <class C>
__device__ void merge_where_last(const AttentionParams& p, int first, int last, int head, char* memory) {
  __shared__ bool is_last;
#pragma unroll 1
  for (int i = first == last ? 1 : 0; i < 2; ++i) {
    const int merge = i == 0 ? first : last;
    if (merge < 0) continue;
    const AttentionMerge tile = in_plan<AttentionMerge>(p, p.plan->merge_offset)[merge];
    __syncthreads();
    if (threadIdx.x == 0) is_last = ptx::comes_last(p.arrivals + merge * p.kv_heads + head, tile.units);
    __syncthreads();
    if (!is_last) continue;
    Merge<C>(p, tile, head, memory).run();
    __syncthreads();  // the rings' memory is free again, for another bin
  }
}

}  // namespace
}  // namespace heed::cuda
