// Mixtral: Mistral's attention, and experts on every layer.
// Source: transformers models/mixtral/modeling_mixtral.py.
#include "model/spec.h"

namespace heed {
namespace {

ModelSpec mixtral(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  AttentionSpec attention = gqa(c);
  attention.rope = rope(c, attention);
  if (c.has("sliding_window")) attention.mask = causal() & window(c.size("sliding_window"));
  MoeSpec moe = experts(c, "num_local_experts", "intermediate_size");
  moe.renormalise = true;
  m.layers.assign(layer_count(c), {.mixer = attention, .mlp = std::nullopt, .moe = moe});
  m.names["router"] = "model.layers.{}.block_sparse_moe.gate";
  m.names["expert_gate"] = "model.layers.{}.block_sparse_moe.experts.{}.w1";
  m.names["expert_up"] = "model.layers.{}.block_sparse_moe.experts.{}.w3";
  m.names["expert_down"] = "model.layers.{}.block_sparse_moe.experts.{}.w2";
  return m;
}

const Registration mixtral_registration({"MixtralForCausalLM"}, mixtral);

}  // namespace
}  // namespace heed
