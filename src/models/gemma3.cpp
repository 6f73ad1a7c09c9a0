// The Gemma 3 block and its text models: Gemma 3 itself (local layers with a sliding window and their own
// rope), Rnj-1 as released (a Gemma3ForCausalLM whose layers are all global, with YaRN), and Rnj1ForCausalLM
// (chunked local layers with one chunk of lookback, YaRN on every layer). Source: transformers
// models/gemma3/modeling_gemma3.py, arXiv 2503.19786; vLLM models/rnj1.py (PR 39823).
#include <cmath>

#include "model/spec.h"

namespace heed {
namespace {

ModelSpec gemma_decoder(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/true);
  m.embed_scale = std::sqrt(static_cast<float>(m.hidden));
  m.norm_plus_one = true;
  m.logit_softcap = c.positive("final_logit_softcapping", 0);
  m.names["ffn_norm"] = "model.layers.{}.pre_feedforward_layernorm.weight";
  return m;
}

AttentionSpec gemma_attention(const Config& c) {
  AttentionSpec a = gqa(c);
  a.scale = 1 / std::sqrt(c.positive("query_pre_attn_scalar", 256));
  a.softcap = c.positive("attn_logit_softcapping", 0);
  a.qk_norm = true;
  a.qkv_bias = a.output_bias = c.flag("attention_bias", false);
  return a;
}

LayerSpec gemma_layer(const Config& c, const AttentionSpec& attention) {
  return {.mixer = attention, .mlp = gated_mlp(c, "hidden_activation"), .norms = Norms::kSandwich};
}

// Before layer_types: every sixth layer is global, or every sliding_window_pattern-th.
std::vector<std::string> pattern(const Config& c) {
  const int every = c.size("sliding_window_pattern", c.size("_sliding_window_pattern", 6));
  std::vector<std::string> types(layer_count(c), "sliding_attention");
  for (size_t i = every - 1; i < types.size(); i += every) types[i] = "full_attention";
  return types;
}

ModelSpec gemma3(const Config& c) {
  ModelSpec m = gemma_decoder(c);
  if (c.flag("use_bidirectional_attention", false))
    c.fail("use_bidirectional_attention: encoders are not supported");
  for (const std::string& type : layer_types(c, {"sliding_attention", "full_attention"}, pattern(c))) {
    AttentionSpec a = gemma_attention(c);
    const bool local = type == "sliding_attention";
    if (local) a.mask = causal() & window(c.size("sliding_window", 4096));
    a.rope = rope(c, a, type);
    if (local && !c.has("rope_parameters")) {  // the older form has a plain rope of its own for local layers
      a.rope = {.theta = c.positive("rope_local_base_freq", 10000), .dims = a.head_dim};
    } else if (!local && !c.has("rope_parameters")) {
      if (!c.has("rope_theta")) a.rope.theta = 1e6F;
    }
    m.layers.push_back(gemma_layer(c, a));
  }
  return m;
}

ModelSpec rnj1(const Config& c) {
  ModelSpec m = gemma_decoder(c);
  constexpr int kLookback = 1;
  for (const std::string& type : layer_types(c, {"chunked_attention", "full_attention"}, {})) {
    AttentionSpec a = gemma_attention(c);
    a.softcap = 0;  // the model has none; the field is left from the class it borrows
    if (type == "chunked_attention") {
      const int reach = c.size("sliding_window");  // the whole receptive field: own chunk and lookback
      if (reach <= kLookback)
        c.fail("sliding_window is " + std::to_string(reach) + "; at least 2 is expected");
      a.mask = causal() & chunk(std::max(reach / (kLookback + 1), 1), kLookback);
    }
    a.rope = rope(c, a, type);
    m.layers.push_back(gemma_layer(c, a));
  }
  return m;
}

const Registration gemma3_registration({"Gemma3ForCausalLM"}, gemma3);
const Registration rnj1_registration({"Rnj1ForCausalLM"}, rnj1);

}  // namespace
}  // namespace heed
