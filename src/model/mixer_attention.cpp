// Softmax attention over the paged cache, in all the variants that AttentionSpec names.
#include <algorithm>
#include <sstream>

#include "attention/rows.h"
#include "model/mixers.h"
#include "model/pass.h"

namespace heed {
namespace {

enum Weight : uint8_t { kQ, kK, kV, kO, kQBias, kKBias, kVBias, kOBias, kQNorm, kKNorm, kSinks };

const AttentionSpec& of(const MixerSpec& spec) { return std::get<AttentionSpec>(spec); }
bool makes_keys(const AttentionSpec& a) { return a.kv_source < 0; }
int q_dim(const AttentionSpec& a) { return a.head_dim + (a.gated ? a.v_dim : 0); }

// Queries (with their gates) where they are wanted and, where the layer makes its own, keys and values of the
// call's tokens: products of the rows, finished and cached. Returns the queries.
Tensor make_heads(const AttentionSpec& a, const MixerCall& call, const InputRows& rows, bool with_queries) {
  const Pass& pass = call.pass;
  const int64_t q_end = with_queries ? int64_t{a.heads} * q_dim(a) : 0;
  const int64_t k_end = q_end + (makes_keys(a) ? int64_t{a.kv_heads} * a.head_dim : 0);
  const int64_t v_end = k_end + (makes_keys(a) ? int64_t{a.kv_heads} * a.v_dim : 0);
  const Tensor all = pass.f32({pass.tokens(), v_end});
  FinishHeadsArgs heads = {.norm_after = a.norm_after_rope, .norm_v = a.v_norm};
  std::vector<LinearsArgs::Part> parts;
  Tensor q_gate;
  if (with_queries) {
    q_gate = all.columns(0, q_end);
    parts.push_back({call.weight(kQ), call.weight(kQBias), q_gate});
    heads.q = q_gate.split_last(a.heads, q_dim(a)).columns(0, a.head_dim);
    if (a.qk_norm) heads.q_norm = call.weight(kQNorm);
  }
  if (makes_keys(a)) {
    const Tensor k = all.columns(q_end, k_end);
    const Tensor v = all.columns(k_end, v_end);
    parts.push_back({call.weight(kK), call.weight(kKBias), k});
    if (!a.v_is_k) parts.push_back({call.weight(kV), call.weight(kVBias), v});
    heads.k = k.split_last(a.kv_heads, a.head_dim);
    heads.v = v.split_last(a.kv_heads, a.v_dim);
    if (a.qk_norm) heads.k_norm = call.weight(kKNorm);
  }
  pass.linears(rows, parts);
  if (makes_keys(a) && a.v_is_k) {
    pass.kernels().copy(pass.stream(), {.x = all.columns(q_end, k_end), .out = all.columns(k_end, v_end)});
  }
  pass.finish_heads(call.layer, heads);
  return q_gate;
}

class AttentionMixer : public Mixer {
 public:
  MixerNeeds needs(const MixerSpec& spec) const override {
    const AttentionSpec& a = of(spec);
    return {.kv = {.kv_heads = a.kv_heads,
                   .k_dim = a.head_dim,
                   .v_dim = a.v_dim,
                   .mask = a.mask,
                   .source = a.kv_source},
            .attention = AttentionNeeds{.heads = a.heads,
                                        .kv_heads = a.kv_heads,
                                        .head_dim = a.head_dim,
                                        .v_dim = a.v_dim,
                                        .softcap = a.softcap > 0,
                                        .sink_logits = a.sink_logits},
            .rope = a.rope,
            .widest = std::max(int64_t{a.heads} * a.v_dim, int64_t{a.input})};
  }

