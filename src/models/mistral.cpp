// Mistral: Llama with a sliding window on every layer, or on those that layer_types names.
// Source: transformers models/mistral/modeling_mistral.py, models/ministral/configuration_ministral.py.
#include "model/spec.h"

namespace heed {
namespace {

ModelSpec mistral(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  AttentionSpec global = gqa(c);
  global.rope = rope(c, global);
  // null means none; left out means the default of 4096, as in transformers.
  const bool windowed = c.has("sliding_window") || !c.mentions("sliding_window");
  AttentionSpec sliding = global;
  if (windowed) sliding.mask = causal() & window(c.size("sliding_window", 4096));

  const std::vector<std::string> all(layer_count(c), windowed ? "sliding_attention" : "full_attention");
  for (const std::string& type : layer_types(c, {"sliding_attention", "full_attention"}, all)) {
    m.layers.push_back({.mixer = type == "full_attention" ? global : sliding, .mlp = gated_mlp(c)});
  }
  return m;
}

const Registration mistral_registration({"MistralForCausalLM", "MinistralForCausalLM"}, mistral);

}  // namespace
}  // namespace heed
