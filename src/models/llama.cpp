// Llama 2 and 3: pre-norm blocks, grouped-query attention, gated SiLU.
// Source: transformers models/llama/modeling_llama.py.
#include "model/spec.h"

namespace heed {
namespace {

ModelSpec llama(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  AttentionSpec attention = gqa(c);
  attention.qkv_bias = attention.output_bias = c.flag("attention_bias", false);
  attention.rope = rope(c, attention);
  MlpSpec mlp = gated_mlp(c);
  mlp.bias = c.flag("mlp_bias", false);
  m.layers.assign(layer_count(c), {.mixer = attention, .mlp = mlp});
  return m;
}

const Registration llama_registration({"LlamaForCausalLM"}, llama);

}  // namespace
}  // namespace heed
