// Flash attention of a tile of query rows over a part of the keys of one sequence and kv head.
//
// For each tile of 64 keys, aligned to absolute positions, that some row sees:
//   s = q K^T        lanes are keys: K is packed as [head_dim][64], so a score is one chain of FMAs
//   m' = max(m, s)   p = exp(s - m')   l = l exp(m - m') + sum p
//   acc = acc exp(m - m') + p V, key after key
//
// (m, l, acc) of a row takes the same steps whatever rows share the tile: rows that see nothing of it are
// left alone, and values are added for exactly the keys that the row sees, in ascending order (common runs
// for several rows together, what sticks out row by row). So a key that a row does not see never enters its
// numbers, not even as 0 * v, and a key that no row sees is not read at all. Tiles that all rows see in full
// run without tests.
//
// Scratch: K packed, V widened where bf16 or ragged, scores.
//
// Bound: memory for a row or two (0.6 of what a Sapphire Rapids core reads; the packing of K is in its way),
// else FMA (0.53 of its AVX-512 peak, causal, head_dim 128). Definition: kernels/ref/ref.cpp: attend.
#include "kernels/cpu/isa/math.h"
#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/isa/tables.h"

namespace heed {
namespace {

using cpu::AttentionPart;
using cpu::AttentionState;
using cpu::kKeyTile;

#if defined(__AVX512F__)
constexpr int kRows = 6;
#else
constexpr int kRows = 2;
#endif
constexpr int kCols = 4;                    // vectors of keys or of values in a register tile
constexpr int kGroups = kKeyTile / kLanes;  // vectors of keys in a tile
constexpr float kNothing = -__builtin_inff();

HEED_INLINE int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
HEED_INLINE int clamp(int x, int lo, int hi) { return x < lo ? lo : x > hi ? hi : x; }

// Bits [a, b) of 64; 0 <= a, b <= 64.
HEED_INLINE uint64_t bits_between(int a, int b) {
  if (a >= b) return 0;
  return (b == 64 ? ~uint64_t{0} : (uint64_t{1} << b) - 1) & ~((uint64_t{1} << a) - 1);
}

struct Run {  // keys [a, b) of the tile
  int a, b;
};
HEED_INLINE Run sinks_of(const RowMask& m, int key) { return {0, clamp(m.sinks - key, 0, kKeyTile)}; }
HEED_INLINE Run interval_of(const RowMask& m, int key) {
  const int after_sinks = m.lo > m.sinks ? m.lo : m.sinks;
  return {clamp(after_sinks - key, 0, kKeyTile), clamp(m.hi - key, 0, kKeyTile)};
}
HEED_INLINE uint64_t bits_of(const RowMask& m, int key) {
  const Run s = sinks_of(m, key);
  const Run i = interval_of(m, key);
  return bits_between(s.a, s.b) | bits_between(i.a, i.b);
}

struct Reach {             // over all rows
  int lo, hi, sinks;       // some row sees keys of [lo, hi) or below sinks
  int every_lo, every_hi;  // every row sees [every_lo, every_hi)
};
Reach reach_of(const AttentionPart& p) {
  Reach r = {INT32_MAX, 0, 0, 0, INT32_MAX};
  for (int i = 0; i < p.rows; ++i) {
    const RowMask& m = p.masks[i];
    if (m.sinks > r.sinks) r.sinks = m.sinks;
    if (m.lo > r.every_lo) r.every_lo = m.lo;
    if (m.hi < r.every_hi) r.every_hi = m.hi;
    if (m.lo >= m.hi) continue;
    if (m.lo < r.lo) r.lo = m.lo;
    if (m.hi > r.hi) r.hi = m.hi;
  }
  return r;
}

template <class T>
struct Keys {            // one tile: where its keys are, and who sees them
  const T* k[kKeyTile];  // of a key that no row sees: another key's
  const T* v[kKeyTile];
  uint64_t seen;            // by some row
  bool full;                // every row sees all
  int first_row, last_row;  // [first, last): rows that see something
};

struct Scratch {
  float* k;       // [padded(head_dim)][kKeyTile]
  float* v;       // [kKeyTile][padded(v_dim)]
  float* scores;  // [rows][kKeyTile], then the softmax's numerators
  float* bits;    // [rows] uint64_t
};
Scratch divide(const AttentionPart& p) {
  Scratch s;
  s.k = p.scratch;
  s.v = s.k + padded(p.head_dim) * kKeyTile;
  s.scores = s.v + padded(p.v_dim) * kKeyTile;
  s.bits = s.scores + int64_t{p.rows} * kKeyTile;
  return s;
}
int64_t pad(int64_t v_dim) { return padded(v_dim); }
int64_t scratch(int64_t rows, int64_t head_dim, int64_t v_dim) {
  return (padded(head_dim) + padded(v_dim) + rows) * kKeyTile + 2 * rows;
}

HEED_INLINE uint64_t row_bits(const Scratch& s, int row) {
  uint64_t bits;
  memcpy(&bits, s.bits + 2 * row, sizeof(bits));
  return bits;
}

template <class T>
void see(const AttentionPart& p, const Reach& reach, const Scratch& s, int key, Keys<T>& keys) {
  keys.full = reach.every_lo <= key && key + kKeyTile <= reach.every_hi;
  keys.seen = keys.full ? ~uint64_t{0} : 0;
  keys.first_row = keys.full ? 0 : p.rows;
  keys.last_row = keys.full ? p.rows : 0;
  for (int r = 0; r < p.rows; ++r) {
    const uint64_t bits = keys.full ? ~uint64_t{0} : bits_of(p.masks[r], key);
    memcpy(s.bits + 2 * r, &bits, sizeof(bits));
    if (bits == 0) continue;
    keys.seen |= bits;
    if (r < keys.first_row) keys.first_row = r;
    keys.last_row = r + 1;
  }
}

template <class T>
void locate(const AttentionPart& p, int key, Keys<T>& keys) {
  const int first = __builtin_ctzll(keys.seen);
  int64_t block = (key + first) / p.block;
  int64_t row = (key + first) % p.block;
  for (int j = first; j < kKeyTile; ++j) {
    if (((keys.seen >> j) & 1) != 0) {
      const int64_t at = p.table[block];
      keys.k[j] = static_cast<const T*>(p.k) + at * p.k_block + row * p.k_row;
      keys.v[j] = static_cast<const T*>(p.v) + at * p.v_block + row * p.v_row;
    } else {
      keys.k[j] = keys.k[first];
      keys.v[j] = keys.v[first];
    }
    if (++row == p.block) {
      row = 0;
      ++block;
    }
  }
  for (int j = 0; j < first; ++j) {
    keys.k[j] = keys.k[first];
    keys.v[j] = keys.v[first];
  }
}

HEED_INLINE bool group_seen(uint64_t seen, int group) {
  return ((seen >> (group * kLanes)) & bits_between(0, kLanes)) != 0;
}

template <class T>
void pack_keys(const AttentionPart& p, const Keys<T>& keys, float* out) {
  for (int g = 0; g < kGroups; ++g) {
    if (!group_seen(keys.seen, g)) continue;
    for_vectors(p.head_dim, [&](int64_t i, int some) {
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) rows[j] = load_some(keys.k[g * kLanes + j] + i, some);
      transpose(rows);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) store(out + (i + j) * kKeyTile + g * kLanes, rows[j]);
    });
  }
}

