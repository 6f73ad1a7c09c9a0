// Multi-head latent attention. The cache holds the normalised latent and the rotated key part; the projection
// from the latent to keys is folded into the query, and that to values into the output, so that attention
// itself is that of many query heads on one key head.
#include <sstream>

#include "attention/rows.h"
#include "model/mixers.h"
#include "model/pass.h"

namespace heed {
namespace {

enum Weight : uint8_t {
  kQ,  // of the query's latent, or of x
  kQDown,
  kQDownBias,
  kQLatentNorm,
  kKvDown,  // [kv_rank + rope_dim, hidden]
  kKvDownBias,
  kKvLatentNorm,
  kKUp,  // [heads, kv_rank, nope_dim]
  kVUp,  // [heads, v_dim, kv_rank]
  kO,
  kOBias,
};

const LatentAttentionSpec& of(const MixerSpec& spec) { return std::get<LatentAttentionSpec>(spec); }
int q_dim(const LatentAttentionSpec& a) { return a.nope_dim + a.rope_dim; }
int k_dim(const LatentAttentionSpec& a) { return a.kv_rank + a.rope_dim; }

// Of the stored [heads * (nope + v), kv_rank]: for each head the part of keys, transposed, or that of values.
Tensor key_part(const LatentAttentionSpec& a, const Tensor& t) {
  Tensor view = t;
  view.rank = 3;
  view.size = {a.heads, a.kv_rank, a.nope_dim};
  view.stride = {t.stride[0] * (a.nope_dim + a.v_dim), 1, t.stride[0]};
  return view;
}
Tensor value_part(const LatentAttentionSpec& a, const Tensor& t) {
  Tensor view = t;
  view.rank = 3;
  view.data = t.as<char>() + a.nope_dim * t.stride[0] * size_of(t.dtype);
  view.size = {a.heads, a.v_dim, a.kv_rank};
  view.stride = {t.stride[0] * (a.nope_dim + a.v_dim), t.stride[0], 1};
  return view;
}

class LatentAttentionMixer : public Mixer {
 public:
  MixerNeeds needs(const MixerSpec& spec) const override {
    const LatentAttentionSpec& a = of(spec);
    return {.kv = {.kv_heads = 1, .k_dim = k_dim(a), .v_dim = a.kv_rank, .v_in_k = true, .mask = a.mask},
            .attention =
                AttentionNeeds{.heads = a.heads, .kv_heads = 1, .head_dim = k_dim(a), .v_dim = a.kv_rank},
            .rope = a.rope,
            .widest = std::max({int64_t{a.heads} * a.v_dim, int64_t{a.q_rank}, int64_t{a.kv_rank}})};
  }

  void declare(const MixerSpec& spec, const ModelSpec& model, WeightList& weights) const override {
    const LatentAttentionSpec& a = of(spec);
    if (a.q_rank > 0) {
      weights.matrix(kQDown, "q_down", a.q_rank, model.hidden);
      if (a.bias) weights.bias(kQDownBias, "q_down", a.q_rank);
      weights.norm(kQLatentNorm, "q_latent_norm", a.q_rank);
      weights.matrix(kQ, "q_up", int64_t{a.heads} * q_dim(a), a.q_rank);
    } else {
      weights.matrix(kQ, "q", int64_t{a.heads} * q_dim(a), model.hidden);
    }
    weights.matrix(kKvDown, "kv_down", k_dim(a), model.hidden);
    if (a.bias) weights.bias(kKvDownBias, "kv_down", k_dim(a));
    weights.norm(kKvLatentNorm, "kv_latent_norm", a.kv_rank);
    weights.stored("kv_up", {int64_t{a.heads} * (a.nope_dim + a.v_dim), a.kv_rank}, TensorNeed::kMatrix);
    weights.part(kKUp, {a.heads, a.kv_rank, a.nope_dim}, [a](const Tensor& t) { return key_part(a, t); });
    weights.part(kVUp, {a.heads, a.v_dim, a.kv_rank}, [a](const Tensor& t) { return value_part(a, t); });
    weights.matrix(kO, "o", model.hidden, int64_t{a.heads} * a.v_dim);
    if (a.output_bias) weights.bias(kOBias, "o", model.hidden);
  }

