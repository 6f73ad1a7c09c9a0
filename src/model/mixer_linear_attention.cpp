// Linear attention with a fixed decay: MiniMax's Lightning Attention and Bailing's linear layers.
#include <sstream>

#include "model/mixers.h"
#include "model/pass.h"

namespace heed {
namespace {

enum Weight : uint8_t { kQkv, kGate, kNorm, kO, kQkvBias, kOBias, kQNorm, kKNorm };

const LinearAttentionSpec& of(const MixerSpec& spec) { return std::get<LinearAttentionSpec>(spec); }
int64_t width(const LinearAttentionSpec& a) { return int64_t{a.heads} * a.head_dim; }

// q, k or v (0, 1, 2) of the projection: [tokens, heads, head_dim].
Tensor third(const LinearAttentionSpec& a, const Tensor& qkv, int which) {
  if (a.by_head)
    return qkv.split_last(a.heads, int64_t{3} * a.head_dim)
        .columns(which * a.head_dim, (which + 1) * a.head_dim);
  return qkv.columns(which * width(a), (which + 1) * width(a)).split_last(a.heads, a.head_dim);
}

class LinearAttentionMixer : public Mixer {
 public:
  MixerNeeds needs(const MixerSpec& spec) const override {
    const LinearAttentionSpec& a = of(spec);
    return {.rope = a.rope,
            .states = {{.name = "key-value sum", .shape = {a.heads, a.head_dim, a.head_dim}}},
            .widest = width(a)};
  }

  void declare(const MixerSpec& spec, const ModelSpec& model, WeightList& weights) const override {
    const LinearAttentionSpec& a = of(spec);
    weights.matrix(kQkv, "linear_qkv", 3 * width(a), model.hidden);
    if (a.qkv_bias) weights.bias(kQkvBias, "linear_qkv", 3 * width(a));
    if (a.qk_norm) {
      weights.norm(kQNorm, "linear_q_norm", a.head_dim);
      weights.norm(kKNorm, "linear_k_norm", a.head_dim);
    }
    weights.matrix(kGate, "linear_gate", width(a), model.hidden);
    weights.norm(kNorm, "linear_norm", width(a));
    weights.matrix(kO, "linear_out", model.hidden, width(a));
    if (a.output_bias) weights.bias(kOBias, "linear_out", model.hidden);
  }

  std::string why_not(const MixerSpec& /*spec*/, const Kernels& kernels) const override {
    return kernels.linear_attention != nullptr ? "" : "has no linear attention";
  }

  void run(const MixerSpec& spec, const MixerCall& call) const override {
    const LinearAttentionSpec& a = of(spec);
    const Pass& pass = call.pass;
    const int64_t tokens = pass.tokens();
    const Kernels& k = pass.kernels();
    const Tensor qkv = pass.f32({tokens, 3 * width(a)});
    pass.linear(call.x, call.weight(kQkv), call.weight(kQkvBias), qkv);
    if (a.silu) k.gated_act(pass.stream(), {.act = Act::kSigmoid, .gate = qkv, .up = qkv, .out = qkv});
    const Tensor q = third(a, qkv, 0);
    const Tensor keys = third(a, qkv, 1);
    if (a.qk_norm) {
      pass.rms_norm(q, call.weight(kQNorm), q);
      pass.rms_norm(keys, call.weight(kKNorm), keys);
    }
    pass.rotate(call.layer, q);
    pass.rotate(call.layer, keys);
    const Tensor made = pass.f32({tokens, width(a)});
    k.linear_attention(pass.stream(), {.q = q,
                                       .k = keys,
                                       .v = third(a, qkv, 2),
                                       .slopes = pass.constant(a.slopes),
                                       .scale = a.scale,
                                       .state = pass.state(call.layer, 0),
                                       .out = made.split_last(a.heads, a.head_dim)});
    group_norm(a, call, made);
    const Tensor gate = pass.f32({tokens, width(a)});
    const Tensor mixed = pass.input({tokens, width(a)});
    pass.linear(call.x, call.weight(kGate), {}, gate);
    k.gated_act(pass.stream(), {.act = Act::kSigmoid, .gate = gate, .up = made, .out = mixed});
    pass.linear(mixed, call.weight(kO), call.weight(kOBias), call.out);
  }

  std::string describe(const MixerSpec& spec) const override {
    const LinearAttentionSpec& a = of(spec);
    std::ostringstream text;
    text << "linear attention " << a.heads << " heads of " << a.head_dim << ", rope "
         << heed::describe(a.rope);
    return text.str();
  }

 private:
  static void group_norm(const LinearAttentionSpec& a, const MixerCall& call, const Tensor& x) {
    const int64_t size = width(a) / a.norm_groups;
    for (int64_t begin = 0; begin < width(a); begin += size) {
      const Tensor part = x.columns(begin, begin + size);
      Tensor weight = call.weight(kNorm);
      if (weight.defined()) weight = weight.slice(begin, begin + size);
      call.pass.kernels().rms_norm(call.pass.stream(),
                                   {.x = part, .weight = weight, .eps = a.norm_eps, .out = part});
    }
  }
};

}  // namespace

std::shared_ptr<const Mixer> linear_attention_mixer() { return std::make_shared<LinearAttentionMixer>(); }

}  // namespace heed