template <int R, int C>
HEED_INLINE void score_tile(const float* const* q, int64_t head_dim, const float* k, float* out) {
  Vec sums[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] = zero();
  }
  for (int64_t i = 0; i < head_dim; ++i, k += kKeyTile) {
    Vec keys[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) keys[c] = load(k + c * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Vec x = set(q[r][i]);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] = fma(x, keys[c], sums[r][c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(out + r * kKeyTile + c * kLanes, sums[r][c]);
  }
}

// Scores of R rows with every group of keys that some row sees.
template <int R>
void score_rows(const AttentionPart& p, uint64_t seen, const Scratch& s, int row) {
  for (int g = 0; g < kGroups; g += kCols) {
    int count = 0;
    for (int c = 0; c < kCols; ++c) count += group_seen(seen, g + c) ? 1 : 0;
    float* out = s.scores + int64_t{row} * kKeyTile + g * kLanes;
    if (count == kCols) {
      score_tile<R, kCols>(p.q + row, p.head_dim, s.k + g * kLanes, out);
      continue;
    }
    for (int c = 0; c < kCols; ++c) {
      if (!group_seen(seen, g + c)) continue;
      score_tile<R, 1>(p.q + row, p.head_dim, s.k + (g + c) * kLanes, out + c * kLanes);
    }
  }
}

HEED_INLINE float exp_of(float x) { return first_lane(exp(set(x))); }

// Scores to numerators, in place; updates largest and sum, and scales the values to the new largest.
void soften(const AttentionPart& p, float* scores, uint64_t bits, int row) {
  Vec s[kGroups];
  Vec most = set(kNothing);
  for (int g = 0; g < kGroups; ++g) {
    const uint64_t own = bits >> (g * kLanes);
    s[g] = set(kNothing);
    if ((own & bits_between(0, kLanes)) == 0) continue;
    s[g] = load(scores + g * kLanes) * set(p.scale);
    if (p.softcap > 0) s[g] = set(p.softcap) * tanh(s[g] / set(p.softcap));
    s[g] = select(mask_of(own), s[g], set(kNothing));
    most = max(most, s[g]);
  }
  const float before = p.state.largest[row];
  const float tile = largest(most);
  const float now = tile > before ? tile : before;
  const Vec base = set(now == kNothing ? 0.0F : now);
  Vec total = zero();
  for (int g = 0; g < kGroups; ++g) {
    const Vec e = exp(s[g] - base);
    store(scores + g * kLanes, e);
    total = total + e;
  }
  const float kept = before == kNothing ? 0.0F : exp_of(before - now);
  const float all = p.state.sum[row] * kept + sum(total);
  p.state.sum[row] = all;
  p.state.largest[row] = all == all ? now : all;  // a NaN is something seen, and stays
  if (kept == 1.0F) return;
  float* values = p.state.values + row * padded(p.v_dim);
  for (int64_t i = 0; i < padded(p.v_dim); i += kLanes) store(values + i, load(values + i) * set(kept));
}

template <class T, int R, int C>
HEED_INLINE void value_tile(const float* weights, const T* const* v, int64_t column, Run run, float* out,
                            int64_t out_stride) {
  Vec sums[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] = load(out + r * out_stride + c * kLanes);
  }
  for (int key = run.a; key < run.b; ++key) {
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
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(out + r * out_stride + c * kLanes, sums[r][c]);
  }
}

