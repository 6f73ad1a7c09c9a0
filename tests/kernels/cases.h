// The cases of every op, and the memory they need: one table for tests of every backend.
//
// A problem owns its tensors and builds the op's arguments from a case and a seed. What an op must not read
// is NaN: the padding of rows, cache slots that no row sees; table entries of blocks that no row sees are -1.
#pragma once
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace heed::cases {

class Random {
 public:
  explicit Random(unsigned seed) : generator_(seed) {}
  float uniform(float lo, float hi) { return std::uniform_real_distribution<float>(lo, hi)(generator_); }
  int below(int n) { return static_cast<int>(generator_() % static_cast<unsigned>(n)); }

 private:
  std::mt19937 generator_;
};

inline float read(const Tensor& t, int64_t offset) {
  switch (t.dtype) {
    case DType::kBF16:
      return to_float(t.as<const bf16>()[offset]);
    case DType::kF16:
      return to_float(t.as<const f16>()[offset]);
    case DType::kI8:
      return t.as<const int8_t>()[offset];
    case DType::kE4M3:
      return to_float(t.as<const e4m3>()[offset]);
    default: {
      float value;
      std::memcpy(&value, t.as<const char>() + 4 * offset, 4);  // weights may lie at odd addresses
      return value;
    }
  }
}

inline f16 to_f16(float value) {  // for |value| in [2^-14, 65504), truncated; smaller ones become 0
  const auto bits = std::bit_cast<uint32_t>(value);
  const int exponent = static_cast<int>((bits >> 23) & 255U) - 112;
  const uint32_t sign = (bits >> 16) & 0x8000U;
  if (exponent < 1) return {static_cast<uint16_t>(sign)};
  return {static_cast<uint16_t>(sign | (static_cast<uint32_t>(exponent) << 10) | ((bits >> 13) & 1023U))};
}

inline void write(const Tensor& t, int64_t offset, float value) {
  switch (t.dtype) {
    case DType::kBF16:
      t.as<bf16>()[offset] = from_float<bf16>(value);
      break;
    case DType::kF16:
      t.as<f16>()[offset] = std::isnan(value) ? f16{0x7e00} : to_f16(value);
      break;
    case DType::kI8:  // has no NaN; the scales have
      t.as<int8_t>()[offset] = static_cast<int8_t>(std::isnan(value) ? 99 : value);
      break;
    case DType::kE4M3:
      t.as<e4m3>()[offset] = from_float<e4m3>(value);
      break;
    default:
      std::memcpy(t.as<char>() + 4 * offset, &value, 4);
  }
}

inline void for_each(const Tensor& t, const std::function<void(int64_t)>& body) {
  std::array<int64_t, Tensor::kMaxRank> size = {1, 1, 1, 1};
  std::array<int64_t, Tensor::kMaxRank> stride = {0, 0, 0, 0};
  for (int i = 0; i < t.rank; ++i) {
    size[i] = t.size[i];
    stride[i] = t.stride[i];
  }
  for (int64_t a = 0; a < size[0]; ++a) {
    for (int64_t b = 0; b < size[1]; ++b) {
      for (int64_t c = 0; c < size[2]; ++c) {
        for (int64_t d = 0; d < size[3]; ++d) {
          body(a * stride[0] + b * stride[1] + c * stride[2] + d * stride[3]);
        }
      }
    }
  }
}

// A tensor with its memory: rows `pad` elements apart from each other, everything NaN, `shift` bytes from
// alignment.
struct Array {
  Array() = default;
  Array(DType dtype, std::initializer_list<int64_t> sizes, int64_t pad = 0, int64_t shift = 0)
      : t(nullptr, dtype, sizes) {
    int64_t step = 1;
    for (int i = t.rank - 1; i >= 0; --i) {
      t.stride[i] = step;
      step *= t.size[i];
      if (i == t.rank - 1) step += pad;
    }
    memory.resize(static_cast<size_t>(step * size_of(dtype) + shift + 64));
    t.data = memory.data() + shift;
    for (int64_t i = 0; i < step; ++i) write(t, i, std::numeric_limits<float>::quiet_NaN());
  }
  Array& fill(Random& random, float lo = -1, float hi = 1) {
    for_each(t, [&](int64_t at) { write(t, at, random.uniform(lo, hi)); });
    return *this;
  }
  std::vector<float> values() const {
    std::vector<float> all;
    for_each(t, [&](int64_t at) { all.push_back(read(t, at)); });
    return all;
  }
  std::vector<char> memory;
  Tensor t;
};

// ---- linear ----

struct LinearCase {
  int64_t tokens, in, out;
  DType x = DType::kF32, weight = DType::kF32;
  bool bias = false, accumulate = false;
  int64_t pad = 0, shift = 0;  // elements between rows; bytes that the weights are off alignment
};

inline std::vector<LinearCase> linear_cases() {
  std::vector<LinearCase> all;
  const std::pair<DType, DType> types[] = {{DType::kF32, DType::kF32},
                                           {DType::kF32, DType::kBF16},
                                           {DType::kF32, DType::kF16},
                                           {DType::kBF16, DType::kBF16}};
  for (const auto& [x, w] : types) {
    all.insert(all.end(), {{1, 1, 1, x, w},
                           {1, 64, 17, x, w, true},
                           {2, 7, 3, x, w, false, true},
                           {3, 33, 5, x, w, true, true, 3},
                           {5, 100, 130, x, w, true, false, 5, 2},
                           {6, 31, 4, x, w},
                           {7, 129, 66, x, w, false, true, 0, 6},
                           {13, 256, 33, x, w, true, false, 8},
                           {50, 65, 40, x, w},
                           {0, 16, 16, x, w},
                           {97, 320, 210, x, w, true, true},
                           {17, 544, 20, x, w, false, true, 2},
                           {130, 96, 8, x, w, true},            // few columns: rows are cut
                           {500, 544, 5, x, w, true, false}});  // more than a cache holds at once
  }
  return all;
}

struct LinearProblem {
  LinearProblem(const LinearCase& c, unsigned seed)
      : x(c.x, {c.tokens, c.in}, c.pad),
        weight(c.weight, {c.out, c.in}, c.pad, c.shift),
        bias(DType::kF32, {c.out}),
        out(DType::kF32, {c.tokens, c.out}, c.pad) {
    Random random(seed);
    x.fill(random);
    weight.fill(random);
    bias.fill(random);
    if (c.accumulate) out.fill(random);
    args = {.x = x.t,
            .weight = weight.t,
            .bias = c.bias ? bias.t : Tensor(),
            .accumulate = c.accumulate,
            .out = out.t};
  }
  Array x, weight, bias, out;
  LinearArgs args;
};

// ---- attention ----

struct SequenceCase {
  int past = 0, tokens = 1;  // keys in the cache before this call's tokens, and these
  int prefix = 0;
  std::vector<Span> media = {};
};

struct AttentionCase {
  std::string name = {};
  Mask mask = causal();
  std::vector<SequenceCase> sequences = {};
  int heads = 4, kv_heads = 2, head_dim = 32, v_dim = 32, block = 16;
  DType kv = DType::kF32, out = DType::kF32;
  float softcap = 0;
  bool sink_logits = false;
  int empty_rows = 0;   // the first rows of each sequence see nothing
  int64_t pad = 0;      // elements between rows of q, the cache and the output
  bool v_in_k = false;  // values are the first v_dim elements of each key
  // Of a cache of fp8: its scales.
  enum Scales : unsigned char { kNone, kOfTensor, kOfHeads } scales = kNone;
};

inline std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> all = {
      {"one token, one key", causal(), {{0, 1}}},
      {"one token at a block's edge", causal(), {{15, 1}, {16, 1}, {63, 1}, {64, 1}, {65, 1}}},
      {"whole prefill", causal(), {{0, 150}}},
      {"chunk of a prefill", causal(), {{70, 61}}, 6, 2, 64, 64, 32},
      {"ragged batch of prefills and decodes",
       causal(),
       {{0, 33}, {200, 1}, {64, 7}, {0, 1}, {511, 2}, {5, 0}, {699, 1}}},
      {"window", causal() & window(20), {{0, 130}, {300, 5}, {640, 1}}},
      {"window of one key", causal() & window(1), {{0, 20}, {70, 3}}},
      {"chunked", causal() & chunk(32), {{0, 140}, {333, 4}}},
      {"chunked with lookback", causal() & chunk(24, 2), {{0, 140}, {400, 9}}},
      {"bidirectional", full(), {{0, 75}, {0, 1}, {0, 64}}},
      {"bidirectional window", full() & around(9, 5), {{0, 140}}},
      {"media", causal() | media(), {{0, 120, 0, {{3, 40}, {60, 100}}}}},
      {"media on a sliding layer", (causal() & window(16)) | media(), {{0, 120, 0, {{3, 40}, {60, 100}}}}},
      {"window over media", (causal() | media()) & window(30), {{0, 120, 0, {{3, 40}, {60, 100}}}}},
      {"prefix", causal() | prefix(), {{0, 90, 40}, {60, 10, 60}}},
      {"window with sinks", (causal() & window(18)).with_sinks(4), {{0, 130}, {400, 6}, {650, 1}}},
      {"more sinks than a block", (causal() & window(8)).with_sinks(70), {{0, 160}, {300, 3}}},
      {"sink logits", causal(), {{0, 70}, {90, 1}}, 8, 2, 64, 64, 16, DType::kF32, DType::kF32, 0, true},
      {"softcap", causal(), {{0, 70}, {90, 1}}, 4, 4, 64, 64, 16, DType::kF32, DType::kF32, 5},
      {"empty rows", causal(), {{0, 20}, {64, 9}}, 4, 2, 32, 32, 16, DType::kF32, DType::kF32, 0, true, 7},
      {"only empty rows", causal(), {{0, 5}}, 4, 2, 32, 32, 16, DType::kF32, DType::kF32, 0, false, 5},
      {"strides everywhere",
       causal(),
       {{0, 40}, {100, 3}},
       4,
       2,
       40,
       24,
       16,
       DType::kBF16,
       DType::kF32,
       0,
       false,
       0,
       7},
      {"long context in parts", causal(), {{2100, 3}, {1020, 9}}, 4, 2, 16, 16},
      {"long context, window across parts", causal() & window(300), {{1200, 5}, {2040, 20}}, 4, 1, 16, 16},
      {"long context with sinks",
       (causal() & window(40)).with_sinks(5),
       {{2200, 5}, {1020, 20}},
       4,
       1,
       16,
       16},
  };
  const std::pair<int, int> dims[] = {{16, 16},   {24, 24},   {72, 72},   {80, 80},
                                      {128, 128}, {256, 256}, {512, 512}, {96, 64}};
  for (const auto& [head_dim, v_dim] : dims) {
    for (const DType kv : {DType::kF32, DType::kBF16}) {
      const std::string name = "head_dim " + std::to_string(head_dim) + " " + std::string(name_of(kv));
      all.push_back({name, causal(), {{0, 30}, {90, 1}, {50, 8}}, 4, 2, head_dim, v_dim, 16, kv});
    }
  }
  for (const DType kv : {DType::kF32, DType::kBF16}) {
    AttentionCase latent = {"values within keys " + std::string(name_of(kv)), causal(), {{0, 70}, {90, 1}}};
    latent.heads = 16;
    latent.kv_heads = 1;
    latent.head_dim = 576;
    latent.v_dim = 512;
    latent.kv = kv;
    latent.pad = 64;
    latent.v_in_k = true;
    all.push_back(latent);
  }
  const std::pair<int, int> groups[] = {{1, 1}, {7, 7}, {3, 1}, {5, 1}, {16, 1}, {16, 2}, {70, 1}};
  for (const auto& [heads, kv_heads] : groups) {
    const std::string name = std::to_string(heads) + " heads over " + std::to_string(kv_heads);
    all.push_back({name,
                   causal() & window(50),
                   {{0, 70}, {120, 1}},
                   heads,
                   kv_heads,
                   64,
                   64,
                   32,
                   DType::kBF16,
                   DType::kBF16});
  }
  for (const int block : {1, 7, 16, 32, 48, 128}) {
    all.push_back(
        {"block " + std::to_string(block), causal() & window(90), {{0, 100}, {250, 2}}, 4, 2, 32, 48, block});
  }
  return all;
}

