// out = x w^T with weights in blocks, where they lie (mapped files): int8 products, exact within a group of
// 16 or 32.
//
//   out[c] = sum over groups g of (w_scale[c][g] * x_scale[g]) * sum of codes w[c] x  (+ w_offset[c][g] *
//   x_sum[g])
//
// Tile: kRows rows of x by kLanes columns. A lane is a column: rows of weights are read 16 bytes at a time
// and turned so that a vector holds 4 consecutive codes of each column (codes.h); VPDPBUSD then adds their
// products with 4 codes of x, which are broadcast, and nothing is ever summed across lanes. Codes are
// unsigned where the instruction wants that: kBias too high, which the sums start with.
//
// One or two rows: codes go from memory to registers to products. A few more: they are unpacked a stretch at
// a time. Many: the columns' codes and scales are written to scratch once, in the order in which they are
// used. With AMX, few and many are products of tiles (block_tiles.h). All do the same operations in the same
// order, so that a row's result has the same bits in every batch.
//
// Bound: memory for a few rows; VPDPBUSD for many, 8 of it to two float operations. Definition:
// kernels/ref/ref.cpp: linear.
#include "kernels/cpu/isa/block_formats.h"
#include "kernels/cpu/isa/tables.h"
#if defined(__AMX_INT8__)
#include "kernels/cpu/isa/block_tiles.h"
#endif

namespace heed {
namespace {

using cpu::BlockPanel;
using cpu::RoundedRows;

constexpr int kRoundedRun = 32;
constexpr int kLine = 64;

struct InputRow {
  const int8_t* codes;
  const float* scales;
  const int32_t* starts;
  const float* sums;
};

// What products need to know of a format. Formats that agree in it share their code: to compile all of it
// once for each format takes minutes.
template <int kShared, bool kHasOffsets, bool kIsWide>
struct Kind {
  static constexpr int kGroup = kShared;
  static constexpr bool kOffsets = kHasOffsets, kWide = kIsWide;
  // So many words' products with codes of x are added up in 16 bits before they are widened.
  static constexpr int kPairWords = !kHasPairs || kIsWide ? 0 : kShared / 8;
};
template <class F>
struct KindFor {
  using K = Kind<F::kGroup, F::kOffsets, F::kWide>;
  static_assert(F::kWide || F::kLargest * 2 * 127 * K::kPairWords < 1 << 15);
};
template <class F>
using KindOf = typename KindFor<F>::K;

template <class K>
HEED_INLINE InputRow input_row(const BlockPanel& p, int64_t row) {
  return {p.x.codes + row * p.in, p.x.scales + row * (p.in / kRoundedRun),
          p.x.starts + row * (p.in / K::kGroup), p.x.sums + row * (p.in / K::kGroup)};
}

// The sums over one group of kGroup elements, from element `at` of the row on.
template <class K, int R>
HEED_INLINE void sum_products(const Bytes* w, const InputRow (&x)[R], int64_t at, Bytes (&sums)[R]) {
  // Few rows have several sums each, so that they do not wait for one product after the other.
  constexpr int kChains = R == 1 ? 4 : R == 2 ? 2 : 1;
  Bytes chains[R * kChains];
#pragma GCC unroll 8
  for (int i = 0; i < R * kChains; ++i)
    chains[i] = i < R ? same(static_cast<uint32_t>(x[i].starts[at / K::kGroup])) : same(0);
#pragma GCC unroll 8
  for (int j = 0; j < K::kGroup / 4; ++j) {
    const Bytes word = w[j];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const int8_t* codes = x[r].codes + at + 4 * j;
      Bytes& sum = chains[j % kChains * R + r];
      sum = K::kWide ? dot_wide(sum, word, codes) : dot(sum, word, codes);
    }
  }
#pragma GCC unroll 4
  for (int i = R; i < R * kChains; ++i) chains[i % R] = plus(chains[i % R], chains[i]);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sums[r] = chains[r];
}

// The same, of codes so small that products fit 16 bits.
template <class K, int R>
HEED_INLINE void sum_pairs(const Bytes* w, const InputRow (&x)[R], int64_t at, Bytes (&sums)[R]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sums[r] = same(static_cast<uint32_t>(x[r].starts[at / K::kGroup]));
#pragma GCC unroll 2
  for (int from = 0; from < K::kGroup / 4; from += K::kPairWords) {
    Bytes pairs[R];
#pragma GCC unroll 4
    for (int j = from; j < from + K::kPairWords; ++j) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Bytes products = dot_pairs(w[j], x[r].codes + at + 4 * j);
        pairs[r] = j == from ? products : plus_pairs(pairs[r], products);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[r] = widened(sums[r], pairs[r]);
  }
}

template <class K, int R>
HEED_INLINE void add_group(const Bytes* w, const float* scales, const float* offsets, const InputRow (&x)[R],
                           int64_t at, Vec (&out)[R]) {
  const int64_t group = at / K::kGroup;
  Bytes sums[R];
  if constexpr (K::kPairWords > 0) {
    sum_pairs<K, R>(w, x, at, sums);
  } else {
    sum_products<K, R>(w, x, at, sums);
  }
  const Vec scale = load(scales);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    out[r] = fma(floats(sums[r]), scale * set(x[r].scales[at / kRoundedRun]), out[r]);
  if constexpr (K::kOffsets) {
    const Vec offset = load(offsets);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) out[r] = fma(offset, set(x[r].sums[group]), out[r]);
  }
}

