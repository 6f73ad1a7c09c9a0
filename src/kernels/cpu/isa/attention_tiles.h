// Attention in bf16 on AMX. Included by attention.cpp only.
//
//   scores   C[16 keys][rows]    = A[16 keys][32 elements] B[16 pairs of elements][rows]: keys where they lie
//   in their
//            pages, queries packed once; what comes out is turned to rows
//   values   C[rows][16 columns] += A[rows][32 keys] B[16 pairs of keys][16 columns]: the softmax's
//   numerators as
//            attention_pairs.h rounds them, values packed as there
//
// Values of a tile of keys that a row sees in full are added so, whatever the other rows see, and whether
// there are one or many; what it sees of other tiles is added as in attention_pairs.h. A row's steps are thus
// its own.
#pragma once
#include "kernels/cpu/isa/attention_pairs.h"

#if defined(__AMX_BF16__)
#include "kernels/cpu/isa/tile_shapes.h"

namespace heed {
namespace {

constexpr int kTileRows = 16;
constexpr int kStepElements = 32;
constexpr int kLinesAStep = 6;  // read ahead, at the pace of the computation

// Tiles 0 and 1 are scores, 2 queries, 3 keys or values, 4 and 5 outputs, 6 numerators.
void shape_tiles(int rows) {
  TileShapes shapes;
  for (int i = 0; i < 7; ++i) {
    const bool has_columns = i < 3;  // one for each row
    shapes.set(i, i < 4 ? kTileRows : rows, has_columns ? 4 * rows : 64);
  }
  load_shapes(shapes);
}

HEED_INLINE int64_t steps_of(const AttentionPart& p) { return pair_padded(p.head_dim) / kStepElements; }
// Sixteen rows of queries: [step][16 pairs of elements][rows].
HEED_INLINE bf16* queries_of(const AttentionPart& p, const Scratch& s, int row) {
  return static_cast<bf16*>(static_cast<void*>(s.q)) + row * pair_padded(p.head_dim);
}
HEED_INLINE int rows_of_tile(const AttentionPart& p, int row) { return smaller_of(p.rows - row, kTileRows); }

void pack_queries(const AttentionPart& p, const Scratch& s) {
  for (int row = 0; row < p.rows; row += kTileRows) {
    const int count = rows_of_tile(p, row);
    auto* out = static_cast<uint32_t*>(static_cast<void*>(queries_of(p, s, row)));
    for (int64_t i = 0; i < p.head_dim; i += kStepElements) {
      alignas(64) bf16 pairs[kTileRows][kStepElements] = {};
      for (int r = 0; r < count; ++r) {
        for_vectors(smaller_of(p.head_dim - i, kStepElements), [&](int64_t at, int some) {
          store_some(pairs[r] + at, load_some(p.q[row + r] + i + at, some), some);
        });
      }
      Vec rows[kLanes];
      for (int r = 0; r < kTileRows; ++r) rows[r] = bits_of(load_pairs(pairs[r]));
      transpose(rows);
      for (int j = 0; j < kTileRows; ++j, out += count)
        _mm512_mask_storeu_epi32(out, first(count), _mm512_castps_si512(rows[j].v));
    }
  }
}

// Sixteen keys: where they lie if they are evenly spaced and whole steps long, else copied and padded.
struct KeyRows {
  const bf16* at;
  int64_t stride;  // bytes
};
HEED_INLINE KeyRows key_rows(const AttentionPart& p, const bf16* const* k, bf16* copy) {
  bool even = p.head_dim % kStepElements == 0;
  for (int j = 1; j < kLanes; ++j) even = even && k[j] == k[0] + j * p.k_row;
  if (even) return {k[0], p.k_row * int64_t{sizeof(bf16)}};
  const int64_t width = pair_padded(p.head_dim);
  for (int j = 0; j < kLanes; ++j) {
    for (int64_t i = 0; i < width; i += kStepElements)
      _mm512_storeu_si512(copy + j * width + i, load_pairs_some(k[j] + i, p.head_dim - i).v);
  }
  return {copy, width * int64_t{sizeof(bf16)}};
}

// scores[16 keys][count] to rows of scores.
HEED_INLINE void put_scores(const float* scores, int count, float* out) {
  Vec rows[kLanes];
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; ++j) rows[j] = load(scores + j * kLanes);
  transpose(rows);
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) {
    if (r < count) store(out + r * kKeyTile, rows[r]);
  }
}