// With a cache of int8, which not every backend has.
inline std::vector<AttentionCase> int8_attention_cases() {
  std::vector<AttentionCase> all = {
      {"int8, ragged batch", causal(), {{0, 33}, {200, 1}, {64, 7}, {0, 1}, {511, 2}, {5, 0}, {699, 1}}},
      {"int8, window with sinks", (causal() & window(18)).with_sinks(4), {{0, 130}, {400, 6}, {650, 1}}},
      {"int8, strides and a ragged head", causal() & window(90), {{0, 100}, {250, 2}}, 6, 2, 40, 24, 7},
      {"int8, many parts", causal(), {{1100, 3}, {1020, 9}}, 8, 1, 128, 128, 16}};
  all[2].pad = 5;
  for (AttentionCase& c : all) c.kv = DType::kI8;
  return all;
}

// With a cache of fp8 and all kinds of scales.
inline std::vector<AttentionCase> fp8_attention_cases() {
  std::vector<AttentionCase> all = {
      {"fp8, ragged batch", causal(), {{0, 33}, {200, 1}, {64, 7}, {0, 1}, {511, 2}, {5, 0}, {699, 1}}},
      {"fp8, window with sinks", (causal() & window(18)).with_sinks(4), {{0, 130}, {400, 6}, {650, 1}}},
      {"fp8, strides and a ragged head", causal() & window(90), {{0, 100}, {250, 2}}, 6, 2, 40, 24, 7},
      {"fp8, many parts", causal(), {{1100, 3}, {1020, 9}}, 8, 1, 128, 128, 16},
      {"fp8, softcap and sink logits", causal(), {{0, 70}, {90, 1}}, 8, 4, 64, 48, 16}};
  all[2].pad = 5;
  all[4].softcap = 5;
  all[4].sink_logits = true;
  const std::vector<AttentionCase> again = all;
  all.insert(all.end(), again.begin(), again.end());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].kv = DType::kE4M3;
    all[i].scales = static_cast<AttentionCase::Scales>(i % 3);
  }
  return all;
}

