// out = x w^T as dot products along `in`, with weights where they lie (row-major, mapped files).
//
// Tile: kRows rows of x by 4 rows of w, each pair with its own vector of partial sums over the whole of `in`;
// the four sums of a row are added across lanes together (sum4). A sum's order is thus a matter of `in`
// alone: smaller tiles run the same steps with fewer accumulators, and missing columns repeat the last one
// and are dropped.
//
// x is packed per tile, zero-padded to whole steps, so that a step reads its rows side by side and lies in
// L1; weights are read with masked loads at the end of a row. bf16 weights are read 2 * kLanes at a time and
// split into even and odd elements, an instruction or two each; x is packed in the same order. A few rows
// pass the weights together; for many a panel's 16-bit weights are widened once, into scratch.
//
// Bound: memory for a few rows, else FMA (0.7 of the AVX-512 peak of a Sapphire Rapids core for 512 rows and
// in = 1024, 0.6 from in = 2048 on, where a tile of x no longer lies in L1; 0.5 to 0.8 of the AVX2 peak of a
// Zen 3 core) or VDPBF16PS. Definition: kernels/ref/ref.cpp: linear.
#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/isa/tables.h"

namespace heed {
namespace {

using cpu::LinearPanel;

constexpr int kCols = 4;
#if defined(__AVX512F__)
constexpr int kRows = 6;  // 24 accumulators, 6 of x, 1 of w: 31 of 32 registers
#else
constexpr int kRows = 3;  // 12 accumulators, 3 of x, 1 of w: all 16
#endif

// Of 16 registers a tile needs every one: compilers would read an operand from memory for each use, and spill
// sums. Of 32 they make more of their own accord.
template <class V>
HEED_INLINE void keep_in_register(V& v) {
#if defined(__x86_64__) && !defined(__AVX512F__)
  asm("" : "+x"(v.v));
#else
  (void)v;
#endif
}

// How a step of `in` runs for a pair of element types: kVectors vectors of x against as many made of w.
template <class W>
struct Single {  // w widens to one vector
  using Input = float;
  using Weight = W;
  static constexpr bool kWidens = sizeof(W) != sizeof(float);  // to float32 operands that are worth keeping
  using Loaded = Vec;
  using Operand = Vec;
  static constexpr int kVectors = 1;
  static constexpr int kStep = kLanes;
  static HEED_INLINE Loaded load_step(const W* w) { return load(w); }
  static HEED_INLINE Loaded load_rest(const W* w, int n) { return load_first(w, n); }
  template <int kVector>
  static HEED_INLINE Vec operand(Loaded w) {
    return w;
  }
  static HEED_INLINE Vec input(const float* packed) { return load(packed); }
  static HEED_INLINE Vec dot(Vec x, Vec w, Vec sum) { return fma(x, w, sum); }
  static HEED_INLINE void pack(const float* x, int n, float* out, int64_t /*between*/) {
    store(out, load_some(x, n));
  }
};

template <class X>
struct Paired {  // bf16 w as even and odd elements
  using Input = X;
  using Weight = bf16;
  static constexpr bool kWidens = true;
  using Loaded = Pairs;
  using Operand = Vec;
  static constexpr int kVectors = 2;
  static constexpr int kStep = 2 * kLanes;
  static HEED_INLINE Loaded load_step(const bf16* w) { return load_pairs(w); }
  static HEED_INLINE Loaded load_rest(const bf16* w, int n) { return load_pairs_first(w, n); }
  template <int kVector>
  static HEED_INLINE Vec operand(Loaded w) {
    return kVector == 0 ? even(w) : odd(w);
  }
  static HEED_INLINE Vec input(const float* packed) { return load(packed); }
  static HEED_INLINE Vec dot(Vec x, Vec w, Vec sum) { return fma(x, w, sum); }
  static HEED_INLINE void pack(const X* x, int n, float* out, int64_t between) {
    const int low = smaller_of(n, kLanes);
    Vec evens;
    Vec odds;
    deinterleave(load_some(x, low), load_some(x + low, n - low), evens, odds);
    store(out, evens);
    store(out + between, odds);
  }
};

#if defined(HEED_HAS_PAIR_DOT)
struct PairDot {  // bf16 x and w, two products a lane and instruction
  using Input = bf16;
  using Weight = bf16;
  static constexpr bool kWidens = false;
  using Loaded = Pairs;
  using Operand = Pairs;
  static constexpr int kVectors = 1;
  static constexpr int kStep = 2 * kLanes;
  static HEED_INLINE Loaded load_step(const bf16* w) { return load_pairs(w); }
  static HEED_INLINE Loaded load_rest(const bf16* w, int n) { return load_pairs_first(w, n); }
  template <int kVector>
  static HEED_INLINE Pairs operand(Loaded w) {
    return w;
  }
  static HEED_INLINE Pairs input(const float* packed) { return {_mm512_loadu_si512(packed)}; }
  static HEED_INLINE Vec dot(Pairs x, Pairs w, Vec sum) { return pair_dot(x, w, sum); }
  static HEED_INLINE void pack(const bf16* x, int n, float* out, int64_t /*between*/) {
    _mm512_storeu_si512(out, load_pairs_first(x, n).v);
  }
};
using Bf16Bf16 = PairDot;
#else
using Bf16Bf16 = Paired<bf16>;
#endif

// x of R rows stays in registers while each row of w is read just before its use: the fewest loads and
// registers.
template <class Pair, int kVector, int R, class Load>
HEED_INLINE void multiply(const float* x, Load load_w, Vec (&sums)[R][kCols]) {
  typename Pair::Operand rows[R];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    rows[r] = Pair::input(x + (kVector * R + r) * kLanes);
    keep_in_register(rows[r]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < kCols; ++c) {
    const typename Pair::Operand operand = Pair::template operand<kVector>(load_w(c));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      sums[r][c] = Pair::dot(rows[r], operand, sums[r][c]);
      keep_in_register(sums[r][c]);
    }
  }
}

template <class Pair, int R, class Load>
HEED_INLINE void step(const float* x, Load load_w, Vec (&sums)[R][kCols]) {
  multiply<Pair, 0>(x, load_w, sums);
  if constexpr (Pair::kVectors == 2) multiply<Pair, 1>(x, load_w, sums);
}

// The sums of R packed rows with four rows of w: out[r][c]. kAhead: the four that lie `ahead` elements
// further are wanted next and are still in memory. They are asked for in the order in which they lie there,
// which the hardware's prefetchers then take up: a sixth faster on Zen 3 than in the order in which they will
// be read.
template <class Pair, int R, bool kAhead>
void tile(const float* x, const typename Pair::Weight* const (&w)[kCols], int64_t in, int64_t ahead,
          float (*out)[kCols]) {
  Vec sums[R][kCols];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kCols; ++c) sums[r][c] = zero();
  }
  constexpr int kLineElements = 64 / sizeof(typename Pair::Weight);
  constexpr int kLines =
      (kCols * Pair::kStep + kLineElements - 1) / kLineElements;  // as many as a step reads
  const auto* next = w[0] + ahead;
  int64_t i = 0;
  for (; i + Pair::kStep <= in; i += Pair::kStep) {
    if constexpr (kAhead) {
#pragma GCC unroll 4
      for (int line = 0; line < kLines; ++line) __builtin_prefetch(next + kCols * i + line * kLineElements);
    }
    step<Pair>(
        x, [&](int c) __attribute__((always_inline)) { return Pair::load_step(w[c] + i); }, sums);
    x += Pair::kVectors * R * kLanes;
  }
  if (i < in) {
    const int rest = static_cast<int>(in - i);
    step<Pair>(
        x, [&](int c) __attribute__((always_inline)) { return Pair::load_rest(w[c] + i, rest); }, sums);
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) sum4(sums[r][0], sums[r][1], sums[r][2], sums[r][3], out[r]);
}