HEED_INLINE void finish_row(const BlockPanel& p, int64_t row, int64_t col, Vec value) {
  const int cols = smaller_of(p.cols - col, kLanes);
  float* out = p.out + row * p.out_stride + col;
  if (p.bias != nullptr) value = value + load_some(p.bias + col, cols);
  if (p.accumulate) value = value + load_some(out, cols);
  store_some(out, value, cols);
}

template <int R>
HEED_INLINE void finish(const BlockPanel& p, int64_t row, int64_t col, const Vec (&sums)[R]) {
  for (int r = 0; r < R; ++r) finish_row(p, row + r, col, sums[r]);
}

// The rows of weights of the columns from `col` on; the last one stands for those that are missing.
template <class F>
HEED_INLINE BlockRows rows_of(const BlockPanel& p, int64_t col) {
  BlockRows r;
  for (int i = 0; i < kLanes; ++i) {
    const int64_t row = col + i < p.cols ? col + i : p.cols - 1;
    r.row[i] = static_cast<const uint8_t*>(p.w) + F::place(row * p.w_stride);
    r.offset[i] = static_cast<int32_t>(r.row[i] - r.row[0]);
  }
  return r;
}

// The next columns' weights, which are asked for in the order in which they lie in memory, as many bytes with
// each span as it reads itself: the hardware's prefetchers take this up, as they do not where rows are read
// side by side. A core that has as many requests as it keeps drops further ones, so each line is asked for
// once more a few spans later, of formats with a byte a code twice: Q8_0 on Zen 5, rows of 1024 from 0.86 of
// reading to 0.93 and 0.94, of 3072 0.81 and 0.87.
template <class F>
class Ahead {
 public:
  HEED_INLINE Ahead(const BlockPanel& p, const BlockRows& r, int64_t begin)
      : next_(r.row[0] + F::place(kLanes * p.w_stride) + kLanes * F::place(begin)) {}
  HEED_INLINE void fetch(int at) const {
    const uint8_t* from = next_ + at / F::kSpan * kSpanBytes;
#pragma GCC unroll 32
    for (int line = 0; line < kSpanBytes; line += kLine) {
      __builtin_prefetch(from + line);
      __builtin_prefetch(from + line - kAgain);
      if constexpr (F::kWide) __builtin_prefetch(from + line - 3 * kAgain);
    }
  }

 private:
  static constexpr int kSpanBytes = kLanes * F::kSpan * F::kBytes / F::kBlock;  // of all columns
  static constexpr int kAgain = kSpanBytes * 128 / F::kSpan;
  const uint8_t* next_;
};

template <class K, int R>
HEED_INLINE void begin_rows(const BlockPanel& p, int64_t row, InputRow (&x)[R], Vec (&sums)[R]) {
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    x[i] = input_row<K>(p, row + i);
    sums[i] = zero();
  }
}