// Values of R rows for one run of keys that all of them see. v's rows have padded(v_dim) readable elements.
template <class T, int R>
void add_run(const AttentionPart& p, const T* const* v, const Scratch& s, int row, Run run) {
  if (run.a >= run.b) return;
  const int64_t width = padded(p.v_dim);
  const float* weights = s.scores + int64_t{row} * kKeyTile;
  float* out = p.state.values + row * width;
  int64_t i = 0;
  for (; i + kCols * kLanes <= width; i += kCols * kLanes) {
    value_tile<T, R, kCols>(weights, v, i, run, out + i, width);
  }
  for (; i < width; i += kLanes) value_tile<T, R, 1>(weights, v, i, run, out + i, width);
}

// R rows, each with its own run: what is common to all together, what sticks out row by row, keys ascending.
template <class T, int R>
void add_runs(const AttentionPart& p, const T* const* v, const Scratch& s, int row, const Run (&runs)[R]) {
  Run common = runs[0];
  for (int r = 1; r < R; ++r) {
    if (runs[r].a > common.a) common.a = runs[r].a;
    if (runs[r].b < common.b) common.b = runs[r].b;
  }
  if (common.a >= common.b) {
    for (int r = 0; r < R; ++r) add_run<T, 1>(p, v, s, row + r, runs[r]);
    return;
  }
  for (int r = 0; r < R; ++r) add_run<T, 1>(p, v, s, row + r, {runs[r].a, common.a});
  add_run<T, R>(p, v, s, row, common);
  for (int r = 0; r < R; ++r) add_run<T, 1>(p, v, s, row + r, {common.b, runs[r].b});
}

template <class T, int R>
void value_rows(const AttentionPart& p, bool full, const T* const* v, const Scratch& s, int key, int row) {
  if (full) return add_run<T, R>(p, v, s, row, {0, kKeyTile});
  Run sinks[R];
  Run intervals[R];
  for (int r = 0; r < R; ++r) {
    sinks[r] = sinks_of(p.masks[row + r], key);
    intervals[r] = interval_of(p.masks[row + r], key);
  }
  add_runs<T, R>(p, v, s, row, sinks);
  add_runs<T, R>(p, v, s, row, intervals);
}

