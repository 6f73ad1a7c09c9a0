// The gated delta net of Qwen3-Next and Qwen3.5.
#include <cmath>
#include <sstream>

#include "model/mixers.h"
#include "model/pass.h"

namespace heed {
namespace {

enum Weight : uint8_t { kQkv, kZ, kB, kA, kConv, kALog, kDtBias, kNorm, kO };
enum State : uint8_t { kConvState, kDeltaState };

constexpr float kL2Eps = 1e-6F;  // within the sum of squares

const GatedDeltaSpec& of(const MixerSpec& spec) { return std::get<GatedDeltaSpec>(spec); }
int64_t keys(const GatedDeltaSpec& d) { return int64_t{d.k_heads} * d.k_dim; }
int64_t values(const GatedDeltaSpec& d) { return int64_t{d.v_heads} * d.v_dim; }
int64_t channels(const GatedDeltaSpec& d) { return 2 * keys(d) + values(d); }

// What the projections make of x.
struct Projected {
  Tensor u;     // [tokens, channels]: all q, all k, all v
  Tensor z;     // [tokens, values]
  Tensor b, a;  // [tokens, v_heads]
};

class GatedDeltaMixer : public Mixer {
 public:
  MixerNeeds needs(const MixerSpec& spec) const override {
    const GatedDeltaSpec& d = of(spec);
    return {.states = {{.name = "convolution", .shape = {d.conv - 1, channels(d)}},
                       {.name = "delta rule", .shape = {d.v_heads, d.k_dim, d.v_dim}}},
            .widest = values(d)};
  }

  void declare(const MixerSpec& spec, const ModelSpec& model, WeightList& weights) const override {
    const GatedDeltaSpec& d = of(spec);
    if (d.by_head && !d.qkv_apart) {
      weights.matrix(kQkv, "delta_qkvz", channels(d) + values(d), model.hidden);
    } else {
      weights.matrix(kQkv, "delta_qkv", channels(d), model.hidden);
      weights.matrix(kZ, "delta_z", values(d), model.hidden);
    }
    if (d.by_head) {
      weights.matrix(kB, "delta_ba", int64_t{2} * d.v_heads, model.hidden);
    } else {
      weights.matrix(kB, "delta_b", d.v_heads, model.hidden);
      weights.matrix(kA, "delta_a", d.v_heads, model.hidden);
    }
    weights.stored("delta_conv", {channels(d), 1, d.conv}, TensorNeed::kVector);
    weights.part(kConv, {channels(d), d.conv}, nullptr);
    weights.stored("delta_a_log", {d.v_heads}, d.decay_stored ? TensorNeed::kDecay : TensorNeed::kVector);
    weights.part(kALog, {d.v_heads}, nullptr);
    weights.vector(kDtBias, "delta_dt_bias", {d.v_heads});
    weights.vector(kNorm, "delta_norm", {d.v_dim});  // without the model's offset of 1
    weights.matrix(kO, "delta_out", model.hidden, values(d));
  }

  std::string why_not(const MixerSpec& /*spec*/, const Kernels& kernels) const override {
    return kernels.gated_delta != nullptr && kernels.short_conv != nullptr ? "" : "has no gated delta net";
  }

