// Qwen2 and Qwen3, dense: Llama with biases on q, k, v (Qwen2) or norms on q and k (Qwen3), and windows by
// layer. Source: transformers models/qwen2/modeling_qwen2.py, models/qwen3/modeling_qwen3.py.
#include "model/spec.h"

namespace heed {
namespace {

// With use_sliding_window, the layers from max_window_layers on slide; layer_types says so outright where
// present.
std::vector<std::string> qwen_types(const Config& c) {
  std::vector<std::string> all(layer_count(c), "full_attention");
  if (c.flag("use_sliding_window", false) && c.has("sliding_window")) {
    for (size_t i = c.count("max_window_layers", 28); i < all.size(); ++i) all[i] = "sliding_attention";
  }
  return layer_types(c, {"full_attention", "sliding_attention"}, all);
}

ModelSpec qwen(const Config& c, const AttentionSpec& full) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  for (const std::string& type : qwen_types(c)) {
    AttentionSpec attention = full;
    if (type == "sliding_attention") attention.mask = causal() & window(c.size("sliding_window"));
    m.layers.push_back({.mixer = attention, .mlp = gated_mlp(c)});
  }
  return m;
}

ModelSpec qwen2(const Config& c) {
  AttentionSpec attention = gqa(c);
  attention.qkv_bias = true;
  attention.rope = rope(c, attention);
  return qwen(c, attention);
}

ModelSpec qwen3(const Config& c) {
  AttentionSpec attention = gqa(c);
  attention.qk_norm = true;
  attention.qkv_bias = attention.output_bias = c.flag("attention_bias", false);
  attention.rope = rope(c, attention);
  return qwen(c, attention);
}

const Registration qwen2_registration({"Qwen2ForCausalLM"}, qwen2);
const Registration qwen3_registration({"Qwen3ForCausalLM"}, qwen3);

}  // namespace
}  // namespace heed
