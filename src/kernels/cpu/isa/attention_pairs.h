// Attention with products of pairs of bf16, summed in float32: queries and the softmax's numerators are
// rounded to bf16. Lanes are keys, then columns of values. Included by attention.cpp only.
//
// Values are taken two keys at a time, beside each other. Where a row sees one key of such a pair, the
// other's values are zeroed for it. Between `prepare` and `complete` the columns of the state lie as beside()
// has them.
#pragma once
#include "kernels/cpu/isa/attention_tile.h"

#if defined(HEED_HAS_PAIR_DOT)
namespace heed {
namespace {

constexpr int kPairs = kKeyTile / 2;
constexpr uint32_t kFirstOfPair = 0x0000ffffU;
constexpr uint32_t kSecondOfPair = 0xffff0000U;

HEED_INLINE Pairs load_pairs_some(const bf16* p, int64_t n) {
  return n >= 2 * kLanes ? load_pairs(p) : load_pairs_first(p, n);
}
HEED_INLINE uint32_t pair_at(const float* p) {
  uint32_t bits;
  memcpy(&bits, p, sizeof(bits));
  return bits;
}

void round_queries(const AttentionPart& p, const Scratch& s) {
  const int64_t width = pair_padded(p.head_dim);
  for (int r = 0; r < p.rows; ++r) {
    bf16* out = static_cast<bf16*>(static_cast<void*>(s.q)) + r * width;
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t left = p.head_dim - i;
      store(out + i, left <= 0 ? zero() : load_some(p.q[r] + i, smaller_of(left, kLanes)));
    }
  }
}

void pack_key_pairs(const AttentionPart& p, const Keys<bf16>& keys, Ahead& ahead, float* out) {
  const int64_t vectors = pair_padded(p.head_dim) / (2 * kLanes);
  for (int g = 0; g < kGroups; ++g) {
    if (!group_seen(keys.seen, g)) continue;
    const bf16* const* k = keys.k + g * kLanes;
    for (int64_t t = 0; t < vectors; ++t) {
      const int64_t i = t * 2 * kLanes;
      ahead.fetch(kLanes / 2);
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) rows[j] = bits_of(load_pairs_some(k[j] + i, p.head_dim - i));
      transpose(rows);
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l)
        store(out + l * lane_stride(vectors) + t * kKeyTile + g * kLanes, rows[l]);
    }
  }
}

template <int R, int C>
HEED_INLINE void score_pairs(const float* q, int64_t vectors, const float* k, float* out) {
  for (int l = 0; l < kLanes; ++l, k += lane_stride(vectors)) {
    Vec sums[R][C];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] = zero();
    }
    for (int64_t t = 0; t < vectors; ++t) {
      Pairs keys[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) keys[c] = load_packed(k + t * kKeyTile + c * kLanes);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const Pairs x = set_pair(pair_at(q + (r * vectors + t) * kLanes + l));
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sums[r][c] = pair_dot(keys[c], x, sums[r][c]);
      }
    }
    put_sums<R, C>(sums, l == 0, out);
  }
}

template <int R>
void score_pair_rows(const AttentionPart& p, uint64_t seen, const Scratch& s, int row) {
  static_assert(kGroups == kCols);
  const int64_t vectors = pair_padded(p.head_dim) / (2 * kLanes);
  const float* q = s.q + row * vectors * kLanes;
  float* out = s.scores + int64_t{row} * kKeyTile;
  int count = 0;
  for (int c = 0; c < kCols; ++c) count += group_seen(seen, c) ? 1 : 0;
  if (count == kCols) return score_pairs<R, kCols>(q, vectors, s.k, out);
  for (int c = 0; c < kCols; ++c) {
    if (group_seen(seen, c)) score_pairs<R, 1>(q, vectors, s.k + c * kLanes, out + c * kLanes);
  }
}

