// What the two kinds of arithmetic of attention.cpp share: which rows see which keys of a tile, where the
// keys are, the scratch, and loops over rows. Included by attention.cpp only.
#pragma once
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
HEED_INLINE int64_t pair_padded(int64_t n) { return (n + 2 * kLanes - 1) / (2 * kLanes) * (2 * kLanes); }
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
constexpr bool kHasScales = false;  // of their own, every key and every value
template <>
constexpr bool kHasScales<int8_t> = true;

template <class T>
struct Keys {            // one tile: where its keys are, and who sees them
  const T* k[kKeyTile];  // of a key that no row sees: another key's
  const T* v[kKeyTile];
  float k_scale[kKeyTile], v_scale[kKeyTile];  // int8 only
  uint64_t seen;                               // by some row
  bool full;                                   // every row sees all
  int first_row, last_row;                     // [first, last): rows that see something
};

// A score is a sum over the lanes of a vector, in ascending order, each lane a chain of products over the
// vectors of a row of keys. Few rows take it as it reads, from keys in place; many rows take the same steps
// with keys packed so that lanes are keys: [lane][vector of the row][kKeyTile].
//
// Memory between the steps of a tile.
struct Scratch {
  float* k;       // keys packed; or for few rows the lanes of kLanes scores: [kLanes][kLanes]
  float* v;       // values: [kKeyTile][padded(v_dim)], or half as many pairs
  float* scores;  // [rows][kKeyTile], then the softmax's numerators, or half as many pairs
  float* q;       // [rows][vectors of a row of keys][kLanes]
  float* bits;    // [rows] uint64_t
};

// Of packed keys: a line more than they need, or lanes that are stored together would fall on the same lines
// of a cache.
HEED_INLINE int64_t lane_stride(int64_t vectors) { return vectors * kKeyTile + 16; }

Scratch divide(const AttentionPart& p) {
  Scratch s;
  s.k = p.scratch;
  s.v = s.k + kLanes * lane_stride(pair_padded(p.head_dim) / kLanes);
  s.scores = s.v + pair_padded(p.v_dim) * kKeyTile;
  s.q = s.scores + int64_t{p.rows} * kKeyTile;
  s.bits = s.q + p.rows * pair_padded(p.head_dim);
  return s;
}
int64_t scratch(int64_t rows, int64_t head_dim, int64_t v_dim) {
  return kLanes * lane_stride(pair_padded(head_dim) / kLanes) + (pair_padded(v_dim) + rows) * kKeyTile +
         rows * (pair_padded(head_dim) + 2);
}
constexpr int kDirectRows = 4;  // with more, packing keys is less work

// The lanes of kLanes scores to scores.
HEED_INLINE Vec sums_of_lanes(const float* lanes) {
  Vec rows[kLanes];
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; ++j) rows[j] = load(lanes + j * kLanes);
  transpose(rows);
  Vec sum = rows[0];
#pragma GCC unroll 16
  for (int j = 1; j < kLanes; ++j) sum = sum + rows[j];
  return sum;
}

int64_t pad(int64_t v_dim) { return pair_padded(v_dim); }

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
  const int last = 63 - __builtin_clzll(keys.seen);
  int64_t block = (key + first) / p.block;
  int64_t row = (key + first) % p.block;
  for (int j = first; j <= last; ++block, row = 0) {
    const int64_t at = p.table[block];
    const T* k = static_cast<const T*>(p.k) + at * p.k_block + row * p.k_row;
    const T* v = static_cast<const T*>(p.v) + at * p.v_block + row * p.v_row;
    for (; row < p.block && j <= last; ++row, ++j, k += p.k_row, v += p.v_row) {
      keys.k[j] = k;
      keys.v[j] = v;
      if constexpr (kHasScales<T>) {
        const int64_t scale = at * p.scale_block + row * p.scale_row;
        keys.k_scale[j] = p.k_scale[scale];
        keys.v_scale[j] = p.v_scale[scale];
      }
    }
  }
  const uint64_t unseen = ~keys.seen;
  for (uint64_t left = unseen; left != 0; left &= left - 1) {
    const int j = __builtin_ctzll(left);
    keys.k[j] = keys.k[first];
    keys.v[j] = keys.v[first];
    if constexpr (kHasScales<T>) keys.k_scale[j] = keys.v_scale[j] = 0;
  }
}

// The keys and values that are read after this tile's. Where there are few rows, memory is what bounds, and a
// core waits for a dozen lines at a time only: they are asked for all along, some at every step.
class Ahead {
 public:
  Ahead(const AttentionPart& p, int64_t element) : p_(p), element_(element) {
    const int groups = (p.rows + kRows - 1) / kRows;
    pace_ = p.rows > kAheadRows ? 0 : (kLinesAStep + groups - 1) / groups;
  }

