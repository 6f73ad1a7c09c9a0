// Bailing MoE 2.5 (Ring and Ling 2.5, Ling 2.6): linear attention with fixed decay on most layers, latent
// attention on the last of each group, experts chosen within groups beside a shared one.
// Source: inclusionAI/Ring-V2.5 modeling_bailing_moe_v2_5.py.
#include <cmath>

#include "model/spec.h"

namespace heed {
namespace {

// The authors' modelling file has layer - 1; other engines have the layer itself. The checkpoint does not
// tell.
constexpr int kSlopeLayerOffset = 1;

std::vector<float> slopes(int heads, int layer, int layers) {
  const double place = layers > 1 ? static_cast<double>(layer - kSlopeLayerOffset) / (layers - 1) : 0;
  std::vector<float> all = head_slopes(heads);
  for (float& slope : all) slope *= static_cast<float>(1 - place + 1e-5);
  return all;
}

LinearAttentionSpec linear(const Config& c, int layer) {
  LinearAttentionSpec a = {.heads = head_count(c)};
  a.head_dim = c.size("head_dim", c.size("hidden_size") / std::max(a.heads, 1));
  a.slopes = slopes(a.heads, layer, layer_count(c));
  a.scale = 1 / std::sqrt(static_cast<float>(a.head_dim));
  a.silu = c.flag("linear_silu", c.flag("use_linear_silu", false));
  a.qk_norm = c.flag("use_qk_norm", true);
  a.rope = rope(c, a.head_dim);
  if (!c.has("partial_rotary_factor") && !c.has("rope_parameters")) a.rope.dims = a.head_dim / 2;
  if (!c.flag("linear_rope", true)) a.rope = {};
  a.norm_groups = c.size("group_norm_size", 1);
  a.norm_eps = c.positive("rms_norm_eps", 1e-6F);
  a.qkv_bias = c.flag("use_qkv_bias", false);
  a.output_bias = c.flag("use_bias", false);
  if (a.heads * int64_t{a.head_dim} % a.norm_groups != 0)
    c.fail("group_norm_size (" + std::to_string(a.norm_groups) + ") does not divide the heads' elements");
  return a;
}

LatentAttentionSpec bailing_latent(const Config& c) {
  LatentAttentionSpec a = {.heads = head_count(c),
                           .q_rank = c.has("q_lora_rank") ? c.size("q_lora_rank") : 0,
                           .kv_rank = c.size("kv_lora_rank", 512),
                           .nope_dim = c.size("qk_nope_head_dim", 128),
                           .rope_dim = c.size("qk_rope_head_dim", 64),
                           .v_dim = c.size("v_head_dim", 128)};
  a.bias = c.flag("use_qkv_bias", false);
  a.output_bias = a.bias;
  a.rope = rope(c, a.rope_dim);
  a.rope.dims = a.rope_dim;  // the partial factor is the linear layers'
  a.rope.interleaved = c.flag("rope_interleave", true);
  if (!a.rope.interleaved) c.fail("rope_interleave false is not supported: no model has it");
  a.scale = 1 / std::sqrt(static_cast<float>(a.nope_dim + a.rope_dim));
  const float all_dim = c.at("rope_scaling").number("mscale_all_dim", 0);
  if (all_dim != 0) {
    const double mscale = yarn_mscale(a.rope.factor, all_dim);
    a.scale *= static_cast<float>(mscale * mscale);
  }
  return a;
}

MoeSpec bailing_moe(const Config& c) {
  MoeSpec s = experts(c, "num_experts", "moe_intermediate_size");
  const std::string score = c.text("score_function", "sigmoid");
  if (score != "sigmoid" && score != "softmax")
    c.fail("score_function is \"" + score + "\"; sigmoid or softmax is expected");
  s.score = score == "sigmoid" ? MoeRouteArgs::Score::kSigmoid : MoeRouteArgs::Score::kSoftmax;
  s.choice_bias = c.flag("moe_router_enable_expert_bias", true);
  s.renormalise = c.flag("norm_topk_prob", true) && s.top_k > 1;
  s.scale = c.positive("routed_scaling_factor", 1);
  read_groups(c, s);
  s.shared_inner = c.count("num_shared_experts", 1) * c.size("moe_shared_expert_intermediate_size", s.inner);
  return s;
}

void name_bailing_tensors(ModelSpec& m) {
  const std::string attention = "model.layers.{}.attention.";
  m.names = {{"embed", "model.word_embeddings.weight"},
             {"choice_bias", "model.layers.{}.mlp.gate.expert_bias"},
             {"linear_qkv", attention + "query_key_value"},
             {"linear_q_norm", attention + "query_layernorm.weight"},
             {"linear_k_norm", attention + "key_layernorm.weight"},
             {"linear_gate", attention + "g_proj"},
             {"linear_norm", attention + "g_norm.weight"},
             {"linear_out", attention + "dense"},
             {"q", attention + "q_proj"},
             {"q_down", attention + "q_a_proj"},
             {"q_latent_norm", attention + "q_a_layernorm.weight"},
             {"q_up", attention + "q_b_proj"},
             {"kv_down", attention + "kv_a_proj_with_mqa"},
             {"kv_latent_norm", attention + "kv_a_layernorm.weight"},
             {"kv_up", attention + "kv_b_proj.weight"},
             {"o", attention + "dense"}};
  for (const char* part : {"gate", "up", "down"})
    m.names[std::string("shared_") + part] =
        std::string("model.layers.{}.mlp.shared_experts.") + part + "_proj";
}

ModelSpec bailing(const Config& c) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  name_bailing_tensors(m);
  const int layers = layer_count(c);
  const int group = c.size("layer_group_size", 5);
  const int dense = c.count("first_k_dense_replace", 1);
  for (int i = 0; i < layers; ++i) {
    const bool full = (i + 1) % group == 0 || i >= layers / group * group;
    LayerSpec& layer = m.layers.emplace_back();
    layer.mixer = full ? MixerSpec(bailing_latent(c)) : MixerSpec(linear(c, i));
    if (i < dense) {
      layer.mlp = gated_mlp(c);
    } else {
      layer.moe = bailing_moe(c);
    }
  }
  m.ignored.insert(m.ignored.end(), {"*slope*", "model.mtp.*"});
  ignore_draft_layers(c, 0, m);
  return m;
}

const Registration bailing_registration({"BailingMoeV2_5ForCausalLM"}, bailing);

}  // namespace
}  // namespace heed