// Rows [row, row + count) with the groups of keys `groups`, two at a time.
HEED_INLINE void score_tile(const AttentionPart& p, const Scratch& s, const KeyRows (&keys)[kGroups],
                            const int* groups, int seen, int row, int count, Ahead& ahead) {
  alignas(64) float scores[2][kTileRows * kLanes] = {};
  const bf16* q = queries_of(p, s, row);
  const int64_t q_stride = count * int64_t{sizeof(uint32_t)};
  for (int i = 0; i < seen; i += 2) {
    const bool both = i + 1 < seen;
    const KeyRows& a = keys[groups[i]];
    const KeyRows& b = keys[groups[both ? i + 1 : i]];
    _tile_zero(0);
    _tile_zero(1);
    for (int64_t step = 0; step < steps_of(p); ++step) {
      ahead.fetch(kLinesAStep);
      _tile_loadd(2, q + step * kStepElements * count, q_stride);
      _tile_loadd(3, a.at + step * kStepElements, a.stride);
      _tile_dpbf16ps(0, 3, 2);
      ahead.fetch(kLinesAStep);
      _tile_loadd(3, b.at + step * kStepElements, b.stride);
      _tile_dpbf16ps(1, 3, 2);
    }
    _tile_stored(0, scores[0], kLanes * sizeof(float));
    _tile_stored(1, scores[1], kLanes * sizeof(float));
    float* out = s.scores + int64_t{row} * kKeyTile;
    put_scores(scores[0], count, out + groups[i] * kLanes);
    ahead.fetch(2 * kLinesAStep);
    if (both) put_scores(scores[1], count, out + groups[i + 1] * kLanes);
  }
}

// Rows [row, row + count), which see all keys of the tile, with the packed values.
HEED_INLINE void value_tile(const AttentionPart& p, const Scratch& s, int row, Ahead& ahead) {
  const int64_t width = pair_padded(p.v_dim);
  const int64_t bytes = width * int64_t{sizeof(float)};
  const float* weights = s.scores + int64_t{row} * kKeyTile;  // 32 keys in 64 bytes
  constexpr int64_t kWeightBytes = kKeyTile * sizeof(float);
  float* out = p.state.values + row * width;
  for (int64_t i = 0; i < width; i += 2 * kLanes) {
    _tile_loadd(4, out + i, bytes);
    _tile_loadd(5, out + i + kLanes, bytes);
    for (int step = 0; step < kKeyTile / kStepElements; ++step) {
      const float* v = s.v + step * (kStepElements / 2) * width + i;
      _tile_loadd(6, weights + step * (kStepElements / 2), kWeightBytes);
      _tile_loadd(3, v, bytes);
      _tile_dpbf16ps(4, 6, 3);
      ahead.fetch(2 * kLinesAStep);
      _tile_loadd(3, v + kLanes, bytes);
      _tile_dpbf16ps(5, 6, 3);
    }
    _tile_stored(4, out + i, bytes);
    _tile_stored(5, out + i + kLanes, bytes);
  }
}

// What attention.cpp asks of an arithmetic.
struct Tiled {
  using Element = bf16;
  static void prepare(const AttentionPart& p, const Scratch& s) { pack_queries(p, s); }

  static void score(const AttentionPart& p, const Keys<bf16>& keys, Ahead& ahead, const Scratch& s) {
    KeyRows rows[kGroups] = {};
    int groups[kGroups];
    int seen = 0;
    auto* copies = static_cast<bf16*>(static_cast<void*>(s.k));
    for (int g = 0; g < kGroups; ++g) {
      if (!group_seen(keys.seen, g)) continue;
      rows[g] = key_rows(p, keys.k + g * kLanes, copies + g * kLanes * pair_padded(p.head_dim));
      groups[seen++] = g;
    }
    int shaped = 0;
    for (int row = keys.first_row / kTileRows * kTileRows; row < keys.last_row; row += kTileRows) {
      const int count = rows_of_tile(p, row);
      if (count != shaped) shape_tiles(shaped = count);
      score_tile(p, s, rows, groups, seen, row, count, ahead);
    }
  }

  static HEED_INLINE void keep(float* weights, int group, Vec numerators) {
    Paired::keep(weights, group, numerators);
  }

  static void add(const AttentionPart& p, const Keys<bf16>& keys, Ahead& ahead, const Scratch& s, int key) {
    pack_value_pairs(p, keys, ahead, kLinesAStep, s.v);
    const PackedValues values = {s.v, pair_padded(p.v_dim)};
    int shaped = 0;
    for (int row = keys.first_row; row < keys.last_row;) {
      const bool full = row_bits(s, row) == ~uint64_t{0};
      int end = row + 1;
      while (end < keys.last_row && (row_bits(s, end) == ~uint64_t{0}) == full) ++end;
      if (full) {
        for (; row < end; row += kTileRows) {
          const int count = smaller_of(end - row, kTileRows);
          if (count != shaped) shape_tiles(shaped = count);
          value_tile(p, s, row, ahead);
        }
      } else {
        for_rows(row, end, [&](auto count, int at) {
          value_pair_rows<decltype(count)::kValue>(p, false, values, ahead, s, key, at);
        });
      }
      row = end;
    }
  }

  static void complete(const AttentionPart& p) {
    Paired::complete(p);
    _tile_release();
  }
};

}  // namespace
}  // namespace heed
#endif
