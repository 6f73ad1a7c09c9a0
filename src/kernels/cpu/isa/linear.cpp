// out = x w^T as dot products along `in`, with weights where they lie (row-major, mapped files).
//
// Tile: kRows rows of x by 4 rows of w, each pair with its own vector of partial sums over the whole of `in`;
// the four sums of a row are added across lanes together (sum4). A sum's order is thus a matter of `in`
// alone: smaller tiles run the same steps with fewer accumulators, and missing columns repeat the last one
// and are dropped.
//
// x is packed per tile, zero-padded to whole steps, so that a step reads its rows side by side and lies in
// L1; weights are read with masked loads at the end of a row. bf16 weights are read 2 * kLanes at a time and
// split into even and odd elements, which is one instruction each; x is packed in the same order. For many
// rows a panel's 16-bit weights are widened once, into scratch.
//
// Bound: memory for a few rows, else FMA (0.7 of the AVX-512 peak of a Sapphire Rapids core for 512 rows and
// in = 1024, 0.6 from in = 2048 on, where a tile of x no longer lies in L1) or VDPBF16PS. Definition:
// kernels/ref/ref.cpp: linear.
#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/isa/tables.h"

namespace heed {
namespace {

using cpu::LinearPanel;

constexpr int kCols = 4;
#if defined(__AVX512F__)
constexpr int kRows = 6;  // 24 accumulators, 6 of x, 1 of w: 31 of 32 registers
#else
constexpr int kRows = 2;  // 8 accumulators, 2 of x, 1 of w, of 16; three rows spill
#endif

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
  for (int r = 0; r < R; ++r) rows[r] = Pair::input(x + (kVector * R + r) * kLanes);
#pragma GCC unroll 4
  for (int c = 0; c < kCols; ++c) {
    const typename Pair::Operand operand = Pair::template operand<kVector>(load_w(c));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) sums[r][c] = Pair::dot(rows[r], operand, sums[r][c]);
  }
}

template <class Pair, int R, class Load>
HEED_INLINE void step(const float* x, Load load_w, Vec (&sums)[R][kCols]) {
  multiply<Pair, 0>(x, load_w, sums);
  if constexpr (Pair::kVectors == 2) multiply<Pair, 1>(x, load_w, sums);
}

// The sums of R packed rows with four rows of w: out[r][c]. kAhead: what lies `ahead` elements further is
// wanted next and is still in memory; rows are too short for the hardware's prefetchers to find their stride.
template <class Pair, int R, bool kAhead>
void tile(const float* x, const typename Pair::Weight* const (&w)[kCols], int64_t in, int64_t ahead,
          float (*out)[kCols]) {
  Vec sums[R][kCols];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kCols; ++c) sums[r][c] = zero();
  }
  int64_t i = 0;
  for (; i + Pair::kStep <= in; i += Pair::kStep) {
    if constexpr (kAhead) {
#pragma GCC unroll 4
      for (int c = 0; c < kCols; ++c) __builtin_prefetch(w[c] + i + ahead);
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

template <class Pair>
void pack(const LinearPanel& p, int64_t row, int rows) {
  const int64_t step_floats = int64_t{Pair::kVectors} * rows * kLanes;
  for (int r = 0; r < rows; ++r) {
    const int64_t from = p.row_of != nullptr ? p.row_of[row + r] : row + r;
    const auto* x = static_cast<const typename Pair::Input*>(p.x) + from * p.x_stride;
    float* out = p.scratch + r * kLanes;
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

// A tile of R rows with the whole panel: with w as it is, or with the floats that widen() made of it.
template <class Pair, int R>
void row_tile(const LinearPanel& p, int64_t row, const float* widened, int64_t widened_stride) {
  pack<Pair>(p, row, R);
  for (int64_t col = 0; col < p.cols; col += kCols) {
    const int cols = smaller_of(p.cols - col, kCols);
    const auto column = [&](int c) { return col + (c < cols ? c : cols - 1); };
    float sums[R][kCols];
    if (widened != nullptr) {
      const float* w[kCols];
      for (int c = 0; c < kCols; ++c) w[c] = widened + column(c) * widened_stride;
      tile<Single<float>, R, false>(p.scratch, w, widened_stride, 0, sums);
    } else {
      const typename Pair::Weight* w[kCols];
      for (int c = 0; c < kCols; ++c)
        w[c] = static_cast<const typename Pair::Weight*>(p.w) + column(c) * p.w_stride;
      if (p.rows == R) {
        tile<Pair, R, true>(p.scratch, w, p.in, kCols * p.w_stride, sums);
      } else {
        tile<Pair, R, false>(p.scratch, w, p.in, 0, sums);
      }
    }
    finish(p, row, R, col, cols, sums);
  }
}

// The last rows of a panel, fewer than kRows.
template <class Pair, int R>
void last_rows(const LinearPanel& p, int64_t row, const float* widened, int64_t widened_stride) {
  if constexpr (R > 0) {
    if (p.rows - row == R) {
      row_tile<Pair, R>(p, row, widened, widened_stride);
    } else {
      last_rows<Pair, R - 1>(p, row, widened, widened_stride);
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

HEED_INLINE int64_t whole_steps(int64_t in) { return (in + 2 * kLanes - 1) / (2 * kLanes) * 2 * kLanes; }

constexpr bool pays(int64_t rows) { return rows >= 4 * kRows; }

template <class Pair>
void panel(const LinearPanel& p) {
  const float* widened = nullptr;
  const int64_t stride = (p.in + Pair::kStep - 1) / Pair::kStep * Pair::kStep;
  if constexpr (Pair::kWidens) {
    if (pays(p.rows)) {
      float* out = p.scratch + whole_steps(p.in) * kRows;
      widen<Pair>(p, stride, out);
      widened = out;
    }
  }
  int64_t row = 0;
  for (; row + kRows <= p.rows; row += kRows) row_tile<Pair, kRows>(p, row, widened, stride);
  last_rows<Pair, kRows - 1>(p, row, widened, stride);
}

int64_t scratch(int64_t rows, int64_t cols, int64_t in) {
  return whole_steps(in) * (kRows + (pays(rows) ? cols : 0));
}

}  // namespace

namespace cpu {
const LinearTable HEED_TABLE(linear) = {
    .tile_rows = kRows,
    .scratch = scratch,
    .f32_f32 = panel<Single<float>>,
    .f32_bf16 = panel<Paired<float>>,
    .f32_f16 = panel<Single<f16>>,
    .bf16_bf16 = panel<Bf16Bf16>,
};
}  // namespace cpu
}  // namespace heed