struct AttentionProblem {
  AttentionProblem(const AttentionCase& c, unsigned seed) : random(seed) {
    seq_start = {0};
    for (const SequenceCase& s : c.sequences) seq_start.push_back(seq_start.back() + s.tokens);
    const int64_t tokens = seq_start.back();
    q = Array(DType::kF32, {tokens, c.heads, c.head_dim}, c.pad);
    q.fill(random, -2, 2);
    out = Array(c.out, {tokens, c.heads, c.v_dim}, c.pad);
    sink_logits.resize(static_cast<size_t>(c.heads));
    for (float& logit : sink_logits) logit = random.uniform(-2, 2);
    place(c);
    args = {.q = q.t,
            .kv = {.k = k.t,
                   .v = v.t,
                   .k_scale = k_scale.t,
                   .v_scale = v_scale.t,
                   .table = table.data(),
                   .table_stride = table_stride},
            .seq_start = seq_start.data(),
            .sequences = static_cast<int>(c.sequences.size()),
            .rows = rows.data(),
            .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
            .softcap = c.softcap,
            .sink_logits = c.sink_logits ? sink_logits.data() : nullptr,
            .out = out.t};
  }

  Random random;
  Array q, k, v, k_scale, v_scale, out;
  std::vector<int32_t> seq_start, table;
  std::vector<RowMask> rows;
  std::vector<float> sink_logits;
  int64_t table_stride = 1;
  AttentionArgs args;

