// gpt-oss: windows on every second layer, a learned logit in every softmax, experts whose gates are clamped.
// As published its experts' weights are MXFP4. Source: transformers models/gpt_oss/modeling_gpt_oss.py.
#include "model/spec.h"

namespace heed {
namespace {

ModelSpec gpt_oss(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  m.norm_eps = c.positive("rms_norm_eps", 1e-5F);
  AttentionSpec full = gqa(c);
  full.rope = rope(c, full);
  full.sink_logits = true;
  full.qkv_bias = full.output_bias = c.flag("attention_bias", true);
  AttentionSpec sliding = full;
  sliding.mask = causal() & window(c.size("sliding_window", 128));
  MoeSpec moe =
      experts(c, c.has("num_local_experts") ? "num_local_experts" : "num_experts", "intermediate_size");
  moe.act = Act::kClampedSwiglu;
  moe.score = MoeRouteArgs::Score::kSoftmaxOfChosen;
  moe.router_bias = moe.expert_bias = true;
  moe.fused = MoeSpec::Fused::kColumnsByTurns;
  std::vector<std::string> pattern(layer_count(c), "full_attention");
  for (size_t i = 0; i < pattern.size(); i += 2) pattern[i] = "sliding_attention";
  for (const std::string& type : layer_types(c, {"sliding_attention", "full_attention"}, pattern)) {
    m.layers.push_back({.mixer = type == "full_attention" ? full : sliding, .mlp = std::nullopt, .moe = moe});
  }
  m.names["router"] = "model.layers.{}.mlp.router";
  return m;
}

const Registration gpt_oss_registration({"GptOssForCausalLM"}, gpt_oss);

}  // namespace
}  // namespace heed