// A tile of `rows` rows, at most R.
template <class Pair, int R, bool kAhead>
HEED_INLINE void tile_of(int64_t rows, const float* x, const typename Pair::Weight* const (&w)[kCols],
                         int64_t in, int64_t ahead, float (*out)[kCols]) {
  if constexpr (R > 0) {
    if (rows == R) {
      tile<Pair, R, kAhead>(x, w, in, ahead, out);
    } else {
      tile_of<Pair, R - 1, kAhead>(rows, x, w, in, ahead, out);
    }
  }
}

template <class Pair>
void pack(const LinearPanel& p, int64_t row, int rows, float* packed) {
  const int64_t step_floats = int64_t{Pair::kVectors} * rows * kLanes;
  for (int r = 0; r < rows; ++r) {
    const int64_t from = p.row_of != nullptr ? p.row_of[row + r] : row + r;
    const auto* x = static_cast<const typename Pair::Input*>(p.x) + from * p.x_stride;
    float* out = packed + r * kLanes;
    for (int64_t i = 0; i < p.in; i += Pair::kStep, out += step_floats) {
      Pair::pack(x + i, smaller_of(p.in - i, Pair::kStep), out, int64_t{rows} * kLanes);
    }
  }
}

HEED_INLINE void finish(const LinearPanel& p, int64_t row, int rows, int64_t col, int cols,
                        const float (*sums)[kCols]) {
  for (int r = 0; r < rows; ++r) {
    float* out = p.out + (row + r) * p.out_stride + col;
    for (int c = 0; c < cols; ++c) {
      float value = sums[r][c];
      if (p.bias != nullptr) value += p.bias[col + c];
      out[c] = p.accumulate ? value + out[c] : value;
    }
  }
}

// Four rows of w from `col` on; what lies beyond the last is the last again.
template <class Pair>
HEED_INLINE void columns_at(const LinearPanel& p, int64_t col, const typename Pair::Weight* (&w)[kCols]) {
  for (int c = 0; c < kCols; ++c) {
    const int64_t column = col + c < p.cols ? col + c : p.cols - 1;
    w[c] = static_cast<const typename Pair::Weight*>(p.w) + column * p.w_stride;
  }
}

