// out = x w^T in bfloat16 on AMX, with weights where they lie (row-major, mapped files).
//
//   C[16 columns][n rows] += A[16 columns][32 elements of in] B[16 pairs of elements][n rows]
//
// A is a piece of w as it is in memory; B is x, packed once for the whole product in the order that the
// instruction wants: pairs of elements, side by side for 16 rows. Many rows: 32 columns and 32 rows share
// four sums, and `in` is taken in stretches so that a stretch of the columns stays in L1 while the rows pass;
// the sums wait in scratch meanwhile. 16 rows and fewer: two sums, columns straight from memory.
//
// A sum is one chain over `in`, in steps of 32, whatever shares the tiles: a row has the same bits in every
// batch. What sticks out of a step or of 16 columns is copied to scratch and padded with zeros.
//
// Bound: memory for a few rows (0.9 of what plain loads read of a Granite Rapids); for many TDPBF16PS, of
// whose 3.6 TFLOP/s a core it reaches 0.2, and 0.5 with columns and rows in the caches: weights and output
// pass through memory. Definition: kernels/ref/ref.cpp: linear.
#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/isa/tables.h"
#include "kernels/cpu/isa/tile_shapes.h"

namespace heed {
namespace {

using cpu::LinearPanel;
using cpu::RowPack;

constexpr int kTile = 16;                       // columns of A, rows of B
constexpr int kStep = 32;                       // elements of `in` that one instruction takes
constexpr int kCols = 2 * kTile;                // of a panel's turn
constexpr int kStretch = 512;                   // elements of `in` of many rows' turn
constexpr int64_t kBlockElements = 256 * 1024;  // packed, of many rows' turn
constexpr int64_t kColumnTile = kTile * kStep;  // elements

HEED_INLINE int64_t steps_of(int64_t in) { return (in + kStep - 1) / kStep; }
HEED_INLINE int width_of(int64_t rows) { return smaller_of(rows, kTile); }
HEED_INLINE int64_t packed_step(int width) { return int64_t{kStep} * width; }  // elements

// Tiles 0 to 3 are sums, 4 and 5 columns, 6 and 7 rows of x.
HEED_INLINE void begin_tiles(int width) {
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) shapes.set(i, kTile, i == 4 || i == 5 ? 64 : 4 * width);
  load_shapes(shapes);
}

// Dwords: vector r holds 16 pairs of row r, and afterwards pair r of 16 rows.
HEED_INLINE void store_pairs(Vec (&rows)[kLanes], int width, uint32_t* out) {
  transpose(rows);
  for (int j = 0; j < kTile; ++j)
    _mm512_mask_storeu_epi32(out + j * width, first(width), _mm512_castps_si512(rows[j].v));
}

// Rows [16 tile, 16 tile + 16) of x, those that are missing as zeros.
void pack(const RowPack& p, int64_t tile) {
  const int width = width_of(p.rows);
  const int64_t row = tile * kTile;
  auto* out = static_cast<bf16*>(p.out) + tile * steps_of(p.in) * packed_step(width);
  const bf16* x[kTile];
  for (int r = 0; r < kTile; ++r) {
    const int64_t from = row + r < p.rows ? row + r : row;
    x[r] = static_cast<const bf16*>(p.x) + (p.row_of != nullptr ? p.row_of[from] : from) * p.x_stride;
  }
  const int count = smaller_of(p.rows - row, kTile);
  for (int64_t i = 0; i < p.in; i += kStep, out += packed_step(width)) {
    const int some = smaller_of(p.in - i, kStep);
    Vec rows[kLanes];
    for (int r = 0; r < kTile; ++r)
      rows[r].v = _mm512_castsi512_ps(load_pairs_first(x[r] + i, r < count ? some : 0).v);
    store_pairs(rows, width, static_cast<uint32_t*>(static_cast<void*>(out)));
  }
}

int64_t packed_bytes(int64_t rows, int64_t in) {
  const int width = width_of(rows);
  return (rows + kTile - 1) / kTile * steps_of(in) * packed_step(width) * int64_t{sizeof(bf16)};
}

// Columns of one turn over a stretch of `in`: whole steps, and where the sixteen columns of tile t begin.
struct Columns {
  const bf16* tile[2];
  int64_t stride;      // elements between columns
  int64_t step;        // elements between steps
  const bf16* rest;    // the last step, padded: [2][16][32]; none where `in` is whole steps
  int64_t whole, all;  // steps
};

// Copies columns [col, col + kCols) of elements [i, i + 32), padded, as [2][16][32].
HEED_INLINE void copy_step(const LinearPanel& p, int64_t col, int64_t i, bf16* out) {
  const int some = smaller_of(p.in - i, kStep);
  for (int c = 0; c < kCols; ++c) {
    const bool there = col + c < p.cols;
    const bf16* w = static_cast<const bf16*>(p.w) + (there ? col + c : col) * p.w_stride + i;
    _mm512_storeu_si512(out + c * kStep, load_pairs_first(w, there ? some : 0).v);
  }
}

// The columns from `col` on: where they lie if all are there, else copied and padded.
HEED_INLINE Columns columns_at(const LinearPanel& p, int64_t col, bf16* rest, bf16* copied) {
  const int64_t whole = p.in / kStep;
  Columns c = {{}, p.w_stride, kStep, nullptr, whole, steps_of(p.in)};
  if (col + kCols <= p.cols) {
    c.tile[0] = static_cast<const bf16*>(p.w) + col * p.w_stride;
    c.tile[1] = c.tile[0] + kTile * p.w_stride;
    if (c.all > whole) {
      copy_step(p, col, whole * kStep, rest);
      c.rest = rest;
    }
    return c;
  }
  for (int64_t step = 0; step < c.all; ++step)
    copy_step(p, col, step * kStep, copied + step * 2 * kColumnTile);
  c.tile[0] = copied;
  c.tile[1] = copied + kColumnTile;
  c.stride = kStep;
  c.step = 2 * kColumnTile;
  c.whole = c.all;
  return c;
}

HEED_INLINE void load_columns(const Columns& c, int64_t step) {
  if (step < c.whole) {
    _tile_loadd(4, c.tile[0] + step * c.step, c.stride * sizeof(bf16));
    _tile_loadd(5, c.tile[1] + step * c.step, c.stride * sizeof(bf16));
  } else {
    _tile_loadd(4, c.rest, kStep * sizeof(bf16));
    _tile_loadd(5, c.rest + kColumnTile, kStep * sizeof(bf16));
  }
}

// sums[16 columns][width rows] to rows [row, row + rows) of out.
HEED_INLINE void finish(const LinearPanel& p, const float* sums, int width, int64_t row, int rows,
                        int64_t col) {
  const int cols = smaller_of(p.cols - col, kTile);
  if (cols <= 0) return;
  Vec lanes[kLanes];
#pragma GCC unroll 16
  for (int c = 0; c < kTile; ++c) lanes[c] = {_mm512_maskz_loadu_ps(first(width), sums + c * width)};
  transpose(lanes);
  const Vec bias = p.bias != nullptr ? load_some(p.bias + col, cols) : zero();
#pragma GCC unroll 16
  for (int r = 0; r < kTile; ++r) {
    if (r >= rows) break;
    float* out = p.out + (row + r) * p.out_stride + col;
    Vec value = lanes[r];
    if (p.bias != nullptr) value = value + bias;
    if (p.accumulate) value = value + load_some(out, cols);
    store_some(out, value, cols);
  }
}

// One tile of rows.
void few_rows(const LinearPanel& p, int width, bf16* copied) {
  alignas(64) bf16 rest[2 * kColumnTile];
  alignas(64) float sums[2][kTile * kTile];
  const auto* x = static_cast<const bf16*>(p.x);
  for (int64_t col = 0; col < p.cols; col += kCols) {
    const Columns columns = columns_at(p, col, rest, copied);
    _tile_zero(0);
    _tile_zero(1);
    for (int64_t step = 0; step < columns.all; ++step) {
      load_columns(columns, step);
      _tile_loadd(6, x + step * packed_step(width), width * sizeof(uint32_t));
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 5, 6);
    }
    _tile_stored(0, sums[0], width * sizeof(float));
    _tile_stored(1, sums[1], width * sizeof(float));
    finish(p, sums[0], width, 0, static_cast<int>(p.rows), col);
    finish(p, sums[1], width, 0, static_cast<int>(p.rows), col + kTile);
  }
}

