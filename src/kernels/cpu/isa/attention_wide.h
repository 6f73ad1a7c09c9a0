// Attention in float32: keys are packed as float32, lanes are keys, and every product is one FMA. Included by
// attention.cpp only.
#pragma once
#include "kernels/cpu/isa/attention_tile.h"

namespace heed {
namespace {

// Rows of keys as vectors. Of bf16 two are read at a time: the even elements, then the odd ones.
HEED_INLINE int64_t vectors_of(int64_t head_dim, const float* /*type*/) { return padded(head_dim) / kLanes; }
HEED_INLINE int64_t vectors_of(int64_t head_dim, const int8_t* /*type*/) { return padded(head_dim) / kLanes; }
HEED_INLINE int64_t vectors_of(int64_t head_dim, const e4m3* /*type*/) { return padded(head_dim) / kLanes; }
HEED_INLINE int64_t vectors_of(int64_t head_dim, const bf16* /*type*/) {
  return pair_padded(head_dim) / kLanes;
}
template <class T>
struct Vectors {
  static constexpr int kCount = 1;
  static HEED_INLINE void read(const T* row, int64_t t, int64_t dim, Vec (&out)[kCount]) {
    const int64_t left = dim - t * kLanes;
    out[0] = load_some(row + t * kLanes, smaller_of(left, kLanes));
  }
};
template <>
struct Vectors<bf16> {
  static constexpr int kCount = 2;
  static HEED_INLINE void read(const bf16* row, int64_t t, int64_t dim, Vec (&out)[kCount]) {
    const int64_t left = dim - t * kLanes;
    const Pairs pairs =
        left >= 2 * kLanes ? load_pairs(row + t * kLanes) : load_pairs_first(row + t * kLanes, left);
    out[0] = even(pairs);
    out[1] = odd(pairs);
  }
};

template <class T>
void lay_out_queries(const AttentionPart& p, const Scratch& s) {
  constexpr const T* kType = nullptr;
  const int64_t vectors = vectors_of(p.head_dim, kType);
  const auto read = [&](int r, int64_t t) {
    const int64_t left = p.head_dim - t * kLanes;
    return left <= 0 ? zero() : load_some(p.q[r] + t * kLanes, smaller_of(left, kLanes));
  };
  for (int r = 0; r < p.rows; ++r) {
    float* out = s.q + r * vectors * kLanes;
    for (int64_t t = 0; t < vectors; t += Vectors<T>::kCount, out += Vectors<T>::kCount * kLanes) {
      if constexpr (Vectors<T>::kCount == 1) {
        store(out, read(r, t));
      } else {
        Vec evens;
        Vec odds;
        deinterleave(read(r, t), read(r, t + 1), evens, odds);
        store(out, evens);
        store(out + kLanes, odds);
      }
    }
  }
}

template <class T>
void pack_keys(const AttentionPart& p, const Keys<T>& keys, Ahead& ahead, float* out) {
  using Read = Vectors<T>;
  constexpr const T* kType = nullptr;
  const int64_t vectors = vectors_of(p.head_dim, kType);
  for (int g = 0; g < kGroups; ++g) {
    if (!group_seen(keys.seen, g)) continue;
    for (int64_t t = 0; t < vectors; t += Read::kCount) {
      ahead.fetch(kLanes / 2);
      Vec rows[Read::kCount][kLanes];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) {
        Vec some[Read::kCount];
        Read::read(keys.k[g * kLanes + j], t, p.head_dim, some);
        for (int i = 0; i < Read::kCount; ++i) rows[i][j] = some[i];
      }
      for (int i = 0; i < Read::kCount; ++i) {
        transpose(rows[i]);
#pragma GCC unroll 16
        for (int l = 0; l < kLanes; ++l)
          store(out + l * lane_stride(vectors) + (t + i) * kKeyTile + g * kLanes, rows[i][l]);
      }
    }
  }
}

template <int R, int C>
HEED_INLINE void score_tile(const float* q, int64_t vectors, const float* k, Ahead& ahead, float* out) {
  for (int l = 0; l < kLanes; ++l, k += lane_stride(vectors)) {
    ahead.fetch_for_row_groups();
    Vec sums[R][C];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] = zero();
    }
    for (int64_t t = 0; t < vectors; ++t) {
      Vec keys[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) keys[c] = load(k + t * kKeyTile + c * kLanes);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const Vec x = set(q[(r * vectors + t) * kLanes + l]);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sums[r][c] = fma(x, keys[c], sums[r][c]);
      }
    }
    put_sums<R, C>(sums, l == 0, out);
  }
}