HEED_INLINE int64_t whole_steps(int64_t in) { return (in + 2 * kLanes - 1) / (2 * kLanes) * 2 * kLanes; }

constexpr int kFewRows = 23;              // with more it pays to widen the panel's weights
constexpr int64_t kStretch = 128 * 1024;  // bytes of weights

// Tiles of rows, all of about the same size, pass a stretch of columns that stays in the second cache, and
// ask for the next one by turns, so that memory is busy all the time.
template <class Pair>
void few_rows(const LinearPanel& p) {
  const int64_t tiles = (p.rows + kRows - 1) / kRows;
  const auto first_row = [&](int64_t t) { return p.rows * t / tiles; };
  const int64_t row_floats = whole_steps(p.in);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t row = first_row(t);
    pack<Pair>(p, row, static_cast<int>(first_row(t + 1) - row), p.scratch + row * row_floats);
  }
  const auto row_bytes = p.in * static_cast<int64_t>(sizeof(typename Pair::Weight));
  const int64_t stretch = tiles > 1 && row_bytes > 0 && row_bytes * kCols < kStretch
                              ? kStretch / row_bytes / kCols * kCols
                              : kCols;
  for (int64_t first = 0; first < p.cols; first += stretch) {
    const int64_t end = first + stretch < p.cols ? first + stretch : p.cols;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = first_row(t);
      const auto count = static_cast<int>(first_row(t + 1) - row);
      const float* x = p.scratch + row * row_floats;
      for (int64_t col = first; col < end; col += kCols) {
        const typename Pair::Weight* w[kCols];
        columns_at<Pair>(p, col, w);
        float sums[kRows][kCols];
        if ((col - first) / kCols % tiles == t) {
          tile_of<Pair, kRows, true>(count, x, w, p.in, stretch * p.w_stride, sums);
        } else {
          tile_of<Pair, kRows, false>(count, x, w, p.in, 0, sums);
        }
        finish(p, row, count, col, smaller_of(p.cols - col, kCols), sums);
      }
    }
  }
}

// The panel's weights as the float32 operands that the steps of Pair would make of them, in the same order
// and padded to whole steps: the tile for floats then gives the same bits.
template <class Pair>
void widen(const LinearPanel& p, int64_t stride, float* out) {
  for (int64_t col = 0; col < p.cols; ++col) {
    const auto* w = static_cast<const typename Pair::Weight*>(p.w) + col * p.w_stride;
    float* to = out + col * stride;
    for (int64_t i = 0; i < p.in; i += Pair::kStep, to += Pair::kStep) {
      const auto loaded = p.in - i >= Pair::kStep ? Pair::load_step(w + i)
                                                  : Pair::load_rest(w + i, static_cast<int>(p.in - i));
      store(to, Pair::template operand<0>(loaded));
      if constexpr (Pair::kVectors == 2) store(to + kLanes, Pair::template operand<1>(loaded));
    }
  }
}

// The whole panel, 16-bit weights widened once, stays in a core's cache while tiles of rows pass it.
template <class Pair>
void many_rows(const LinearPanel& p) {
  const int64_t stride = (p.in + Pair::kStep - 1) / Pair::kStep * Pair::kStep;
  float* widened = p.scratch + whole_steps(p.in) * kRows;
  if constexpr (Pair::kWidens) widen<Pair>(p, stride, widened);
  for (int64_t row = 0; row < p.rows; row += kRows) {
    const int rows = smaller_of(p.rows - row, kRows);
    pack<Pair>(p, row, rows, p.scratch);
    for (int64_t col = 0; col < p.cols; col += kCols) {
      const int cols = smaller_of(p.cols - col, kCols);
      float sums[kRows][kCols];
      if constexpr (Pair::kWidens) {
        const float* w[kCols];
        for (int c = 0; c < kCols; ++c) w[c] = widened + (col + (c < cols ? c : cols - 1)) * stride;
        tile_of<Single<float>, kRows, false>(rows, p.scratch, w, stride, 0, sums);
      } else {
        const typename Pair::Weight* w[kCols];
        columns_at<Pair>(p, col, w);
        tile_of<Pair, kRows, false>(rows, p.scratch, w, p.in, 0, sums);
      }
      finish(p, row, rows, col, cols, sums);
    }
  }
}

template <class Pair>
void panel(const LinearPanel& p) {
  if (p.rows <= kFewRows) return few_rows<Pair>(p);
  many_rows<Pair>(p);
}

int64_t scratch(int64_t rows, int64_t cols, int64_t in) {
  const int64_t packed = rows < kFewRows ? rows : kFewRows;
  return whole_steps(in) * (packed + (rows > kFewRows ? cols : 0));
}

}  // namespace

namespace cpu {
const LinearTable HEED_TABLE(linear) = {
    .tile_rows = kRows,
    .few_rows = kFewRows,
    .scratch = scratch,
    .f32_f32 = panel<Single<float>>,
    .f32_bf16 = panel<Paired<float>>,
    .f32_f16 = panel<Single<f16>>,
    .bf16_bf16 = panel<Bf16Bf16>,
};
}  // namespace cpu
}  // namespace heed