constexpr int64_t kSums = int64_t{kTile} * kTile;

// Rows [row, row + 32) with the columns' steps [begin, end); sums: [4][16][16], two of columns by two of
// rows.
HEED_INLINE void stretch(const LinearPanel& p, const Columns& columns, int64_t row, int64_t begin,
                         int64_t end, float* sums) {
  const int64_t tile_elements = columns.all * packed_step(kTile);
  const bf16* first_rows = static_cast<const bf16*>(p.x) + row / kTile * tile_elements;
  const bf16* next_rows = row + kTile < p.rows ? first_rows + tile_elements : first_rows;
  constexpr int64_t kBytes = kTile * sizeof(float);
  if (begin == 0) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kBytes);
    _tile_loadd(1, sums + kSums, kBytes);
    _tile_loadd(2, sums + 2 * kSums, kBytes);
    _tile_loadd(3, sums + 3 * kSums, kBytes);
  }
  for (int64_t step = begin; step < end; ++step) {
    load_columns(columns, step);
    _tile_loadd(6, first_rows + step * packed_step(kTile), kBytes);
    _tile_loadd(7, next_rows + step * packed_step(kTile), kBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, kBytes);
  _tile_stored(1, sums + kSums, kBytes);
  _tile_stored(2, sums + 2 * kSums, kBytes);
  _tile_stored(3, sums + 3 * kSums, kBytes);
}