  // What is read from `key` on, at the latest in the next tile there; what was left of another is given up.
  void begin(const Reach& reach, int key) {
    segment_ = segments_ = line_ = most_lines_ = 0;
    if (pace_ == 0) return;
    const void* k = p_.k;
    const void* v = p_.v;
    const float* k_scale = p_.k_scale;
    const float* v_scale = p_.v_scale;
    int lo = key;
    if (lo >= p_.end || lo >= reach.hi) {
      k = p_.k_after;
      v = p_.v_after;
      k_scale = p_.k_scale_after;
      v_scale = p_.v_scale_after;
      if (k == nullptr) return;
      lo = p_.after;
    }
    if (lo < reach.lo) lo = reach.lo;
    if (lo >= reach.hi) return;
    int hi = (lo / kKeyTile + 1) * kKeyTile;
    if (hi > reach.hi) hi = reach.hi;
    if (k_scale != nullptr) fetch_scales(lo, hi, k_scale, v_scale);
    add(lo, hi, k, p_.k_block, p_.k_row, p_.head_dim);
    add(lo, hi, v, p_.v_block, p_.v_row, p_.v_dim);
  }

  // In the order in which they lie in memory, into the nearest cache: on Zen 5 0.73 of reading instead of
  // 0.60 to 0.70, and 0.63 instead of 0.57 where two cores have a cache each. Processors with AMX are
  // measured with the first lines of every segment, then the second ones, into the second cache.
  HEED_INLINE void fetch(int lines) {
    int segment = segment_;
    int line = line_;
    for (; lines > 0 && segment < segments_ && line < most_lines_; --lines) {
      const Segment& s = segment_at_[segment];
      if constexpr (kInOrder) {
        __builtin_prefetch(s.at + line * kLine);
        if (++line == s.lines) {
          line = 0;
          ++segment;
        }
      } else {
        if (line < s.lines) fetch_soon(s.at + line * kLine);
        if (++segment == segments_) {
          segment = 0;
          ++line;
        }
      }
    }
    segment_ = segment;
    line_ = line;
  }
  HEED_INLINE void fetch_for_row_groups() {  // at a step that each group of rows takes
    if (pace_ != 0) fetch(pace_);
  }
  // The end of such a step that begins at i.
  HEED_INLINE int64_t step_after(int64_t i, int64_t end) const {
    return pace_ != 0 && i + kStep < end ? i + kStep : end;
  }
  void fetch_rest() { fetch(INT32_MAX); }

 private:
  struct Segment {
    const char* at;
    int lines;
  };
  static constexpr int kAheadRows = 16;  // from there on computing takes longer than reading
  static constexpr int kStep = 4;
  static constexpr int kLinesAStep = 10;
  static constexpr int kLine = 64;  // bytes
#if defined(__AMX_TILE__)
  static constexpr bool kInOrder = false;
#else
  static constexpr bool kInOrder = true;
#endif

  void fetch_scales(int lo, int hi, const float* k_scale, const float* v_scale) const {
    for (int64_t block = lo / p_.block; block * p_.block < hi; ++block) {
      const int64_t at = p_.table[block] * p_.scale_block;
      fetch_soon(k_scale + at);
      fetch_soon(v_scale + at);
    }
  }

  // Keys [lo, hi), a segment for each block, or for each row where rows lie apart.
  void add(int lo, int hi, const void* base, int64_t block_stride, int64_t row_stride, int64_t dim) {
    const bool apart = row_stride > dim + kLine / element_;
    while (lo < hi) {
      const int64_t row = lo % p_.block;
      int64_t rows = apart ? 1 : p_.block - row;
      if (rows > hi - lo) rows = hi - lo;
      const int64_t offset = p_.table[lo / p_.block] * block_stride + row * row_stride;
      const char* at = static_cast<const char*>(base) + offset * element_;
      const int64_t bytes = ((rows - 1) * row_stride + dim) * element_;
      const int lines = static_cast<int>((bytes + kLine - 1) / kLine);
      segment_at_[segments_++] = {at, lines};
      if (lines > most_lines_) most_lines_ = lines;
      lo += static_cast<int>(rows);
    }
  }

  const AttentionPart& p_;
  int64_t element_;  // bytes
  int pace_;
  int segments_ = 0, most_lines_ = 0;
  int segment_ = 0, line_ = 0;  // the next
  Segment segment_at_[2 * kKeyTile];
};

HEED_INLINE bool group_seen(uint64_t seen, int group) {
  return ((seen >> (group * kLanes)) & bits_between(0, kLanes)) != 0;
}

// A lane's part of the scores, on top of those of the lanes before.
template <int R, int C>
HEED_INLINE void put_sums(const Vec (&sums)[R][C], bool first, float* out) {
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      float* at = out + r * kKeyTile + c * kLanes;
      store(at, first ? sums[r][c] : load(at) + sums[r][c]);
    }
  }
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

}  // namespace
}  // namespace heed