// One or two rows of x: the columns from `col` on straight from memory.
template <class F, int R>
void direct_tile(const BlockPanel& p, int64_t col) {
  const BlockRows r = rows_of<F>(p, col);
  InputRow x[R];
  Vec sums[R];
  begin_rows<KindOf<F>>(p, 0, x, sums);
  ChunkScales scales;
  for (int64_t begin = 0; begin < p.in; begin += F::kBlock) {
    const Ahead<F> ahead(p, r, begin);
    F::scales(r, begin, F::kBlock / F::kGroup, scales);
    for (int at = 0; at < F::kBlock; at += F::kSpan) {
      ahead.fetch(at);
      Bytes w[F::kSpan / 4];
      F::codes(r, begin + at, w);
#pragma GCC unroll 8
      for (int g = 0; g < F::kSpan; g += F::kGroup) {
        const int group = (at + g) / F::kGroup;
        add_group<KindOf<F>, R>(w + g / 4, scales.scales[group], scales.offsets[group], x, begin + at + g,
                                sums);
      }
    }
  }
  finish(p, 0, col, sums);
}

// Where codes and scales of kLanes columns lie once they are unpacked.
struct Unpacked {
  uint8_t* codes;  // [elements / 4] words
  float* scales;   // [groups][kLanes]
  float* offsets;
};

// Elements [begin, begin + count) of the columns from `col` on, at most kSuperBlock.
template <class F>
void unpack(const BlockPanel& p, int64_t col, int64_t begin, int count, const Unpacked& out) {
  const BlockRows r = rows_of<F>(p, col);
  ChunkScales scales;
  const int groups = count / F::kGroup;
  const Ahead<F> ahead(p, r, begin);
  F::scales(r, begin, groups, scales);
  memcpy(out.scales, scales.scales, sizeof(float) * kLanes * static_cast<size_t>(groups));
  if constexpr (F::kOffsets)
    memcpy(out.offsets, scales.offsets, sizeof(float) * kLanes * static_cast<size_t>(groups));
  for (int at = 0; at < count; at += F::kSpan) {
    ahead.fetch(at);
    Bytes w[F::kSpan / 4];
    F::codes(r, begin + at, w);
#pragma GCC unroll 32
    for (int j = 0; j < F::kSpan / 4; ++j) store_bytes(out.codes + (at + 4 * j) * kLanes, w[j]);
  }
}
using Unpack = void (*)(const BlockPanel& p, int64_t col, int64_t begin, int count, const Unpacked& out);

// Elements [begin, end), which lie at the beginning of `from`.
template <class K, int R>
HEED_INLINE void add_unpacked(const Unpacked& from, int64_t begin, int64_t end, const InputRow (&x)[R],
                              Vec (&sums)[R]) {
  for (int64_t at = 0; at < end - begin; at += K::kGroup) {
    Bytes w[K::kGroup / 4];
#pragma GCC unroll 8
    for (int j = 0; j < K::kGroup / 4; ++j) w[j] = load_bytes(from.codes + (at + 4 * j) * kLanes);
    const int64_t scales = at / K::kGroup * kLanes;
    add_group<K, R>(w, from.scales + scales, from.offsets + scales, x, begin + at, sums);
  }
}

// Where all of a column tile's codes and scales go that many rows use.
template <class K>
HEED_INLINE Unpacked unpack_all(const BlockPanel& p, int64_t col, Unpack read) {
  Unpacked all;
  all.codes = static_cast<uint8_t*>(p.scratch);
  all.scales = static_cast<float*>(static_cast<void*>(all.codes + p.in * kLanes));
  all.offsets = all.scales + p.in / K::kGroup * kLanes;
  for (int64_t begin = 0; begin < p.in; begin += kSuperBlock) {
    const int64_t group = begin / K::kGroup * kLanes;
    read(p, col, begin, smaller_of(p.in - begin, kSuperBlock),
         {all.codes + begin * kLanes, all.scales + group, all.offsets + group});
  }
  return all;
}

template <class K, int R>
void unpacked_tile(const BlockPanel& p, int64_t row, int64_t col, const Unpacked& from) {
  InputRow x[R];
  Vec sums[R];
  begin_rows<K>(p, row, x, sums);
  add_unpacked<K, R>(from, 0, p.in, x, sums);
  finish(p, row, col, sums);
}

#if defined(__AMX_INT8__)
constexpr int kRows = kTileRows;

HEED_INLINE ColumnCodes codes_of(const Unpacked& from) { return {from.codes, from.scales, from.offsets}; }

HEED_INLINE void finish(const BlockPanel& p, int64_t row, int rows, int64_t col, const TileSums& sums) {
  for (int r = 0; r < rows; ++r) finish_row(p, row + r, col, load(sums.rows[r]));
}