 private:
  // Rows, then a cache in which exactly the keys that some row sees are written, in shuffled blocks.
  void place(const AttentionCase& c) {
    std::vector<std::vector<bool>> seen;
    for (const SequenceCase& s : c.sequences) {
      const SeqFacts facts = {s.past + s.tokens, s.prefix, s.media.data(), static_cast<int>(s.media.size())};
      seen.emplace_back(static_cast<size_t>(facts.length), false);
      for (int i = 0; i < s.tokens; ++i) {
        rows.push_back(i < c.empty_rows ? RowMask{0, 0, 0} : row_of(c.mask, facts, s.past + i));
        for (int key = 0; key < facts.length; ++key) {
          if (sees(rows.back(), key)) seen.back()[static_cast<size_t>(key)] = true;
        }
      }
      table_stride = std::max<int64_t>(table_stride, (facts.length + c.block - 1) / c.block);
    }
    std::vector<int32_t> free(seen.size() * static_cast<size_t>(table_stride));
    for (size_t i = 0; i < free.size(); ++i) free[i] = static_cast<int32_t>(i);
    for (size_t i = free.size(); i > 1; --i)
      std::swap(free[i - 1], free[static_cast<size_t>(random.below(static_cast<int>(i)))]);
    const auto blocks = static_cast<int64_t>(free.size());
    k = Array(c.kv, {blocks, c.kv_heads, c.block, c.head_dim}, c.pad);
    v = Array(c.kv, {blocks, c.kv_heads, c.block, c.v_dim}, c.pad);
    if (c.kv == DType::kI8) {
      k_scale = Array(DType::kF32, {blocks, c.kv_heads, c.block});
      v_scale = Array(DType::kF32, {blocks, c.kv_heads, c.block});
    }
    if (c.scales != AttentionCase::kNone) make_scales(c);
    if (c.v_in_k) {
      v.t = k.t;
      v.t.size[3] = c.v_dim;
    }
    table.assign(free.size(), -1);
    for (size_t s = 0; s < seen.size(); ++s) {
      for (size_t key = 0; key < seen[s].size(); ++key) {
        if (!seen[s][key]) continue;
        int32_t& block = table[s * static_cast<size_t>(table_stride) + key / static_cast<size_t>(c.block)];
        if (block < 0) {
          block = free.back();
          free.pop_back();
        }
        write_key(block, static_cast<int64_t>(key) % c.block);
      }
    }
  }
  void make_scales(const AttentionCase& c) {
    k_scale = Array(DType::kF32, {c.kv_heads}).fill(random, 0.006F, 0.012F);
    v_scale = c.v_in_k ? k_scale : Array(DType::kF32, {c.kv_heads}).fill(random, 0.006F, 0.012F);
    for (Array* scale : {&k_scale, &v_scale}) {
      scale->t.data = scale->memory.data();
      for (int64_t h = 0; c.scales == AttentionCase::kOfTensor && h < c.kv_heads; ++h)
        write(scale->t, h, read(scale->t, 0));
    }
  }
  void write_key(int64_t block, int64_t row) {
    const bool codes = k.t.dtype == DType::kI8;
    for (const Tensor& t : {v_scale.t, k_scale.t}) {
      for (int64_t h = 0; codes && h < t.size[1]; ++h) {
        write(t, block * t.stride[0] + h * t.stride[1] + row, random.uniform(0.004F, 0.016F));
      }
    }
    const float most = codes ? 127 : k_scale.t.defined() ? 200 : 2;
    for (const Tensor& t : {v.t, k.t}) {
      for (int64_t h = 0; h < t.size[1]; ++h) {
        for (int64_t i = 0; i < t.size[3]; ++i) {
          write(t, block * t.stride[0] + h * t.stride[1] + row * t.stride[2] + i,
                random.uniform(-most, most));
        }
      }
    }
  }
};