// The same for few rows, from keys in place.
template <int R>
void score_pairs_direct(const AttentionPart& p, const Keys<bf16>& keys, Ahead& ahead, const Scratch& s,
                        int row) {
  const int64_t vectors = pair_padded(p.head_dim) / (2 * kLanes);
  const float* q = s.q + row * vectors * kLanes;
  for (int g = 0; g < kGroups; ++g) {
    if (!group_seen(keys.seen, g)) continue;
    for (int j = 0; j < kLanes; ++j) {
      if (j % 2 == 0) ahead.fetch_for_row_groups();
      const bf16* key = keys.k[g * kLanes + j];
      Vec sums[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sums[r] = zero();
      for (int64_t t = 0; t < vectors; ++t) {
        const int64_t i = t * 2 * kLanes;
        const Pairs pairs = load_pairs_some(key + i, p.head_dim - i);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          sums[r] = pair_dot(pairs, load_packed(q + (r * vectors + t) * kLanes), sums[r]);
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) store(s.k + (r * kLanes + j) * kLanes, sums[r]);
    }
    for (int r = 0; r < R; ++r) {
      store(s.scores + int64_t{row + r} * kKeyTile + g * kLanes, sums_of_lanes(s.k + r * kLanes * kLanes));
    }
  }
}

// [kPairs][pair_padded(v_dim)]; values of keys that no row sees are 0.
void pack_value_pairs(const AttentionPart& p, const Keys<bf16>& keys, Ahead& ahead, int lines, float* out) {
  const int64_t width = pair_padded(p.v_dim);
  for (int j = 0; j < kPairs; ++j) {
    const uint64_t seen = keys.seen >> (2 * j);
    if ((seen & 3) == 0) continue;
    ahead.fetch(lines);
    const bf16* a = keys.v[2 * j];
    const bf16* b = keys.v[2 * j + 1];
    for (int64_t i = 0; i < p.v_dim; i += 2 * kLanes) {
      Pairs low;
      Pairs high;
      beside((seen & 1) != 0 ? load_pairs_some(a + i, p.v_dim - i) : no_pairs(),
             (seen & 2) != 0 ? load_pairs_some(b + i, p.v_dim - i) : no_pairs(), low, high);
      store(out + j * width + i, bits_of(low));
      store(out + j * width + i + kLanes, bits_of(high));
    }
  }
}

// Where pairs of values are: packed, or for few rows in place.
struct PackedValues {
  const float* v;
  int64_t width;
  template <int C>
  HEED_INLINE void read(int pair, int64_t column, Pairs (&out)[C]) const {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) out[c] = load_packed(v + pair * width + column + c * kLanes);
  }
};
struct ValuesInPlace {
  const bf16* const* v;
  int64_t v_dim;
  template <int C>
  HEED_INLINE void read(int pair, int64_t column, Pairs (&out)[C]) const {
#pragma GCC unroll 2
    for (int c = 0; c < C; c += 2) {
      const int64_t i = column + c * kLanes;
      beside(load_pairs_some(v[2 * pair] + i, v_dim - i), load_pairs_some(v[2 * pair + 1] + i, v_dim - i),
             out[c], out[c + 1]);
    }
  }
};

template <int R, int C, class Values>
HEED_INLINE void value_pairs(const float* weights, const Values& v, int64_t column, Run pairs,
                             uint32_t halves, Ahead& ahead, float* out, int64_t width) {
  Vec sums[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] = load(out + r * width + c * kLanes);
  }
  for (int j = pairs.a; j < pairs.b;) {
    ahead.fetch_for_row_groups();
    for (const int64_t stop = ahead.step_after(j, pairs.b); j < stop; ++j) {
      Pairs values[C];
      v.template read<C>(j, column, values);
      if constexpr (R == 1) {
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) values[c] = halves_of(values[c], halves);
      }
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const Pairs weight = set_pair(pair_at(weights + r * kKeyTile + j));
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sums[r][c] = pair_dot(values[c], weight, sums[r][c]);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(out + r * width + c * kLanes, sums[r][c]);
  }
}

// R rows and pairs of keys that all of them see: both, or for one row the halves given.
template <int R, class Values>
void add_pairs(const AttentionPart& p, const Values& v, Ahead& ahead, const Scratch& s, int row, Run pairs,
               uint32_t halves) {
  if (pairs.a >= pairs.b) return;
  const int64_t width = pair_padded(p.v_dim);
  const float* weights = s.scores + int64_t{row} * kKeyTile;
  float* out = p.state.values + row * width;
  int64_t i = 0;
  for (; i + kCols * kLanes <= width; i += kCols * kLanes) {
    value_pairs<R, kCols>(weights, v, i, pairs, halves, ahead, out + i, width);
  }
  if (i < width) value_pairs<R, 2>(weights, v, i, pairs, halves, ahead, out + i, width);
}