  std::string why_not(const MixerSpec& /*spec*/, const Kernels& kernels) const override {
    return kernels.head_linear != nullptr ? "" : "has no latent attention";
  }

  void run(const MixerSpec& spec, const MixerCall& call) const override {
    const LatentAttentionSpec& a = of(spec);
    const Pass& pass = call.pass;
    const int64_t tokens = pass.tokens();
    const Tensor q = pass.f32({tokens, a.heads, k_dim(a)});
    make_queries(a, call, q);
    const Tensor latent = pass.f32({tokens, k_dim(a)});
    pass.linear(call.x, call.weight(kKvDown), call.weight(kKvDownBias), latent);
    norm(a, pass, latent.columns(0, a.kv_rank), call.weight(kKvLatentNorm), latent.columns(0, a.kv_rank));
    const Tensor key = latent.split_last(1, k_dim(a));
    pass.rotate(call.layer, key.columns(a.kv_rank, k_dim(a)));
    const Tensor seen = pass.f32({tokens, a.heads, a.kv_rank});
    pass.attend(call.layer, {.q = q, .k = key, .scale = a.scale, .out = seen});
    const Tensor values = pass.f32({tokens, int64_t{a.heads} * a.v_dim});
    pass.kernels().head_linear(
        pass.stream(), {.x = seen, .weight = call.weight(kVUp), .out = values.split_last(a.heads, a.v_dim)});
    const Tensor mixed = pass.input({tokens, int64_t{a.heads} * a.v_dim});
    pass.kernels().copy(pass.stream(), {.x = values, .out = mixed});
    pass.linear(mixed, call.weight(kO), call.weight(kOBias), call.out);
  }

  std::string describe(const MixerSpec& spec) const override {
    const LatentAttentionSpec& a = of(spec);
    std::ostringstream text;
    text << "latent attention " << a.heads << " heads, latent " << a.kv_rank << " + " << a.rope_dim
         << ", mask " << heed::describe(a.mask) << ", rope " << heed::describe(a.rope) << ", scale "
         << a.scale;
    return text.str();
  }

 private:
  static void norm(const LatentAttentionSpec& a, const Pass& pass, const Tensor& x, const Tensor& weight,
                   const Tensor& out) {
    pass.kernels().rms_norm(pass.stream(), {.x = x, .weight = weight, .eps = a.norm_eps, .out = out});
  }

  // out: [tokens, heads, kv_rank + rope_dim]: the query as the cached keys are compared with.
  static void make_queries(const LatentAttentionSpec& a, const MixerCall& call, const Tensor& out) {
    const Pass& pass = call.pass;
    const ArenaScope scope(pass.arena());
    Tensor x = call.x;
    if (a.q_rank > 0) {
      const Tensor latent = pass.f32({pass.tokens(), a.q_rank});
      x = pass.input({pass.tokens(), a.q_rank});
      pass.linear(call.x, call.weight(kQDown), call.weight(kQDownBias), latent);
      norm(a, pass, latent, call.weight(kQLatentNorm), x);
    }
    const Tensor flat = pass.f32({pass.tokens(), int64_t{a.heads} * q_dim(a)});
    pass.linear(x, call.weight(kQ), {}, flat);
    const Tensor q = flat.split_last(a.heads, q_dim(a));
    const Tensor turned = q.columns(a.nope_dim, q_dim(a));
    pass.rotate(call.layer, turned);
    pass.kernels().head_linear(
        pass.stream(),
        {.x = q.columns(0, a.nope_dim), .weight = call.weight(kKUp), .out = out.columns(0, a.kv_rank)});
    pass.kernels().copy(pass.stream(), {.x = turned, .out = out.columns(a.kv_rank, k_dim(a))});
  }
};

}  // namespace

std::shared_ptr<const Mixer> latent_attention_mixer() { return std::make_shared<LatentAttentionMixer>(); }

}  // namespace heed
