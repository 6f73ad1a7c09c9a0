#include "model/moe.h"

#include <algorithm>
#include <cmath>

#include "model/pass.h"

namespace heed {
namespace {

// The experts' matrices follow kExperts: all gates, all ups, all downs.
enum MoeWeight : uint8_t {
  kRouter,
  kRouterBias,
  kRouterScale,  // [hidden]: of the router's norm
  kChoiceBias,
  kExpertScale,
  kGateBias,  // [experts, inner], and so on
  kUpBias,
  kDownBias,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kSharedWeight,  // [1, hidden]
  kExperts,
};

// Tokens that run at a time: bounds the memory of activations, which every choice of a token has its own of.
constexpr int64_t kTokens = 512;

using View = WeightList::View;

View rows_of_expert(int expert, int64_t begin, int64_t end) {
  return [=](const Tensor& t) {  // [experts, rows, columns]
    Tensor view = t;
    view.rank = 2;
    view.data = t.at(expert * t.stride[0] + begin * t.stride[1]);
    view.size = {end - begin, t.size[2]};
    view.stride = {t.stride[1], t.stride[2]};
    return view;
  };
}

// Columns begin, begin + step, ... of an expert's [rows, columns], as [columns, rows].
View columns_of_expert(int expert, int64_t begin, int64_t count, int64_t step) {
  return [=](const Tensor& t) {
    Tensor view = t;
    view.rank = 2;
    view.data = t.as<char>() + (expert * t.stride[0] + begin * t.stride[2]) * size_of(t.dtype);
    view.size = {count, t.size[1]};
    view.stride = {step * t.stride[2], t.stride[1]};
    return view;
  };
}

// Rows begin, begin + step, ... of an expert's [rows, columns].
View every_row_of_expert(int expert, int64_t begin, int64_t count, int64_t step) {
  return [=](const Tensor& t) {
    Tensor view = rows_of_expert(expert, begin, begin + count)(t);
    view.stride[0] *= step;
    return view;
  };
}

void declare_separate(const MoeSpec& s, int64_t hidden, WeightList& weights) {
  for (int e = 0; e < s.experts; ++e) {
    weights.matrix(kExperts + e, "expert_gate", s.inner, hidden, e);
    weights.matrix(kExperts + s.experts + e, "expert_up", s.inner, hidden, e);
    weights.matrix(kExperts + 2 * s.experts + e, "expert_down", hidden, s.inner, e);
  }
}

// One tensor holds gate and up of every expert, another one down.
void declare_fused(const MoeSpec& s, int64_t hidden, WeightList& weights) {
  const int64_t inner = s.inner;
  const bool rows = s.fused == MoeSpec::Fused::kRows;
  const bool turns = s.fused == MoeSpec::Fused::kColumnsByTurns;
  const std::vector<int64_t> gate_up = rows ? std::vector<int64_t>{s.experts, 2 * inner, hidden}
                                            : std::vector<int64_t>{s.experts, hidden, 2 * inner};
  weights.stored("experts_gate_up", gate_up, TensorNeed::kMatrix);
  for (int e = 0; e < s.experts; ++e) {
    const auto view = [&](int64_t begin) {
      return rows ? rows_of_expert(e, begin, begin + inner)
                  : columns_of_expert(e, begin, inner, turns ? 2 : 1);
    };
    weights.part(kExperts + e, {inner, hidden}, view(0));
    weights.part(kExperts + s.experts + e, {inner, hidden}, view(turns ? 1 : inner));
  }
  weights.stored(
      "experts_down",
      rows ? std::vector<int64_t>{s.experts, hidden, inner} : std::vector<int64_t>{s.experts, inner, hidden},
      TensorNeed::kMatrix);
  for (int e = 0; e < s.experts; ++e) {
    weights.part(kExperts + 2 * s.experts + e, {hidden, inner},
                 rows ? rows_of_expert(e, 0, hidden) : columns_of_expert(e, 0, hidden, 1));
  }
}

// One tensor holds the gates of all experts, another one the ups, a third the downs.
void declare_stacked(const MoeSpec& s, int64_t hidden, WeightList& weights) {
  const auto stack = [&](int first, std::string_view key, int64_t out, int64_t in) {
    weights.stored(key, {s.experts, out, in}, TensorNeed::kMatrix);
    for (int e = 0; e < s.experts; ++e)
      weights.part(kExperts + first * s.experts + e, {out, in}, rows_of_expert(e, 0, out));
  };
  stack(0, "experts_gate", s.inner, hidden);
  stack(1, "experts_up", s.inner, hidden);
  stack(2, "experts_down", hidden, s.inner);
}

// gpt-oss as published: rows of gate and up take turns, in blocks of 32 FP4 numbers.
void declare_mx4(const MoeSpec& s, int64_t hidden, WeightList& weights) {
  constexpr int64_t kBlock = 32;
  const auto stored = [&](std::string_view key, int64_t rows, int64_t columns) {
    const std::string scales = std::string(key) + "_scales";
    const int64_t blocks = columns / kBlock;
    weights.stored(scales, {s.experts, rows, blocks}, TensorNeed::kMx4Scales);
    weights.stored(std::string(key) + "_blocks", {s.experts, rows, blocks, kBlock / 2}, TensorNeed::kMx4,
                   scales);
  };
  stored("experts_gate_up", int64_t{2} * s.inner, hidden);
  for (int e = 0; e < s.experts; ++e) {
    weights.part(kExperts + e, {s.inner, hidden}, every_row_of_expert(e, 0, s.inner, 2));
    weights.part(kExperts + s.experts + e, {s.inner, hidden}, every_row_of_expert(e, 1, s.inner, 2));
  }
  stored("experts_down", hidden, s.inner);
  for (int e = 0; e < s.experts; ++e)
    weights.part(kExperts + 2 * s.experts + e, {hidden, s.inner}, rows_of_expert(e, 0, hidden));
}

void declare_biases(const MoeSpec& s, int64_t hidden, WeightList& weights) {
  weights.vector(kDownBias, "experts_down_bias", {s.experts, hidden});
  if (s.fused == MoeSpec::Fused::kStacked) {
    weights.vector(kGateBias, "experts_gate_bias", {s.experts, s.inner});
    weights.vector(kUpBias, "experts_up_bias", {s.experts, s.inner});
    return;
  }
  const bool turns = s.fused == MoeSpec::Fused::kColumnsByTurns;
  const auto half = [&](int64_t begin) {
    return [=, inner = s.inner](const Tensor& t) {  // of [experts, 2 inner]
      Tensor view = t.columns(begin, begin + 1);
      view.size[1] = inner;
      view.stride[1] = turns ? 2 : 1;
      return view;
    };
  };
  weights.stored("experts_gate_up_bias", {s.experts, int64_t{2} * s.inner}, TensorNeed::kVector);
  weights.part(kGateBias, {s.experts, s.inner}, half(0));
  weights.part(kUpBias, {s.experts, s.inner}, half(turns ? 1 : s.inner));
}

// Router and sort of one batch of tokens.
struct Routes {
  Tensor experts, weights;            // [tokens, top_k] i32, f32
  Tensor expert_start, rows, places;  // i32: kernels.h, MoeSortArgs
};

Routes route(const MoeSpec& s, const Pass& pass, std::span<const Tensor> w, const MoeInput& in) {
  const int64_t tokens = in.h.size[0];
  const Routes r = {.experts = pass.take(DType::kI32, {tokens, s.top_k}),
                    .weights = pass.f32({tokens, s.top_k}),
                    .expert_start = pass.take(DType::kI32, {s.experts + 1}),
                    .rows = pass.take(DType::kI32, {tokens, s.top_k}),
                    .places = pass.take(DType::kI32, {tokens, s.top_k})};
  const ArenaScope scope(pass.arena());
  const Tensor logits = pass.f32({tokens, s.experts});
  Tensor seen = in.h;
  if (s.router_norm) {
    const ModelSpec& model = pass.model().spec;
    seen = pass.input({tokens, model.hidden});
    pass.kernels().rms_norm(pass.stream(), {.x = in.x,
                                            .weight = weight_of(w, kRouterScale),
                                            .eps = model.norm_eps,
                                            .scale = 1 / std::sqrt(static_cast<float>(model.hidden)),
                                            .out = seen});
  }
  pass.linear(seen, weight_of(w, kRouter), weight_of(w, kRouterBias), logits);
  pass.kernels().moe_route(pass.stream(), {.logits = logits,
                                           .score = s.score,
                                           .bias = weight_of(w, kChoiceBias),
                                           .groups = s.groups,
                                           .top_groups = s.top_groups,
                                           .renormalise = s.renormalise,
                                           .scale = s.scale,
                                           .expert_scale = weight_of(w, kExpertScale),
                                           .top_k = s.top_k,
                                           .experts = r.experts.as<int32_t>(),
                                           .weights = r.weights.as<float>()});
  pass.kernels().moe_sort(pass.stream(), {.experts = r.experts.as<int32_t>(),
                                          .tokens = tokens,
                                          .top_k = s.top_k,
                                          .expert_count = s.experts,
                                          .expert_start = r.expert_start.as<int32_t>(),
                                          .rows = r.rows.as<int32_t>(),
                                          .place = r.places.as<int32_t>()});
  return r;
}

// h with each row multiplied by its (only) expert's weight.
Tensor weighed(const Pass& pass, const MoeInput& in, const Routes& r) {
  const Tensor scaled = pass.f32({in.h.size[0], in.h.size[1]});
  const Tensor out = pass.input({in.h.size[0], in.h.size[1]});
  pass.kernels().copy(pass.stream(), {.x = in.h, .out = scaled});
  pass.kernels().scale_rows(pass.stream(), {.factors = r.weights, .x = scaled});
  pass.kernels().copy(pass.stream(), {.x = scaled, .out = out});
  return out;
}

void run_experts(const MoeSpec& s, const Pass& pass, std::span<const Tensor> w, const MoeInput& in,
                 const Tensor& out) {
  const ArenaScope scope(pass.arena());
  const Routes r = route(s, pass, w, in);
  const int64_t assigned = in.h.size[0] * s.top_k;
  const Kernels& k = pass.kernels();
  const Tensor x = s.weigh_input ? weighed(pass, in, r) : in.h;
  const Tensor gate = pass.f32({assigned, s.inner});
  const Tensor up = pass.f32({assigned, s.inner});
  const Tensor inner = pass.input({assigned, s.inner});
  const Tensor made = pass.f32({assigned, out.size[1]});
  const auto linear = [&](const Tensor& from, const int32_t* rows, int first, int bias, const Tensor& to) {
    // A pass that only measures has no weights.
    const auto experts = w.empty() ? w : w.subspan(kExperts + first * s.experts, s.experts);
    k.expert_linear(pass.stream(), {.x = from,
                                    .rows = rows,
                                    .expert_start = r.expert_start.as<int32_t>(),
                                    .weights = experts,
                                    .bias = weight_of(w, bias),
                                    .out = to});
  };
  linear(x, r.rows.as<int32_t>(), 0, kGateBias, gate);
  linear(x, r.rows.as<int32_t>(), 1, kUpBias, up);
  k.gated_act(pass.stream(), {.act = s.act, .gate = gate, .up = up, .out = inner});
  linear(inner, nullptr, 2, kDownBias, made);
  k.expert_sum(pass.stream(), {.x = made,
                               .place = r.places.as<int32_t>(),
                               .weights = s.weigh_input ? nullptr : r.weights.as<float>(),
                               .top_k = s.top_k,
                               .out = out});
}

void add_shared(const MoeSpec& s, const Pass& pass, std::span<const Tensor> w, const Tensor& h,
                const Tensor& out) {
  const ArenaScope scope(pass.arena());
  const int64_t tokens = h.size[0];
  const Kernels& k = pass.kernels();
  const Tensor shared = pass.f32({tokens, out.size[1]});
  const Tensor mlp[] = {weight_of(w, kSharedGate), weight_of(w, kSharedUp), weight_of(w, kSharedDown)};
  run_mlp({.inner = s.shared_inner, .act = s.act}, pass, mlp, {.x = h}, shared);
  if (s.shared != MoeSpec::Shared::kPlain) {
    const Tensor weight = pass.f32({tokens, 1});
    pass.linear(h, weight_of(w, kSharedWeight), {}, weight);
    k.scale_rows(pass.stream(), {.factors = weight, .sigmoid = true, .x = shared});
    if (s.shared == MoeSpec::Shared::kBlend) {  // 1 - sigmoid(z) = sigmoid(-z)
      k.scale(pass.stream(), {.scale = -1, .x = weight});
      k.scale_rows(pass.stream(), {.factors = weight, .sigmoid = true, .x = out});
    }
  }
  k.add(pass.stream(), {.x = shared, .out = out});
}

}  // namespace

void declare_moe(const MoeSpec& s, const ModelSpec& model, WeightList& weights) {
  const int64_t hidden = model.hidden;
  weights.matrix(kRouter, "router", s.experts, hidden);
  weights.keep_exact();  // what it chooses between is close, and it is small
  if (s.router_bias) weights.bias(kRouterBias, "router", s.experts);
  if (s.router_norm) weights.vector(kRouterScale, "router_scale", {hidden});
  if (s.choice_bias) weights.vector(kChoiceBias, "choice_bias", {s.experts});
  if (s.expert_scale) weights.vector(kExpertScale, "expert_scale", {s.experts});
  const bool turns = s.fused == MoeSpec::Fused::kColumnsByTurns;
  if (s.fused == MoeSpec::Fused::kStacked) {
    declare_stacked(s, hidden, weights);
  } else if (s.fused == MoeSpec::Fused::kNone || (!turns && !weights.has("experts_gate_up"))) {
    declare_separate(s, hidden, weights);
  } else if (turns && !weights.has("experts_gate_up")) {
    declare_mx4(s, hidden, weights);
  } else {
    declare_fused(s, hidden, weights);
  }
  if (s.expert_bias) declare_biases(s, hidden, weights);
  if (s.shared_inner == 0) return;
  weights.matrix(kSharedGate, "shared_gate", s.shared_inner, hidden);
  weights.matrix(kSharedUp, "shared_up", s.shared_inner, hidden);
  weights.matrix(kSharedDown, "shared_down", hidden, s.shared_inner);
  if (s.shared != MoeSpec::Shared::kPlain) weights.matrix(kSharedWeight, "shared_weight", 1, hidden);
}

void run_moe(const MoeSpec& spec, const Pass& pass, std::span<const Tensor> weights, const MoeInput& in,
             const Tensor& out) {
  const int64_t tokens = in.h.size[0];
  for (int64_t begin = 0; begin < tokens; begin += kTokens) {
    const int64_t end = std::min(begin + kTokens, tokens);
    const MoeInput part = {.h = in.h.slice(begin, end), .x = in.x.slice(begin, end)};
    run_experts(spec, pass, weights, part, out.slice(begin, end));
    if (spec.shared_inner > 0) add_shared(spec, pass, weights, part.h, out.slice(begin, end));
  }
}

std::string moe_why_not(const Kernels& kernels) {
  const bool can = kernels.moe_route != nullptr && kernels.moe_sort != nullptr &&
                   kernels.expert_linear != nullptr && kernels.expert_sum != nullptr;
  return can ? "" : "has no mixture of experts";
}

}  // namespace heed
