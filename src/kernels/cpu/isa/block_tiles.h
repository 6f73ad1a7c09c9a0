// Products with weights in blocks by AMX: sixteen rows of x, sixteen columns and one group of elements at a
// time.
//
//   C[rows][16 columns] = A[rows][group] B[group / 4][16 columns x 4]
//
// A is x's codes as they lie, B the columns' codes as unpack() writes them. Sums of codes are exact, and what
// follows for each group are the operations of add_group() in blocks.cpp: rows have the same bits as there.
#pragma once
#include "kernels/cpu/isa/block_formats.h"
#include "kernels/cpu/isa/tables.h"
#include "kernels/cpu/isa/tile_shapes.h"

namespace heed {
namespace {

constexpr int kTileRows = 16;
constexpr int kTogether = 4;  // groups whose products wait for their scales

// Tiles 0 to 3 are products, 4 and 5 rows of x, 6 and 7 columns.
HEED_INLINE void begin_tiles(int rows, int group) {
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) shapes.set(i, i < 6 ? rows : group / 4, i == 4 || i == 5 ? group : 4 * kLanes);
  load_shapes(shapes);
}

struct TileSums {
  alignas(64) float rows[kTileRows][kLanes];
};

// Of the columns: codes and scales from an element of the row on.
struct ColumnCodes {
  const uint8_t* codes;
  const float *scales, *offsets;
};

// The numbers of tiles must be written out: gcc makes them part of an instruction's text.
#define HEED_MULTIPLY(product, x_tile, w_tile)                   \
  _tile_zero(product);                                           \
  _tile_loadd(x_tile, x + (product)*group, stride);              \
  _tile_loadd(w_tile, w + (product)*group * kLanes, 4 * kLanes); \
  _tile_dpbsud(product, x_tile, w_tile);                         \
  _tile_stored(product, products[product], sizeof(int32_t) * kLanes)

HEED_INLINE void multiply(const int8_t* x, int64_t stride, const uint8_t* w, int64_t group, int count,
                          int32_t (*products)[kTileRows][kLanes]) {
  HEED_MULTIPLY(0, 4, 6);
  if (count > 1) {
    HEED_MULTIPLY(1, 5, 7);
  }
  if (count > 2) {
    HEED_MULTIPLY(2, 4, 6);
  }
  if (count > 3) {
    HEED_MULTIPLY(3, 5, 7);
  }
}
#undef HEED_MULTIPLY

// Products of groups [g, g + kCount) of w, which is x's from group `first` on, with their scales.
template <class K, int kCount>
HEED_INLINE void add_scaled(const cpu::BlockPanel& p, int64_t row, int rows, const ColumnCodes& w,
                            int64_t first, int64_t g, const int32_t (*products)[kTileRows][kLanes],
                            TileSums& sums) {
  constexpr int64_t kRunGroups = 32 / K::kGroup;  // that share a scale of x
  const int64_t groups = p.in / K::kGroup;
  Vec scale[kCount];
  Vec offset[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    scale[i] = load(w.scales + (g + i) * kLanes);
    if constexpr (K::kOffsets) offset[i] = load(w.offsets + (g + i) * kLanes);
  }
  const int32_t* starts = p.x.starts + row * groups + first + g;
  const float* group_sums = p.x.sums + row * groups + first + g;
  const float* scales = p.x.scales + row * (groups / kRunGroups) + (first + g) / kRunGroups;
  for (int r = 0; r < rows; ++r) {
    Vec sum = load(sums.rows[r]);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const Bytes exact = plus(load_bytes(products[i][r]), same(static_cast<uint32_t>(starts[i])));
      sum = fma(floats(exact), scale[i] * set(scales[i / kRunGroups]), sum);
      if constexpr (K::kOffsets) sum = fma(offset[i], set(group_sums[i]), sum);
    }
    store(sums.rows[r], sum);
    starts += groups;
    group_sums += groups;
    scales += groups / kRunGroups;
  }
}

// Adds the products of elements [begin, end), with which `w` begins, to the sums of rows [row, row + rows).
// Tiles are multiplied while the products before them get their scales.
template <class K>
void add_tiles(const cpu::BlockPanel& p, int64_t row, int rows, const ColumnCodes& w, int64_t begin,
               int64_t end, TileSums& sums) {
  constexpr int64_t kGroup = K::kGroup;
  alignas(64) int32_t products[2][kTogether][kTileRows][kLanes];
  const int64_t groups = (end - begin) / kGroup;
  const int8_t* x = p.x.codes + row * p.in + begin;
  const auto multiply_at = [&](int64_t g) __attribute__((always_inline)) {
    multiply(x + g * kGroup, p.in, w.codes + g * kGroup * kLanes, kGroup, smaller_of(groups - g, kTogether),
             products[g / kTogether % 2]);
  };
  multiply_at(0);
  int64_t g = 0;
  for (; g + kTogether <= groups; g += kTogether) {
    if (g + kTogether < groups) multiply_at(g + kTogether);
    add_scaled<K, kTogether>(p, row, rows, w, begin / kGroup, g, products[g / kTogether % 2], sums);
  }
  for (int i = 0; g + i < groups; i += 2) {  // runs of x are whole
    const auto* rest = products[g / kTogether % 2] + i;
    if (g + i + 1 < groups) {
      add_scaled<K, 2>(p, row, rows, w, begin / kGroup, g + i, rest, sums);
    } else {
      add_scaled<K, 1>(p, row, rows, w, begin / kGroup, g + i, rest, sums);
    }
  }
}

}  // namespace
}  // namespace heed
