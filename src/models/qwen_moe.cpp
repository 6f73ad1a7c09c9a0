// Qwen3-MoE: Qwen3's attention, and experts on the layers that the configuration says.
// Source: transformers models/qwen3_moe/modeling_qwen3_moe.py.
#include "model/spec.h"

namespace heed {
namespace {

ModelSpec qwen3_moe(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  AttentionSpec attention = gqa(c);
  attention.qk_norm = true;
  attention.qkv_bias = attention.output_bias = c.flag("attention_bias", false);
  attention.rope = rope(c, attention);
  if (c.flag("use_sliding_window", false) && c.has("sliding_window"))
    attention.mask = causal() & window(c.size("sliding_window"));
  MoeSpec moe =
      experts(c, c.has("num_experts") ? "num_experts" : "num_local_experts", "moe_intermediate_size");
  moe.renormalise = c.flag("norm_topk_prob", false);
  moe.fused = MoeSpec::Fused::kRows;
  for (int i = 0; i < layer_count(c); ++i) {
    LayerSpec layer{.mixer = attention};
    if (has_experts(c, i)) {
      layer.moe = moe;
    } else {
      layer.mlp = gated_mlp(c);
    }
    m.layers.push_back(layer);
  }
  return m;
}

const Registration qwen_moe_registration({"Qwen3MoeForCausalLM"}, qwen3_moe);

}  // namespace
}  // namespace heed