// One row's run of keys, ascending; at its ends it may see but one of a pair.
template <class Values>
void add_own_run(const AttentionPart& p, const Values& v, Ahead& ahead, const Scratch& s, int row, Run run) {
  if (run.a < run.b && run.a % 2 != 0) {
    add_pairs<1>(p, v, ahead, s, row, {run.a / 2, run.a / 2 + 1}, kSecondOfPair);
    ++run.a;
  }
  if (run.a >= run.b) return;
  add_pairs<1>(p, v, ahead, s, row, {run.a / 2, run.b / 2}, ~0U);
  if (run.b % 2 != 0) add_pairs<1>(p, v, ahead, s, row, {run.b / 2, run.b / 2 + 1}, kFirstOfPair);
}

// R rows, each with its own run: whole pairs common to all together, what sticks out row by row.
template <int R, class Values>
void add_pair_runs(const AttentionPart& p, const Values& v, Ahead& ahead, const Scratch& s, int row,
                   const Run (&runs)[R]) {
  Run common = runs[0];
  for (int r = 1; r < R; ++r) {
    if (runs[r].a > common.a) common.a = runs[r].a;
    if (runs[r].b < common.b) common.b = runs[r].b;
  }
  common = {(common.a + 1) / 2 * 2, common.b / 2 * 2};
  if (common.a >= common.b) {
    for (int r = 0; r < R; ++r) add_own_run(p, v, ahead, s, row + r, runs[r]);
    return;
  }
  for (int r = 0; r < R; ++r) add_own_run(p, v, ahead, s, row + r, {runs[r].a, common.a});
  add_pairs<R>(p, v, ahead, s, row, {common.a / 2, common.b / 2}, ~0U);
  for (int r = 0; r < R; ++r) add_own_run(p, v, ahead, s, row + r, {common.b, runs[r].b});
}

template <int R, class Values>
void value_pair_rows(const AttentionPart& p, bool full, const Values& v, Ahead& ahead, const Scratch& s,
                     int key, int row) {
  if (full) return add_pairs<R>(p, v, ahead, s, row, {0, kPairs}, ~0U);
  Run sinks[R];
  Run intervals[R];
  for (int r = 0; r < R; ++r) {
    sinks[r] = sinks_of(p.masks[row + r], key);
    intervals[r] = interval_of(p.masks[row + r], key);
  }
  add_pair_runs<R>(p, v, ahead, s, row, sinks);
  add_pair_runs<R>(p, v, ahead, s, row, intervals);
}

// What attention.cpp asks of an arithmetic.
struct Paired {
  using Element = bf16;
  static void prepare(const AttentionPart& p, const Scratch& s) { round_queries(p, s); }
  static void score(const AttentionPart& p, const Keys<bf16>& keys, Ahead& ahead, const Scratch& s) {
    if (keys.last_row - keys.first_row <= kDirectRows) {
      last_group<kDirectRows>(keys.first_row, keys.last_row - keys.first_row, [&](auto count, int row) {
        score_pairs_direct<decltype(count)::kValue>(p, keys, ahead, s, row);
      });
      return;
    }
    pack_key_pairs(p, keys, ahead, s.k);
    for_rows(keys.first_row, keys.last_row,
             [&](auto count, int row) { score_pair_rows<decltype(count)::kValue>(p, keys.seen, s, row); });
  }
  static HEED_INLINE void keep(float* weights, int group, Vec numerators) {
    store_rounded(static_cast<bf16*>(static_cast<void*>(weights)) + group * kLanes, numerators);
  }
  static void add(const AttentionPart& p, const Keys<bf16>& keys, Ahead& ahead, const Scratch& s, int key) {
    const auto rows = [&](const auto& values) {
      for_rows(keys.first_row, keys.last_row, [&](auto count, int row) {
        value_pair_rows<decltype(count)::kValue>(p, keys.full, values, ahead, s, key, row);
      });
    };
    if (keys.last_row - keys.first_row <= kRows) return rows(ValuesInPlace{keys.v, p.v_dim});
    pack_value_pairs(p, keys, ahead, 2, s.v);
    rows(PackedValues{s.v, pair_padded(p.v_dim)});
  }
  static void complete(const AttentionPart& p) {
    const int64_t width = pair_padded(p.v_dim);
    for (float* at = p.state.values; at != p.state.values + p.rows * width; at += 2 * kLanes) {
      Vec low = load(at);
      Vec high = load(at + kLanes);
      in_order(low, high);
      store(at, low);
      store(at + kLanes, high);
    }
  }
};

}  // namespace
}  // namespace heed
#endif
