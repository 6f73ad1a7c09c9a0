// Cases of the ops that are made of others: linears and finish_heads.
#pragma once
#include <numeric>

#include "tests/kernels/cases.h"

namespace heed::cases {

struct LinearsCase {
  int64_t tokens, in;
  std::vector<int64_t> outs;
  bool normalise = false, weighted = true;  // weighted: the norm has a weight
  bool gated = false, bias = false, accumulate = false;
  DType x = DType::kBF16, weight = DType::kBF16, inner = DType::kBF16;
  int64_t pad = 0;
  Act act = Act::kSilu;
  bool joined = false;  // weights lie one behind the other and outputs side by side
};

inline std::vector<LinearsCase> linears_cases() {
  std::vector<LinearsCase> all;
  for (const int64_t tokens : {1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33}) {
    all.insert(all.end(),
               {{.tokens = tokens, .in = 64, .outs = {40, 8, 17}, .normalise = true},
                {.tokens = tokens, .in = 320, .outs = {100, 100}, .normalise = true, .gated = true},
                {.tokens = tokens, .in = 96, .outs = {33}, .bias = true, .accumulate = true}});
  }
  all.insert(all.end(),
             {{.tokens = 2, .in = 1056, .outs = {24}, .normalise = true, .weighted = false},
              {.tokens = 3, .in = 2080, .outs = {19, 5}, .normalise = true},
              {.tokens = 5, .in = 2048, .outs = {31, 31}, .gated = true, .bias = true, .inner = DType::kF32},
              {.tokens = 20, .in = 4160, .outs = {18}, .accumulate = true},
              {.tokens = 17, .in = 1024, .outs = {300, 130, 64}},
              {.tokens = 32, .in = 2048, .outs = {530}, .bias = true, .pad = 8},
              {.tokens = 33, .in = 576, .outs = {129, 5}},
              {.tokens = 47, .in = 1152, .outs = {70, 70}, .gated = true, .bias = true, .inner = DType::kF32},
              {.tokens = 64, .in = 512, .outs = {2500}, .bias = true},
              {.tokens = 2, .in = 40, .outs = {9, 9}, .normalise = true, .gated = true, .pad = 3},
              {.tokens = 6, .in = 128, .outs = {16, 24}, .normalise = true, .pad = 8},
              {.tokens = 3,
               .in = 64,
               .outs = {10, 10},
               .normalise = true,
               .gated = true,
               .x = DType::kF32,
               .inner = DType::kF32},
              {.tokens = 3, .in = 31, .outs = {10}, .bias = true, .x = DType::kF32, .weight = DType::kF32},
              {.tokens = 40, .in = 64, .outs = {24, 8, 16}, .normalise = true, .joined = true},
              {.tokens = 40, .in = 64, .outs = {24, 24}, .gated = true, .inner = DType::kF32, .joined = true},
              {.tokens = 3, .in = 64, .outs = {24, 8, 16}, .accumulate = true, .joined = true},
              {.tokens = 0, .in = 64, .outs = {8, 8}, .normalise = true, .gated = true}});
  for (const Act act :
       {Act::kSilu, Act::kGelu, Act::kGeluTanh, Act::kRelu, Act::kSigmoid, Act::kClampedSwiglu})
    all.push_back({.tokens = 2, .in = 64, .outs = {20, 20}, .gated = true, .inner = DType::kF32, .act = act});
  return all;
}

inline std::string name_of(const LinearsCase& c) {
  return std::to_string(c.tokens) + "x" + std::to_string(c.in) + (c.normalise ? " normalised" : "") +
         (c.gated ? " gated" : "") + " " + std::string(heed::name_of(c.x));
}

// Everything that one call reads and writes; `move` puts arrays where another device reads them.
struct LinearsProblem {
  LinearsProblem(const LinearsCase& c, unsigned seed)
      : x(c.normalise ? DType::kF32 : c.x, {c.tokens, c.in}, c.pad),
        h(c.x, {c.tokens, c.in}, c.pad),
        norm(DType::kF32, {c.in}) {
    Random random(seed);
    x.fill(random);
    norm.fill(random, 0.5F, 1.5F);
    const int64_t all = std::accumulate(c.outs.begin(), c.outs.end(), int64_t{0});
    for (const int64_t out : c.joined ? std::vector<int64_t>{all} : c.outs) {
      weights.emplace_back(c.weight, std::initializer_list<int64_t>{out, c.in}, c.pad);
      outs.emplace_back(DType::kF32, std::initializer_list<int64_t>{c.tokens, out}, c.pad);
      weights.back().fill(random, -0.3F, 0.3F);
      if (c.accumulate) outs.back().fill(random);
    }
    for (const int64_t out : c.outs)
      biases.emplace_back(DType::kF32, std::initializer_list<int64_t>{out}).fill(random);
    if (c.gated) inner = Array(c.inner, {c.tokens, c.outs[0]}, c.pad);
    args = {.x = x.t, .normalise = c.normalise, .eps = 1e-6F, .accumulate = c.accumulate, .gated = c.gated};
    args.act = c.act;
    if (c.normalise && c.weighted) args.norm = norm.t;
    if (c.normalise) args.h = h.t;
    args.count = static_cast<int>(c.outs.size());
    std::vector<Tensor> w, b, o;
    for (const Array& array : weights) w.push_back(array.t);
    for (const Array& array : biases) b.push_back(c.bias ? array.t : Tensor());
    for (const Array& array : outs) o.push_back(array.t);
    set_parts(c, w, b, o, args);
    if (c.gated) args.inner = inner.t;
  }
  // Weights and outputs are as many as the parts, or one of each.
  static void set_parts(const LinearsCase& c, const std::vector<Tensor>& w, const std::vector<Tensor>& b,
                        const std::vector<Tensor>& o, LinearsArgs& args) {
    int64_t at = 0;
    for (int i = 0; i < args.count; ++i) {
      const int64_t end = at + c.outs[i];
      args.parts[i] = {c.joined ? w[0].slice(at, end) : w[i], b[i], c.joined ? o[0].columns(at, end) : o[i]};
      at = end;
    }
  }
  std::vector<float> results() const {
    if (args.gated) return inner.values();
    std::vector<float> all;
    for (const Array& out : outs) {
      const std::vector<float> values = out.values();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  Array x, h, norm, inner;
  std::vector<Array> weights, biases, outs;
  LinearsArgs args;
};

struct HeadsCase {
  int64_t tokens, heads, kv_heads, head_dim, v_dim, pairs = 0;
  bool norms = false, norm_after = false, norm_v = false, interleaved = false;
  bool queries = true, keys = true;
  DType cache = DType::kF32;
  int64_t pad = 0;
};

inline std::vector<HeadsCase> heads_cases() {
  std::vector<HeadsCase> all;
  for (const DType cache : {DType::kF32, DType::kBF16, DType::kE4M3}) {
    all.insert(
        all.end(),
        {{.tokens = 1,
          .heads = 16,
          .kv_heads = 8,
          .head_dim = 128,
          .v_dim = 128,
          .pairs = 64,
          .norms = true,
          .cache = cache},
         {.tokens = 5, .heads = 6, .kv_heads = 2, .head_dim = 64, .v_dim = 48, .pairs = 20, .cache = cache},
         {.tokens = 9,
          .heads = 3,
          .kv_heads = 3,
          .head_dim = 40,
          .v_dim = 24,
          .pairs = 12,
          .norms = true,
          .norm_after = true,
          .norm_v = true,
          .interleaved = true,
          .cache = cache,
          .pad = 4},
         {.tokens = 4,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 7,
          .v_dim = 5,
          .pairs = 3,
          .norms = true,
          .cache = cache,
          .pad = 3},
         {.tokens = 3, .heads = 2, .kv_heads = 1, .head_dim = 576, .v_dim = 512, .pairs = 32, .cache = cache},
         {.tokens = 3, .heads = 4, .kv_heads = 4, .head_dim = 32, .v_dim = 32, .norms = true, .cache = cache},
         {.tokens = 6,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 32,
          .v_dim = 32,
          .pairs = 16,
          .norms = true,
          .queries = false,
          .cache = cache},
         {.tokens = 6,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 32,
          .v_dim = 32,
          .pairs = 16,
          .norms = true,
          .keys = false,
          .cache = cache}});
  }
  return all;
}

struct HeadsProblem {
  static constexpr int64_t kBlocks = 3, kBlock = 16;

  HeadsProblem(const HeadsCase& c, unsigned seed)
      : q(DType::kF32, {c.tokens, c.heads, c.head_dim}, c.pad),
        k(DType::kF32, {c.tokens, c.kv_heads, c.head_dim}, c.pad),
        v(DType::kF32, {c.tokens, c.kv_heads, c.v_dim}, c.pad),
        q_norm(DType::kF32, {c.head_dim}),
        k_norm(DType::kF32, {c.head_dim}),
        cos(DType::kF32, {c.tokens, c.pairs}, c.pad),
        sin(DType::kF32, {c.tokens, c.pairs}, c.pad),
        k_cache(c.cache, {kBlocks, c.kv_heads, kBlock, c.head_dim}, c.pad),
        v_cache(c.cache, {kBlocks, c.kv_heads, kBlock, c.v_dim}, c.pad) {
    Random random(seed);
    for (Array* a : {&q, &k, &v, &cos, &sin}) a->fill(random);
    for (Array* a : {&q_norm, &k_norm}) a->fill(random, 0.5F, 1.5F);
    for (int64_t t = 0; t < c.tokens; ++t) slots.push_back(t == 2 ? -1 : (t * 11 + 5) % (kBlocks * kBlock));
    args = {.norm_after = c.norm_after, .norm_v = c.norm_v, .eps = 1e-6F, .interleaved = c.interleaved};
    if (c.queries) args.q = q.t;
    if (c.queries && c.norms) args.q_norm = q_norm.t;
    if (c.pairs > 0) {
      args.cos = cos.t;
      args.sin = sin.t;
    }
    if (!c.keys) return;
    args.k = k.t;
    args.v = v.t;
    if (c.norms) args.k_norm = k_norm.t;
    args.slots = slots.data();
    args.kv = {.k = k_cache.t, .v = v_cache.t};
    if (c.cache != DType::kE4M3) return;
    scales = Array(DType::kF32, {c.kv_heads}).fill(random, 0.01F, 0.02F);
    scales.t.data = scales.memory.data();
    args.kv.v_scale = scales.t;
  }

  Array q, k, v, q_norm, k_norm, cos, sin, k_cache, v_cache, scales;
  std::vector<int64_t> slots;
  FinishHeadsArgs args;
};

}  // namespace heed::cases