// A few rows: a stretch of the columns is unpacked into the nearest cache, and used by all rows.
template <class K>
void few_rows(const BlockPanel& p, Unpack read) {
  alignas(64) uint8_t codes[kSuperBlock * kLanes];
  ChunkScales scales;
  const Unpacked chunk = {codes, scales.scales[0], scales.offsets[0]};
  const int rows = static_cast<int>(p.rows);
  begin_tiles(rows, K::kGroup);
  for (int64_t col = 0; col < p.cols; col += kLanes) {
    TileSums sums = {};
    for (int64_t begin = 0; begin < p.in; begin += kSuperBlock) {
      const int count = smaller_of(p.in - begin, kSuperBlock);
      read(p, col, begin, count, chunk);
      add_tiles<K>(p, 0, rows, codes_of(chunk), begin, begin + count, sums);
    }
    finish(p, 0, rows, col, sums);
  }
  _tile_release();
}

template <class K>
void many_rows(const BlockPanel& p, Unpack read) {
  for (int64_t col = 0; col < p.cols; col += kLanes) {
    const Unpacked all = unpack_all<K>(p, col, read);
    for (int64_t row = 0; row < p.rows; row += kRows) {
      const int rows = smaller_of(p.rows - row, kRows);
      if constexpr (K::kGroup < 32) {  // tiles a quarter full are slower
        if (rows == kRows) {
          unpacked_tile<K, kRows / 2>(p, row, col, all);
          unpacked_tile<K, kRows / 2>(p, row + kRows / 2, col, all);
          continue;
        }
      }
      if (row == 0 || rows < kRows) begin_tiles(rows, K::kGroup);
      TileSums sums = {};
      add_tiles<K>(p, row, rows, codes_of(all), 0, p.in, sums);
      finish(p, row, rows, col, sums);
    }
  }
  _tile_release();
}
#else
#if defined(__AVX512F__) && !defined(HEED_SANITIZED)  // there they take minutes to compile
constexpr int kRows = 8;  // as many integer sums as float ones, and the words of a group
#else
constexpr int kRows = 4;
#endif

// A few rows: a stretch of the columns is unpacked into the nearest cache, and used by all rows.
template <class K, int R>
void chunked_tile(const BlockPanel& p, int64_t col, Unpack read) {
  InputRow x[R];
  Vec sums[R];
  begin_rows<K>(p, 0, x, sums);
  alignas(64) uint8_t codes[kSuperBlock * kLanes];
  ChunkScales scales;
  const Unpacked chunk = {codes, scales.scales[0], scales.offsets[0]};
  for (int64_t begin = 0; begin < p.in; begin += kSuperBlock) {
    const int count = smaller_of(p.in - begin, kSuperBlock);
    read(p, col, begin, count, chunk);
    add_unpacked<K, R>(chunk, begin, begin + count, x, sums);
  }
  finish(p, 0, col, sums);
}

// The last rows of a panel, fewer than kRows.
template <class K, int R>
void last_rows(const BlockPanel& p, int64_t row, int64_t col, const Unpacked& from) {
  if constexpr (R > 0) {
    if (p.rows - row == R) {
      unpacked_tile<K, R>(p, row, col, from);
    } else {
      last_rows<K, R - 1>(p, row, col, from);
    }
  }
}

template <class K, int R>
void few_rows(const BlockPanel& p, Unpack read) {
  if constexpr (R > 2) {
    if (p.rows == R) {
      for (int64_t col = 0; col < p.cols; col += kLanes) chunked_tile<K, R>(p, col, read);
    } else {
      few_rows<K, R - 1>(p, read);
    }
  }
}

template <class K>
void many_rows(const BlockPanel& p, Unpack read) {
  for (int64_t col = 0; col < p.cols; col += kLanes) {
    const Unpacked all = unpack_all<K>(p, col, read);
    int64_t row = 0;
    for (; row + kRows <= p.rows; row += kRows) unpacked_tile<K, kRows>(p, row, col, all);
    last_rows<K, kRows - 1>(p, row, col, all);
  }
}

template <class K>
void few_rows(const BlockPanel& p, Unpack read) {
  few_rows<K, kRows>(p, read);
}
#endif

