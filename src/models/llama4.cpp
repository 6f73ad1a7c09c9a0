// Llama 4 (text): chunked layers with rope, and layers without rope that see everything and sharpen their
// queries far into the context; experts on every or every second layer. Source: transformers
// models/llama4/modeling_llama4.py.
#include <algorithm>

#include "model/spec.h"

namespace heed {
namespace {

MoeSpec llama4_moe(const Config& c) {
  MoeSpec s = experts(c, "num_local_experts", "intermediate_size");
  s.score = MoeRouteArgs::Score::kSigmoid;
  s.weigh_input = true;
  if (s.top_k != 1) c.fail("num_experts_per_tok is " + std::to_string(s.top_k) + "; Llama 4 has 1");
  s.shared_inner = s.inner;
  s.fused = MoeSpec::Fused::kColumns;
  return s;
}

// One flag a layer: whether it has rope.
std::vector<int> roped(const Config& c) {
  std::vector<int> flags = c.ids("no_rope_layers");
  if (flags.empty()) {
    const int every = c.size("no_rope_layer_interval", 4);
    for (int i = 0; i < layer_count(c); ++i) flags.push_back((i + 1) % every != 0 ? 1 : 0);
  }
  if (static_cast<int>(flags.size()) != layer_count(c)) {
    c.fail("no_rope_layers has " + std::to_string(flags.size()) + " entries for " +
           std::to_string(layer_count(c)) + " layers");
    flags.resize(layer_count(c));
  }
  return flags;
}

std::vector<int> moe_layers(const Config& c) {
  std::vector<int> layers = c.ids("moe_layers");
  if (!layers.empty()) return layers;
  const int step = c.size("interleave_moe_layer_step", 1);
  for (int i = step - 1; i < layer_count(c); i += step) layers.push_back(i);
  return layers;
}

ModelSpec llama4(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  m.norm_eps = c.positive("rms_norm_eps", 1e-5F);
  AttentionSpec far = gqa(c);
  far.qkv_bias = far.output_bias = c.flag("attention_bias", false);
  AttentionSpec local = far;
  local.rope = rope(c, local);
  local.rope.interleaved = true;
  local.norm_after_rope = c.flag("use_qk_norm", true);
  if (c.flag("attn_temperature_tuning", true)) {
    far.temperature = c.number("attn_scale", 0.1F);
    far.temperature_floor = c.positive("floor_scale", 8192);
  }
  const bool chunks = c.has("attention_chunk_size") || !c.mentions("attention_chunk_size");
  if (chunks) local.mask = causal() & chunk(c.size("attention_chunk_size", 8192));
  const std::vector<int> rope_flags = roped(c);
  const std::vector<int> with_experts = moe_layers(c);
  for (int i = 0; i < layer_count(c); ++i) {
    LayerSpec layer{.mixer = rope_flags[i] != 0 ? local : far};
    if (std::find(with_experts.begin(), with_experts.end(), i) != with_experts.end()) {
      layer.moe = llama4_moe(c);
    } else {
      layer.mlp = gated_mlp(c);
      layer.mlp->inner = c.size("intermediate_size_mlp", 16384);
    }
    m.layers.push_back(layer);
  }
  const std::string ffn = "model.layers.{}.feed_forward.";
  m.names = {{"router", ffn + "router"},
             {"experts_gate_up", ffn + "experts.gate_up_proj"},
             {"experts_down", ffn + "experts.down_proj"}};
  for (const std::string part : {"gate", "up", "down"}) {
    m.names[part] = ffn + part + "_proj";
    m.names["expert_" + part] = ffn + "experts.{}." + part + "_proj";
    m.names["shared_" + part] = ffn + "shared_expert." + part + "_proj";
  }
  return m;
}

const Registration llama4_registration({"Llama4ForCausalLM"}, llama4);

}  // namespace
}  // namespace heed
