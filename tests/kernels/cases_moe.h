// Cases of a mixture of experts, and of the linear layer of each head.
#pragma once
#include <algorithm>

#include "tests/kernels/cases.h"

namespace heed::cases {

// ---- moe_route ----

struct RouteCase {
  std::string name;
  int64_t tokens, experts;
  int top_k;
  MoeRouteArgs::Score score = MoeRouteArgs::Score::kSoftmax;
  bool bias = false;
  int groups = 1, top_groups = 1;
  bool renormalise = false;
  float scale = 1;
  bool expert_scale = false;
  bool ties = false;  // logits and bias of few values
  int64_t pad = 0;
};

inline std::vector<RouteCase> route_cases() {
  using Score = MoeRouteArgs::Score;
  return {
      {"one expert", 2, 1, 1},
      {"softmax", 9, 8, 2},
      {"softmax, renormalised", 33, 128, 8, Score::kSoftmax, false, 1, 1, true},
      {"softmax of chosen", 7, 32, 4, Score::kSoftmaxOfChosen, false, 1, 1, false, 1, false, false, 3},
      {"softmax of all, as chosen", 3, 5, 5, Score::kSoftmaxOfChosen, false, 1, 1, true},
      {"sigmoid", 5, 17, 3, Score::kSigmoid, false, 1, 1, false, 1, true},
      {"sigmoid with bias in groups", 21, 256, 8, Score::kSigmoid, true, 8, 4, true, 2.5F, false, false, 5},
      {"one group of many", 6, 12, 3, Score::kSigmoid, true, 4, 1, true},
      {"every group", 6, 12, 3, Score::kSigmoid, true, 4, 4, true},
      {"groups of one expert", 6, 6, 2, Score::kSoftmax, true, 6, 3, true},
      {"groups that are wanted whole", 6, 12, 6, Score::kSigmoid, true, 4, 2, true, 1, true},
      {"every expert", 4, 10, 10, Score::kSoftmax, false, 1, 1, true, 1, true},
      {"ties", 50, 20, 4, Score::kSoftmax, false, 1, 1, true, 1, false, true},
      {"ties in groups", 50, 20, 4, Score::kSigmoid, true, 5, 2, true, 1, false, true},
      {"no tokens", 0, 8, 2},
      {"many tokens", 300, 512, 10, Score::kSoftmax, false, 1, 1, true}};
}

struct RouteProblem {
  RouteProblem(const RouteCase& c, unsigned seed)
      : logits(DType::kF32, {c.tokens, c.experts}, c.pad),
        bias(DType::kF32, {c.experts}),
        expert_scale(DType::kF32, {c.experts}),
        experts(static_cast<size_t>(c.tokens * c.top_k), -1),
        weights(experts.size(), std::numeric_limits<float>::quiet_NaN()) {
    Random random(seed);
    logits.fill(random, -4, 4);
    bias.fill(random, -0.5F, 0.5F);
    expert_scale.fill(random, 0.5F, 2);
    if (c.ties) {
      for (const Tensor& t : {logits.t, bias.t}) {
        for_each(t, [&](int64_t at) { write(t, at, static_cast<float>(random.below(3)) / 4); });
      }
    }
    args = {.logits = logits.t,
            .score = c.score,
            .bias = c.bias ? bias.t : Tensor(),
            .groups = c.groups,
            .top_groups = c.top_groups,
            .renormalise = c.renormalise,
            .scale = c.scale,
            .expert_scale = c.expert_scale ? expert_scale.t : Tensor(),
            .top_k = c.top_k,
            .experts = experts.data(),
            .weights = weights.data()};
  }
  Array logits, bias, expert_scale;
  std::vector<int32_t> experts;
  std::vector<float> weights;
  MoeRouteArgs args;
};

// ---- expert_linear and expert_sum ----

struct ExpertCase {
  std::string name;
  std::vector<int> rows;  // of each expert
  int64_t in, out;
  DType x = DType::kF32, weight = DType::kF32;
  bool bias = false;
  bool gathered = true;  // through row numbers, from half as many rows
  int64_t pad = 0;
};

inline std::vector<ExpertCase> expert_cases() {
  std::vector<ExpertCase> all;
  const std::pair<DType, DType> types[] = {{DType::kF32, DType::kF32},
                                           {DType::kF32, DType::kBF16},
                                           {DType::kF32, DType::kF16},
                                           {DType::kBF16, DType::kBF16}};
  for (const auto& [x, w] : types) {
    all.insert(all.end(), {{"one row each", {1, 0, 1, 1, 0, 0, 1}, 130, 66, x, w, false, true, 4},
                           {"up to a tile", {1, 2, 3, 4, 5, 6, 0, 6}, 65, 33, x, w, true},
                           {"few and many", {0, 40, 1, 0, 7, 24, 0, 100}, 129, 70, x, w, true, true, 3},
                           {"one of many has all", {0, 0, 90, 0}, 200, 81, x, w, false, true},
                           {"in place", {3, 0, 30, 2}, 96, 40, x, w, false, false, 2},
                           {"a single expert", {5}, 7, 3, x, w, true, false},
                           {"nothing", {0, 0}, 16, 8, x, w}});
  }
  const DType b = DType::kBF16;  // rows at multiples of 16 bytes
  all.insert(all.end(), {{"aligned, few", {1, 0, 16, 3, 17, 5}, 200, 70, b, b, true, true, 8},
                         {"aligned, some", {40, 0, 70, 65, 1}, 136, 130, b, b, true},
                         {"aligned, many", {150, 3, 260}, 264, 200, b, b, false, false, 8}});
  return all;
}

struct ExpertProblem {
  ExpertProblem(const ExpertCase& c, unsigned seed) : random(seed) {
    starts = {0};
    for (const int own : c.rows) starts.push_back(starts.back() + own);
    const int64_t assignments = starts.back();
    const int64_t x_rows = c.gathered ? assignments / 2 + 1 : assignments;
    for (int64_t i = 0; i < assignments; ++i) rows.push_back(random.below(static_cast<int>(x_rows)));
    x = Array(c.x, {x_rows, c.in}, c.pad);
    x.fill(random);
    bias = Array(DType::kF32, {static_cast<int64_t>(c.rows.size()), c.out}, c.pad);
    bias.fill(random);
    out = Array(DType::kF32, {assignments, c.out}, c.pad);
    arrays.reserve(c.rows.size());
    for (const int own : c.rows) {
      arrays.emplace_back(c.weight, std::initializer_list<int64_t>{c.out, c.in}, c.pad);
      arrays.back().fill(random);
      weights.push_back(arrays.back().t);
      if (own == 0) weights.back().data = nullptr;  // not to be read
    }
    args = {.x = x.t,
            .rows = c.gathered ? rows.data() : nullptr,
            .expert_start = starts.data(),
            .weights = weights,
            .bias = c.bias ? bias.t : Tensor(),
            .out = out.t};
  }
  ExpertProblem(const ExpertProblem&) = delete;
  ExpertProblem& operator=(const ExpertProblem&) = delete;
  Random random;
  std::vector<int32_t> starts, rows;
  Array x, bias, out;
  std::vector<Array> arrays;
  std::vector<Tensor> weights;
  ExpertLinearArgs args;
};

// Some experts for each token, all different.
inline std::vector<int32_t> random_choice(Random& random, int64_t tokens, int top_k, int experts) {
  std::vector<int32_t> ids(static_cast<size_t>(experts));
  for (int e = 0; e < experts; ++e) ids[static_cast<size_t>(e)] = e;
  std::vector<int32_t> all;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int i = 0; i < top_k; ++i) {  // the first top_k of a shuffle
      const int other = i + random.below(experts - i);
      std::swap(ids[static_cast<size_t>(i)], ids[static_cast<size_t>(other)]);
      all.push_back(ids[static_cast<size_t>(i)]);
    }
  }
  return all;
}