  void declare(const MixerSpec& spec, const ModelSpec& model, WeightList& weights) const override {
    const AttentionSpec& a = of(spec);
    const int64_t q = int64_t{a.heads} * q_dim(a);
    const int64_t k = int64_t{a.kv_heads} * a.head_dim;
    const int64_t v = int64_t{a.kv_heads} * a.v_dim;
    const int64_t in = a.input > 0 ? a.input : model.hidden;
    const auto linear = [&](Weight weight, Weight bias, std::string_view key, int64_t out) {
      weights.matrix(weight, key, out, in);
      if (a.qkv_bias) weights.bias(bias, key, out);
    };
    linear(kQ, kQBias, "q", q);
    if (makes_keys(a)) linear(kK, kKBias, "k", k);
    if (makes_keys(a) && !a.v_is_k) linear(kV, kVBias, "v", v);
    weights.matrix(kO, "o", model.hidden, int64_t{a.heads} * a.v_dim);
    if (a.output_bias) weights.bias(kOBias, "o", model.hidden);
    if (a.qk_norm) weights.norm(kQNorm, "q_norm", a.head_dim);
    if (a.qk_norm && makes_keys(a)) weights.norm(kKNorm, "k_norm", a.head_dim);
    if (a.sink_logits) weights.vector(kSinks, "sinks", {a.heads});
  }

  std::string why_not(const MixerSpec& /*spec*/, const Kernels& /*kernels*/) const override { return ""; }

  void run(const MixerSpec& spec, const MixerCall& call) const override {
    const AttentionSpec& a = of(spec);
    const Pass& pass = call.pass;
    const int64_t tokens = pass.tokens();
    const Tensor q_gate = make_heads(a, call, *call.rows, /*with_queries=*/true);
    const Tensor by_head = q_gate.split_last(a.heads, q_dim(a));
    const Tensor q = by_head.columns(0, a.head_dim);
    if (a.temperature != 0) {
      pass.kernels().temper(pass.stream(), {.positions = pass.positions(),
                                            .temperature = a.temperature,
                                            .floor_scale = a.temperature_floor,
                                            .x = q});
    }
    Attend attend = {.q = q, .scale = a.scale, .softcap = a.softcap};
    if (a.sink_logits) attend.sink_logits = call.weight(kSinks).as<const float>();
    const Tensor mixed = pass.input({tokens, int64_t{a.heads} * a.v_dim});
    if (!a.gated) {
      attend.out = mixed.split_last(a.heads, a.v_dim);
      pass.attend(call.layer, attend);
    } else {
      attend.out = pass.f32({tokens, a.heads, a.v_dim});
      pass.attend(call.layer, attend);
      pass.kernels().gated_act(pass.stream(), {.act = Act::kSigmoid,
                                               .gate = by_head.columns(a.head_dim, q_dim(a)),
                                               .up = attend.out,
                                               .out = mixed.split_last(a.heads, a.v_dim)});
    }
    pass.linears({.x = mixed}, {{call.weight(kO), call.weight(kOBias), call.out}}, call.accumulate);
  }

  bool fuses() const override { return true; }

  std::string describe(const MixerSpec& spec) const override {
    const AttentionSpec& a = of(spec);
    std::ostringstream text;
    text << "attention " << a.heads << " heads / " << a.kv_heads << " kv, head " << a.head_dim << ", mask "
         << heed::describe(a.mask) << ", rope " << heed::describe(a.rope) << ", scale " << a.scale;
    if (a.softcap > 0) text << ", softcap " << a.softcap;
    if (a.gated) text << ", gated";
    if (a.sink_logits) text << ", sink logits";
    if (a.v_is_k) text << ", values from keys";
    if (a.kv_source >= 0) text << ", keys and values of layer " << a.kv_source;
    return text.str();
  }
};

}  // namespace

void keep_keys(const AttentionSpec& spec, const MixerCall& call) {
  make_heads(spec, call, {.x = call.x}, /*with_queries=*/false);
}

std::shared_ptr<const Mixer> attention_mixer() { return std::make_shared<AttentionMixer>(); }

}  // namespace heed