// body(integral constant R, first row) over [first, last) in groups of kRows and one smaller.
template <int R>
struct Count {
  static constexpr int kValue = R;
};
template <int R, class Body>
HEED_INLINE void last_group(int row, int left, Body body) {
  if constexpr (R > 0) {
    if (left == R) {
      body(Count<R>{}, row);
    } else {
      last_group<R - 1>(row, left, body);
    }
  }
}
template <class Body>
HEED_INLINE void for_rows(int first, int last, Body body) {
  int row = first;
  for (; row + kRows <= last; row += kRows) body(Count<kRows>{}, row);
  last_group<kRows - 1>(row, last - row, body);
}

template <class T>
void add_values(const AttentionPart& p, const Keys<T>& keys, const Scratch& s, int key) {
  const bool direct =
      p.v_dim % kLanes == 0 && (sizeof(T) == sizeof(float) || keys.last_row - keys.first_row <= kRows);
  if (direct) {
    for_rows(keys.first_row, keys.last_row, [&](auto count, int row) {
      value_rows<T, decltype(count)::kValue>(p, keys.full, keys.v, s, key, row);
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
    value_rows<float, decltype(count)::kValue>(p, keys.full, rows, s, key, row);
  });
}

template <class T>
void attend(const AttentionPart& p) {
  const int64_t width = padded(p.v_dim);
  for (int r = 0; r < p.rows; ++r) {
    p.state.largest[r] = kNothing;
    p.state.sum[r] = 0;
    memset(p.state.values + r * width, 0, sizeof(float) * static_cast<size_t>(width));
  }
  const Scratch s = divide(p);
  const Reach reach = reach_of(p);
  Keys<T> keys;
  for (int key = p.begin; key < p.end; key += kKeyTile) {
    const bool near = key < reach.hi && reach.lo < key + kKeyTile;
    if (!near && key >= reach.sinks) continue;
    see(p, reach, s, key, keys);
    if (keys.seen == 0) continue;
    locate(p, key, keys);
    pack_keys(p, keys, s.k);
    for_rows(keys.first_row, keys.last_row,
             [&](auto count, int row) { score_rows<decltype(count)::kValue>(p, keys.seen, s, row); });
    for (int r = keys.first_row; r < keys.last_row; ++r) {
      const uint64_t bits = row_bits(s, r);
      if (bits != 0) soften(p, s.scores + int64_t{r} * kKeyTile, bits, r);
    }
    add_values(p, keys, s, key);
  }
}

void merge(const AttentionState& into, const AttentionState& later, int rows, int64_t v_dim) {
  const int64_t width = padded(v_dim);
  for (int r = 0; r < rows; ++r) {
    if (later.largest[r] == kNothing) continue;
    const float most = into.largest[r] > later.largest[r] ? into.largest[r] : later.largest[r];
    const float a = into.largest[r] == kNothing ? 0.0F : exp_of(into.largest[r] - most);
    const float b = exp_of(later.largest[r] - most);
    into.largest[r] = most;
    into.sum[r] = into.sum[r] * a + later.sum[r] * b;
    for (int64_t i = r * width; i < (r + 1) * width; i += kLanes) {
      store(into.values + i, fma(load(later.values + i), set(b), load(into.values + i) * set(a)));
    }
  }
}

template <class Out>
void divide_into(const float* values, float scale, float total, Out* out, int64_t n) {
  for_vectors(
      n, [&](int64_t i, int some) { store_some(out + i, load(values + i) * set(scale) / set(total), some); });
}

void finish(const AttentionState& state, int row, int64_t v_dim, const float* sink_logit, void* out,
            DType dtype) {
  float total = state.sum[row];
  float scale = 1;
  if (sink_logit != nullptr) {
    const float most = *sink_logit > state.largest[row] ? *sink_logit : state.largest[row];
    scale = exp_of(state.largest[row] - most);
    total = total * scale + exp_of(*sink_logit - most);
  }
  const float* values = state.values + row * padded(v_dim);
  if (dtype == DType::kF32) {
    divide_into(values, scale, total, static_cast<float*>(out), v_dim);
  } else {
    divide_into(values, scale, total, static_cast<bf16*>(out), v_dim);
  }
}

}  // namespace

namespace cpu {
const AttentionTable HEED_TABLE(attention) = {
    .tile_rows = kRows,
    .scratch = scratch,
    .pad = pad,
    .f32 = attend<float>,
    .bf16 = attend<bf16>,
    .merge = merge,
    .finish = finish,
};
}  // namespace cpu
}  // namespace heed