  void run(const MixerSpec& spec, const MixerCall& call) const override {
    const GatedDeltaSpec& d = of(spec);
    const Pass& pass = call.pass;
    const Kernels& k = pass.kernels();
    const Projected p = project(d, call);
    const Tensor c = pass.f32({pass.tokens(), channels(d)});
    k.short_conv(
        pass.stream(),
        {.x = p.u, .weight = call.weight(kConv), .state = pass.state(call.layer, kConvState), .out = c});
    const Tensor q = c.columns(0, keys(d)).split_last(d.k_heads, d.k_dim);
    const Tensor key = c.columns(keys(d), 2 * keys(d)).split_last(d.k_heads, d.k_dim);
    const auto dim = static_cast<float>(d.k_dim);
    // x / sqrt(sum + eps) is the RMS norm over sqrt(dim); queries are divided by sqrt(dim) besides.
    const auto l2_norm = [&](const Tensor& x, float scale) {
      k.rms_norm(pass.stream(), {.x = x, .eps = kL2Eps / dim, .scale = scale, .out = x});
    };
    l2_norm(q, 1 / dim);
    l2_norm(key, 1 / std::sqrt(dim));
    k.delta_gates(pass.stream(),
                  {.a_log = call.weight(kALog), .dt_bias = call.weight(kDtBias), .a = p.a, .b = p.b});
    const Tensor made = pass.f32({pass.tokens(), values(d)});
    const Tensor by_head = made.split_last(d.v_heads, d.v_dim);
    k.gated_delta(pass.stream(), {.q = q,
                                  .k = key,
                                  .v = c.columns(2 * keys(d), channels(d)).split_last(d.v_heads, d.v_dim),
                                  .decay = p.a,
                                  .beta = p.b,
                                  .state = pass.state(call.layer, kDeltaState),
                                  .out = by_head,
                                  .tiled = d.tiled});
    pass.rms_norm(by_head, call.weight(kNorm), by_head);
    const Tensor mixed = pass.input({pass.tokens(), values(d)});
    const Act act = d.sigmoid ? Act::kSigmoid : Act::kSilu;
    k.gated_act(pass.stream(), {.act = act, .gate = p.z, .up = made, .out = mixed});
    pass.linear(mixed, call.weight(kO), {}, call.out);
  }

  std::string describe(const MixerSpec& spec) const override {
    const GatedDeltaSpec& d = of(spec);
    std::ostringstream text;
    text << "gated delta net " << d.v_heads << " value heads of " << d.v_dim << " / " << d.k_heads
         << " key heads of " << d.k_dim << ", convolution over " << d.conv;
    return text.str();
  }

 private:
  static Projected project(const GatedDeltaSpec& d, const MixerCall& call) {
    const Pass& pass = call.pass;
    const int64_t tokens = pass.tokens();
    const Projected p = {.u = pass.f32({tokens, channels(d)}),
                         .z = pass.f32({tokens, values(d)}),
                         .b = pass.f32({tokens, d.v_heads}),
                         .a = pass.f32({tokens, d.v_heads})};
    const int64_t share = d.v_heads / d.k_heads;
    const ArenaScope scope(pass.arena());
    const auto deal = [&](const Tensor& from, const Tensor& to, int64_t begin) {
      const int64_t size = to.size[1] / d.k_heads;
      const Tensor part = from.split_last(d.k_heads, from.size[1] / d.k_heads).columns(begin, begin + size);
      pass.kernels().copy(pass.stream(), {.x = part, .out = to.split_last(d.k_heads, size)});
    };
    if (d.by_head && !d.qkv_apart) {  // for each key head [q | k | its v heads | their z]
      const Tensor qkvz = pass.f32({tokens, channels(d) + values(d)});
      pass.linear(call.x, call.weight(kQkv), {}, qkvz);
      deal(qkvz, p.u.columns(0, keys(d)), 0);
      deal(qkvz, p.u.columns(keys(d), 2 * keys(d)), d.k_dim);
      deal(qkvz, p.u.columns(2 * keys(d), channels(d)), int64_t{2} * d.k_dim);
      deal(qkvz, p.z, 2 * d.k_dim + share * d.v_dim);
    } else {
      pass.linear(call.x, call.weight(kQkv), {}, p.u);
      pass.linear(call.x, call.weight(kZ), {}, p.z);
    }
    if (d.by_head) {  // [its b | its a]
      const Tensor ba = pass.f32({tokens, int64_t{2} * d.v_heads});
      pass.linear(call.x, call.weight(kB), {}, ba);
      deal(ba, p.b, 0);
      deal(ba, p.a, share);
    } else {
      pass.linear(call.x, call.weight(kB), {}, p.b);
      pass.linear(call.x, call.weight(kA), {}, p.a);
    }
    return p;
  }
};

}  // namespace

std::shared_ptr<const Mixer> gated_delta_mixer() { return std::make_shared<GatedDeltaMixer>(); }

}  // namespace heed