// Scores of R rows with every group of keys that some row sees.
template <int R>
void score_rows(int64_t vectors, uint64_t seen, Ahead& ahead, const Scratch& s, int row) {
  const float* q = s.q + row * vectors * kLanes;
  for (int g = 0; g < kGroups; g += kCols) {
    int count = 0;
    for (int c = 0; c < kCols; ++c) count += group_seen(seen, g + c) ? 1 : 0;
    float* out = s.scores + int64_t{row} * kKeyTile + g * kLanes;
    if (count == kCols) {
      score_tile<R, kCols>(q, vectors, s.k + g * kLanes, ahead, out);
      continue;
    }
    for (int c = 0; c < kCols; ++c) {
      if (!group_seen(seen, g + c)) continue;
      score_tile<R, 1>(q, vectors, s.k + (g + c) * kLanes, ahead, out + c * kLanes);
    }
  }
}

// The same for few rows, from keys in place.
template <int R, class T>
void score_direct(const AttentionPart& p, const Keys<T>& keys, Ahead& ahead, const Scratch& s, int row) {
  using Read = Vectors<T>;
  constexpr const T* kType = nullptr;
  const int64_t vectors = vectors_of(p.head_dim, kType);
  const float* q = s.q + row * vectors * kLanes;
  for (int g = 0; g < kGroups; ++g) {
    if (!group_seen(keys.seen, g)) continue;
    for (int j = 0; j < kLanes; ++j) {
      if (j % 2 == 0) ahead.fetch_for_row_groups();
      const T* key = keys.k[g * kLanes + j];
      Vec sums[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sums[r] = zero();
      for (int64_t t = 0; t < vectors; t += Read::kCount) {
        Vec some[Read::kCount];
        Read::read(key, t, p.head_dim, some);
#pragma GCC unroll 2
        for (int i = 0; i < Read::kCount; ++i) {
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) {
            sums[r] = fma(load(q + (r * vectors + t + i) * kLanes), some[i], sums[r]);
          }
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

template <class T, int R, int C>
HEED_INLINE void value_tile(const float* weights, const T* const* v, int64_t column, Run run, Ahead& ahead,
                            float* out, int64_t out_stride) {
  Vec sums[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] = load(out + r * out_stride + c * kLanes);
  }
  for (int key = run.a; key < run.b;) {
    ahead.fetch_for_row_groups();
    for (const int64_t stop = ahead.step_after(key, run.b); key < stop; ++key) {
      Vec values[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) values[c] = load(v[key] + column + c * kLanes);
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const Vec weight = set(weights[r * kKeyTile + key]);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sums[r][c] = fma(weight, values[c], sums[r][c]);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(out + r * out_stride + c * kLanes, sums[r][c]);
  }
}

// Values of R rows for one run of keys that all of them see. v's rows have padded(v_dim) readable elements.
template <class T, int R>
void add_run(const AttentionPart& p, const T* const* v, Ahead& ahead, const Scratch& s, int row, Run run) {
  if (run.a >= run.b) return;
  const int64_t width = padded(p.v_dim);
  const int64_t stride = pad(p.v_dim);
  const float* weights = s.scores + int64_t{row} * kKeyTile;
  float* out = p.state.values + row * stride;
  int64_t i = 0;
  for (; i + kCols * kLanes <= width; i += kCols * kLanes) {
    value_tile<T, R, kCols>(weights, v, i, run, ahead, out + i, stride);
  }
  for (; i < width; i += kLanes) value_tile<T, R, 1>(weights, v, i, run, ahead, out + i, stride);
}

// R rows, each with its own run: what is common to all together, what sticks out row by row, keys ascending.
template <class T, int R>
void add_runs(const AttentionPart& p, const T* const* v, Ahead& ahead, const Scratch& s, int row,
              const Run (&runs)[R]) {
  Run common = runs[0];
  for (int r = 1; r < R; ++r) {
    if (runs[r].a > common.a) common.a = runs[r].a;
    if (runs[r].b < common.b) common.b = runs[r].b;
  }
  if (common.a >= common.b) {
    for (int r = 0; r < R; ++r) add_run<T, 1>(p, v, ahead, s, row + r, runs[r]);
    return;
  }
  for (int r = 0; r < R; ++r) add_run<T, 1>(p, v, ahead, s, row + r, {runs[r].a, common.a});
  add_run<T, R>(p, v, ahead, s, row, common);
  for (int r = 0; r < R; ++r) add_run<T, 1>(p, v, ahead, s, row + r, {common.b, runs[r].b});
}

template <class T, int R>
void value_rows(const AttentionPart& p, bool full, const T* const* v, Ahead& ahead, const Scratch& s, int key,
                int row) {
  if (full) return add_run<T, R>(p, v, ahead, s, row, {0, kKeyTile});
  Run sinks[R];
  Run intervals[R];
  for (int r = 0; r < R; ++r) {
    sinks[r] = sinks_of(p.masks[row + r], key);
    intervals[r] = interval_of(p.masks[row + r], key);
  }
  add_runs<T, R>(p, v, ahead, s, row, sinks);
  add_runs<T, R>(p, v, ahead, s, row, intervals);
}

template <class T>
void add_values(const AttentionPart& p, const Keys<T>& keys, Ahead& ahead, const Scratch& s, int key) {
  const bool direct =
      p.v_dim % kLanes == 0 && (sizeof(T) == sizeof(float) || keys.last_row - keys.first_row <= kRows);
  if (direct) {
    for_rows(keys.first_row, keys.last_row, [&](auto count, int row) {
      value_rows<T, decltype(count)::kValue>(p, keys.full, keys.v, ahead, s, key, row);
    });
    return;
  }
  const float* rows[kKeyTile];
  for (int j = 0; j < kKeyTile; ++j) {
    float* out = s.v + j * padded(p.v_dim);
    rows[j] = out;
    if (((keys.seen >> j) & 1) == 0) continue;
    for_vectors(p.v_dim, [&](int64_t i, int some) { store(out + i, load_some(keys.v[j] + i, some)); });
  }
  for_rows(keys.first_row, keys.last_row, [&](auto count, int row) {
    value_rows<float, decltype(count)::kValue>(p, keys.full, rows, ahead, s, key, row);
  });
}

// What attention.cpp asks of an arithmetic.
template <class T>
struct Wide {
  using Element = T;
  static void prepare(const AttentionPart& p, const Scratch& s) { lay_out_queries<T>(p, s); }
  static void score(const AttentionPart& p, const Keys<T>& keys, Ahead& ahead, const Scratch& s) {
    if (keys.last_row - keys.first_row <= kDirectRows) {
      last_group<kDirectRows>(keys.first_row, keys.last_row - keys.first_row, [&](auto count, int row) {
        score_direct<decltype(count)::kValue>(p, keys, ahead, s, row);
      });
      return;
    }
    pack_keys(p, keys, ahead, s.k);
    constexpr const T* kType = nullptr;
    for_rows(keys.first_row, keys.last_row, [&](auto count, int row) {
      score_rows<decltype(count)::kValue>(vectors_of(p.head_dim, kType), keys.seen, ahead, s, row);
    });
  }
  static HEED_INLINE void keep(float* weights, int group, Vec numerators) {
    store(weights + group * kLanes, numerators);
  }
  static void add(const AttentionPart& p, const Keys<T>& keys, Ahead& ahead, const Scratch& s, int key) {
    add_values(p, keys, ahead, s, key);
  }
  static void complete(const AttentionPart& /*p*/) {}
};

}  // namespace
}  // namespace heed