// Rows [first, last), whose packed elements stay in L2 while the columns pass.
void block_of_rows(const LinearPanel& p, int64_t first, int64_t last, float* sums, bf16* copied) {
  alignas(64) bf16 rest[2 * kColumnTile];
  constexpr int64_t kSteps = kStretch / kStep;
  for (int64_t col = 0; col < p.cols; col += kCols) {
    const Columns columns = columns_at(p, col, rest, copied);
    for (int64_t begin = 0; begin < columns.all; begin += kSteps) {
      const int64_t end = begin + kSteps < columns.all ? begin + kSteps : columns.all;
      for (int64_t row = first; row < last; row += 2 * kTile) {
        float* own = sums + (row - first) / (2 * kTile) * 4 * kSums;
        stretch(p, columns, row, begin, end, own);
        if (end < columns.all) continue;
        for (int t = 0; t < 4; ++t) {
          const int64_t at = row + t / 2 * kTile;
          const int rows = smaller_of(p.rows - at, kTile);
          if (rows > 0) finish(p, own + t * kSums, kTile, at, rows, col + t % 2 * kTile);
        }
      }
    }
  }
}

int64_t block_rows(int64_t in) {
  const int64_t rows = kBlockElements / (in > 0 ? in : 1) / (2 * kTile) * 2 * kTile;
  return rows > 2 * kTile ? rows : 2 * kTile;
}

void many_rows(const LinearPanel& p, float* sums, bf16* copied) {
  const int64_t block = block_rows(p.in);
  for (int64_t row = 0; row < p.rows; row += block)
    block_of_rows(p, row, row + block < p.rows ? row + block : p.rows, sums, copied);
}

// The last of many rows may be few: they have sums, too.
int64_t sums_of(int64_t rows, int64_t in) {
  if (rows > block_rows(in)) rows = block_rows(in);
  return (rows + 2 * kTile - 1) / (2 * kTile) * 4 * kSums;
}

int64_t scratch(int64_t rows, int64_t in) {
  constexpr int64_t kStepFloats = 2 * kColumnTile * int64_t{sizeof(bf16)} / int64_t{sizeof(float)};
  return sums_of(rows, in) + steps_of(in) * kStepFloats;
}

void panel(const LinearPanel& p) {
  auto* copied = static_cast<bf16*>(static_cast<void*>(p.scratch + sums_of(p.rows, p.in)));
  const int width = width_of(p.packed);
  begin_tiles(width);
  if (p.packed <= kTile) {
    few_rows(p, width, copied);
  } else {
    many_rows(p, p.scratch, copied);
  }
  _tile_release();
}

}  // namespace

namespace cpu {
const TileTable HEED_TABLE(linear) = {
    .tile_rows = 2 * kTile,
    .tile_cols = kCols,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch = scratch,
    .panel = panel,
};
}  // namespace cpu
}  // namespace heed
