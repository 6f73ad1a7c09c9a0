// A mixer of somebody else's: a gated short convolution, out = W_out (sigmoid(c) * conv(sigmoid(b) * v)) with
// [b, c, v] = W_in x, and a model that has it on every layer but each third, which attends. Built against an
// installed Heed as a shared library (CMakeLists.txt) and used with `--plugin libgated_conv.so`.
#include "engine/plugin.h"
#include "model/pass.h"

namespace {

using namespace heed;

struct GatedConv {
  int width = 3;     // tokens that the convolution sees
  int channels = 0;  // as many as the model is wide
};

const GatedConv& of(const MixerSpec& spec) {
  return *static_cast<const GatedConv*>(std::get<CustomMixerSpec>(spec).data.get());
}

class GatedConvMixer : public Mixer {
 public:
  enum Weight : uint8_t { kIn, kConv, kOut };

  MixerNeeds needs(const MixerSpec& spec) const override {
    const GatedConv& s = of(spec);
    return {.states = {{.name = "convolution", .shape = {s.width - 1, s.channels}}}, .widest = s.channels};
  }

  void declare(const MixerSpec& spec, const ModelSpec& model, WeightList& weights) const override {
    const GatedConv& s = of(spec);
    weights.matrix(kIn, "conv_in", int64_t{3} * s.channels, model.hidden);
    weights.stored("conv", {s.channels, s.width}, TensorNeed::kVector);
    weights.part(kConv, {s.channels, s.width}, nullptr);
    weights.matrix(kOut, "conv_out", model.hidden, s.channels);
  }

  std::string why_not(const MixerSpec& /*spec*/, const Kernels& kernels) const override {
    return kernels.short_conv != nullptr ? "" : "has no short convolution";
  }

  void run(const MixerSpec& spec, const MixerCall& call) const override {
    const GatedConv& s = of(spec);
    const Pass& pass = call.pass;
    const Kernels& k = pass.kernels();
    const Tensor all = pass.f32({pass.tokens(), int64_t{3} * s.channels});
    pass.linear(call.x, call.weight(kIn), {}, all);
    const Tensor b = all.columns(0, s.channels);
    const Tensor c = all.columns(s.channels, 2 * s.channels);
    const Tensor v = all.columns(2 * s.channels, 3 * s.channels);
    k.gated_act(pass.stream(), {.act = Act::kSigmoid, .gate = b, .up = v, .out = v});
    const Tensor mixed = pass.f32({pass.tokens(), s.channels});
    k.short_conv(pass.stream(), {.x = v,
                                 .weight = call.weight(kConv),
                                 .silu = false,
                                 .state = pass.state(call.layer, 0),
                                 .out = mixed});
    const Tensor gated = pass.input({pass.tokens(), s.channels});
    k.gated_act(pass.stream(), {.act = Act::kSigmoid, .gate = c, .up = mixed, .out = gated});
    pass.linear(gated, call.weight(kOut), {}, call.out);
  }

  std::string describe(const MixerSpec& spec) const override {
    return "gated convolution over " + std::to_string(of(spec).width) + " tokens";
  }
};

ModelSpec gated_conv_model(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/true);
  const auto conv = std::make_shared<const GatedConv>(GatedConv{c.size("conv_width", 3), m.hidden});
  AttentionSpec attention = gqa(c);
  attention.rope = rope(c, attention);
  for (int i = 0; i < layer_count(c); ++i) {
    LayerSpec layer{.mixer = attention, .mlp = gated_mlp(c)};
    if (i % 3 != 2) layer.mixer = CustomMixerSpec{.name = "gated_conv", .data = conv};
    m.layers.push_back(layer);
  }
  m.names = {{"conv_in", "model.layers.{}.conv.in_proj"},
             {"conv", "model.layers.{}.conv.weight"},
             {"conv_out", "model.layers.{}.conv.out_proj"}};
  return m;
}

void install(const PluginHost& host) {
  host.add_mixer("gated_conv", std::make_shared<GatedConvMixer>());
  host.add_model("GatedConvForCausalLM", gated_conv_model);
}

}  // namespace

HEED_PLUGIN("gated_conv 1.0", install);