// Rows to write to a cache of fp8: ties, numbers out of range and what is none among them. Keys have scales.
struct Fp8Rows {
  Fp8Rows() : k(DType::kF32, {6, 2, 37}, 3), v(DType::kF32, {6, 2, 24}, 3), scales(DType::kF32, {2}) {
    Random random(53);
    k.fill(random, -3, 3);
    v.fill(random, -500, 500);
    write(scales.t, 0, 0.75F);
    write(scales.t, 1, 0.031F);
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float specials[] = {std::numeric_limits<float>::quiet_NaN(),
                              kInfinity,
                              -kInfinity,
                              464,
                              -1e30F,
                              -0.0F,
                              1.0625F,
                              1.1875F,
                              0x1p-10F,
                              -0x3p-10F,
                              0x1p-11F,
                              1e-40F};
    for (int64_t i = 0; i < std::ssize(specials); ++i) {
      write(v.t, i, specials[i]);
      write(k.t, i, specials[i]);
    }
  }
  Array cache(int64_t dim) const { return Array(DType::kE4M3, {2, 2, 16, dim}, 3); }
  Array k, v, scales;
  std::vector<int64_t> slots = {5, 17, 16, 31, -1, 0};
};

// ---- ops that treat rows by themselves ----

struct RowCase {
  int64_t rows, dim, heads = 0;  // heads: 0 for rank 2
  int64_t pad = 0;
  DType dtype = DType::kF32;  // of the table (embed) or output (rms_norm, gated_act)
  bool accumulate = false;
};

inline std::vector<RowCase> row_cases() {
  return {{1, 1},
          {1, 1024},
          {3, 17, 0, 3},
          {5, 64, 0, 0, DType::kBF16},
          {4, 100, 0, 5, DType::kBF16},
          {2, 48, 3, 4},
          {7, 128, 2, 0, DType::kBF16},
          {33, 515, 0, 1},
          {0, 32},
          {9, 96, 0, 2, DType::kF32, true},
          {6, 40, 5, 3, DType::kF32, true},
          {200, 640}};
}

inline Array row_array(const RowCase& c, DType dtype = DType::kF32) {
  if (c.heads == 0) return Array(dtype, {c.rows, c.dim}, c.pad);
  return Array(dtype, {c.rows, c.heads, c.dim}, c.pad);
}

inline constexpr Act kActs[] = {Act::kSilu, Act::kGelu,    Act::kGeluTanh,
                                Act::kRelu, Act::kSigmoid, Act::kClampedSwiglu};

}  // namespace heed::cases