template <class F>
void panel_of(const BlockPanel& p) {
  if (p.rows > kRows) return many_rows<KindOf<F>>(p, unpack<F>);
  if (p.rows > 2) return few_rows<KindOf<F>>(p, unpack<F>);
  for (int64_t col = 0; col < p.cols; col += kLanes) {
    if (p.rows == 1) {
      direct_tile<F, 1>(p, col);
    } else {
      direct_tile<F, 2>(p, col);
    }
  }
}

int64_t scratch(int64_t rows, int64_t in) {
  if (rows <= kRows) return 0;
  return in * kLanes + 2 * (in / 16) * kLanes * static_cast<int64_t>(sizeof(float));
}

struct Traits {
  int group, bias;
};
template <class F>
constexpr Traits traits_of() {
  return {F::kGroup, F::kBias};
}

#define HEED_FORMAT(dtype, format, call) \
  case DType::dtype:                     \
    return call<format>
#define HEED_FORMATS(call, ...)                  \
  HEED_FORMAT(kQ40, Q40, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ41, Q41, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ50, Q50, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ51, Q51, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ80, Q80, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ2K, Q2K, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ3K, Q3K, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ4K, Q4K, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ5K, Q5K, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ6K, Q6K, call)(__VA_ARGS__);     \
  HEED_FORMAT(kIq4Nl, Iq4Nl, call)(__VA_ARGS__); \
  HEED_FORMAT(kMxfp4, Mxfp4, call)(__VA_ARGS__); \
  HEED_FORMAT(kQ4Z, Q4Z, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ8F, Q8F, call)(__VA_ARGS__);     \
  HEED_FORMAT(kQ8Z, Q8Z, call)(__VA_ARGS__)

Traits traits(DType weight) {
  switch (weight) {
    HEED_FORMATS(traits_of, );
    default:
      return {kRoundedRun, 0};
  }
}

void panel(const BlockPanel& p) {
  switch (p.dtype) {
    HEED_FORMATS(panel_of, p);
    default:
      return;
  }
}

// tensor/blocks.h: round_group, with the same operations. Returns the scale.
template <class T>
HEED_INLINE float round_run(const T* x, int8_t* codes) {
  Vec largest_of = zero();
  Vec odd = zero();  // NaN where an element is not finite
  for (int i = 0; i < kRoundedRun; i += kLanes) {
    const Vec value = load(x + i);
    largest_of = max(magnitude(value), largest_of);
    odd = fma(value, zero(), odd);
  }
  const float most = largest(largest_of);
  const float not_finite = sum(odd);
  const bool usable = not_finite == 0 && most >= 1e-30F;
  const Vec inverse = set(usable ? 127 / most : 0);
  float nearby[kRoundedRun];
  for (int i = 0; i < kRoundedRun; i += kLanes) store(nearby + i, nearest(load(x + i) * inverse));
  for (int i = 0; i < kRoundedRun; ++i) codes[i] = usable ? static_cast<int8_t>(nearby[i]) : int8_t{0};
  if (not_finite != 0) return not_finite;
  return usable ? most / 127 : 0;
}

template <class T>
HEED_INLINE void round_row(const T* x, int64_t in, const Traits& t, int64_t row, const RoundedRows& out) {
  int8_t* codes = out.codes + row * in;
  float* scales = out.scales + row * (in / kRoundedRun);
  for (int64_t i = 0; i < in; i += kRoundedRun) scales[i / kRoundedRun] = round_run(x + i, codes + i);
  const int64_t groups = in / t.group;
  for (int64_t g = 0; g < groups; ++g) {
    int32_t total = 0;
    for (int i = 0; i < t.group; ++i) total += codes[g * t.group + i];
    out.starts[row * groups + g] = -t.bias * total;
    out.sums[row * groups + g] = scales[g * t.group / kRoundedRun] * static_cast<float>(total);
  }
}

void round_x(const void* x, DType dtype, int64_t in, DType weight, int64_t row, const RoundedRows& out) {
  const Traits t = traits(weight);
  if (dtype == DType::kBF16) {
    round_row(static_cast<const bf16*>(x), in, t, row, out);
  } else {
    round_row(static_cast<const float*>(x), in, t, row, out);
  }
}

}  // namespace

namespace cpu {
const BlockTable HEED_TABLE(blocks) = {
    .tile_cols = kLanes,
    .tile_rows = kRows,
    .scratch = scratch,
    .round = round_x,
    .panel = panel,
};
}  // namespace cpu
}  // namespace heed
