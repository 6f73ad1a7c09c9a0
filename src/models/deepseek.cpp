// DeepSeek-V3: latent attention, and experts chosen within groups beside a shared one.
// Source: transformers models/deepseek_v3/modeling_deepseek_v3.py, arXiv 2412.19437.
#include <cmath>

#include "model/spec.h"

namespace heed {
namespace {

LatentAttentionSpec deepseek_latent(const Config& c) {
  LatentAttentionSpec a = {.heads = head_count(c),
                           .q_rank = c.has("q_lora_rank") ? c.size("q_lora_rank") : 0,
                           .kv_rank = c.size("kv_lora_rank"),
                           .nope_dim = c.size("qk_nope_head_dim"),
                           .rope_dim = c.size("qk_rope_head_dim"),
                           .v_dim = c.size("v_head_dim")};
  a.bias = c.flag("attention_bias", false);
  a.output_bias = a.bias;
  a.rope = rope(c, a.rope_dim);
  a.rope.interleaved = c.flag("rope_interleave", true);
  a.scale = 1 / std::sqrt(static_cast<float>(a.nope_dim + a.rope_dim));
  const Config scaling = c.at(c.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
  if (a.rope.scaling == RopeSpec::kYarn && scaling.number("mscale_all_dim", 0) != 0) {
    const double mscale = yarn_mscale(a.rope.factor, scaling.number("mscale_all_dim", 0));
    a.scale *= static_cast<float>(mscale * mscale);
  }
  return a;
}

MoeSpec deepseek_moe(const Config& c) {
  MoeSpec s = experts(c, c.has("n_routed_experts") ? "n_routed_experts" : "num_local_experts",
                      "moe_intermediate_size");
  s.score = MoeRouteArgs::Score::kSigmoid;
  s.choice_bias = true;
  s.renormalise = c.flag("norm_topk_prob", true);
  s.scale = c.positive("routed_scaling_factor", 2.5F);
  read_groups(c, s);
  s.shared_inner = s.inner * c.size("n_shared_experts", 1);
  s.fused = MoeSpec::Fused::kRows;
  return s;
}

ModelSpec deepseek(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  const LatentAttentionSpec attention = deepseek_latent(c);
  const int dense = c.count("first_k_dense_replace", 3);
  for (int i = 0; i < layer_count(c); ++i) {
    LayerSpec layer{.mixer = attention};
    if (i < dense) {
      layer.mlp = gated_mlp(c);
    } else {
      layer.moe = deepseek_moe(c);
    }
    m.layers.push_back(layer);
  }
  for (const char* part : {"gate", "up", "down"})
    m.names[std::string("shared_") + part] =
        std::string("model.layers.{}.mlp.shared_experts.") + part + "_proj";
  ignore_draft_layers(c, 1, m);
  return m;
}

const Registration deepseek_registration({"DeepseekV3ForCausalLM"}, deepseek);

}  // namespace
}  // namespace heed