// ---- head_linear ----

struct HeadLinearCase {
  int64_t tokens, heads, in, out;
  DType weight = DType::kF32;
  int64_t pad = 0;
};

inline std::vector<HeadLinearCase> head_linear_cases() {
  std::vector<HeadLinearCase> all;
  for (const DType w : {DType::kF32, DType::kBF16, DType::kF16}) {
    all.insert(all.end(), {{1, 1, 1, 1, w},
                           {1, 16, 128, 65, w},
                           {5, 3, 33, 7, w, 5},
                           {6, 4, 64, 32, w},
                           {40, 3, 100, 50, w, 3},
                           {0, 4, 8, 8, w}});
  }
  return all;
}

struct HeadLinearProblem {
  HeadLinearProblem(const HeadLinearCase& c, unsigned seed)
      : x(DType::kF32, {c.tokens, c.heads, c.in}, c.pad),
        weight(c.weight, {c.heads, c.out, c.in}, c.pad),
        out(DType::kF32, {c.tokens, c.heads, c.out}, c.pad) {
    Random random(seed);
    x.fill(random);
    weight.fill(random);
    args = {.x = x.t, .weight = weight.t, .out = out.t};
  }
  Array x, weight, out;
  HeadLinearArgs args;
};

}  // namespace heed::cases
