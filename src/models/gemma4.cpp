// Gemma 4: sliding and full layers with head sizes of their own, per-layer embeddings, later layers
// that read the keys and values of earlier ones, values made of keys, experts beside an MLP, a factor on each
// layer. Larger ones see the whole of an image from each of its tokens, on sliding layers and within the
// window's past. Source: transformers models/gemma4/modeling_gemma4.py, configuration_gemma4.py.
#include <cmath>

#include "model/spec.h"

namespace heed {
namespace {

constexpr std::string_view kSliding = "sliding_attention";
constexpr std::string_view kFull = "full_attention";

std::vector<std::string> gemma4_types(const Config& c) {
  std::vector<std::string> pattern(layer_count(c), std::string(kSliding));
  for (size_t i = 5; i < pattern.size(); i += 6) pattern[i] = kFull;
  std::vector<std::string> all = layer_types(c, {kSliding, kFull}, pattern);
  if (!all.empty()) all.back() = kFull;
  return all;
}

// Full layers have another head size, and may have another number of key heads: named for each layer, or
// once.
AttentionSpec attention(const Config& c, int layer, const std::string& type, bool sees_images) {
  AttentionSpec a = gqa(c);
  const bool full = type == kFull;
  if (c.has("per_layer_config")) {
    const Config own = c.at("per_layer_config").at(std::to_string(layer));
    a.head_dim = own.size("head_dim", a.head_dim);
    a.kv_heads = own.size("num_key_value_heads", a.kv_heads);
  } else if (full) {
    a.head_dim = c.size("global_head_dim", 512);
    if (c.flag("attention_k_eq_v", false)) a.kv_heads = c.size("num_global_key_value_heads", a.kv_heads);
  }
  if (a.heads % a.kv_heads != 0) {
    c.fail("num_attention_heads (" + std::to_string(a.heads) + ") is not a multiple of the " +
           std::to_string(a.kv_heads) + " key heads of layer " + std::to_string(layer));
    a.kv_heads = a.heads;
  }
  a.v_dim = a.head_dim;
  a.scale = 1;
  a.softcap = c.positive("attn_logit_softcapping", 0);
  a.qk_norm = a.v_norm = true;
  a.v_is_k = full && c.flag("attention_k_eq_v", false);
  a.qkv_bias = a.output_bias = c.flag("attention_bias", false);
  const Mask order = sees_images ? causal() | media() : causal();
  if (!full) a.mask = order & window(c.size("sliding_window", 512));
  if (c.has("rope_parameters")) {
    a.rope = rope(c, a, type);
  } else if (full) {
    a.rope = {
        .theta = 1e6F, .dims = a.head_dim, .scaling = RopeSpec::kProportional, .turning = a.head_dim / 8};
  } else {
    a.rope = {.theta = 1e4F, .dims = a.head_dim};
  }
  return a;
}

MoeSpec gemma4_moe(const Config& c) {
  MoeSpec s = experts(c, "num_experts", "moe_intermediate_size", "top_k_experts");
  s.renormalise = s.router_norm = s.expert_scale = true;
  s.fused = MoeSpec::Fused::kRows;
  return s;
}

void name_gemma4_tensors(ModelSpec& m) {
  const std::string layer = "model.layers.{}.";
  m.names = {{"ffn_norm", layer + "pre_feedforward_layernorm.weight"},
             {"mlp_post_norm", layer + "post_feedforward_layernorm_1.weight"},
             {"moe_norm", layer + "pre_feedforward_layernorm_2.weight"},
             {"moe_post_norm", layer + "post_feedforward_layernorm_2.weight"},
             {"layer_scale", layer + "layer_scalar"},
             {"router", layer + "router.proj"},
             {"router_scale", layer + "router.scale"},
             {"expert_scale", layer + "router.per_expert_scale"},
             {"experts_gate_up", layer + "experts.gate_up_proj"},
             {"experts_down", layer + "experts.down_proj"},
             {"expert_gate", layer + "experts.{}.gate_proj"},
             {"expert_up", layer + "experts.{}.up_proj"},
             {"expert_down", layer + "experts.{}.down_proj"},
             {"layer_input_gate", layer + "per_layer_input_gate"},
             {"layer_input_up", layer + "per_layer_projection"},
             {"layer_input_post_norm", layer + "post_per_layer_input_norm.weight"},
             {"layer_input_embed", "model.embed_tokens_per_layer"},
             {"layer_input_projection", "model.per_layer_model_projection"},
             {"layer_input_norm", "model.per_layer_projection_norm.weight"}};
}

// The last layer before `first_shared` of this type.
int source_of(const std::vector<std::string>& all, int first_shared, const std::string& type) {
  int source = first_shared - 1;
  while (source >= 0 && all[source] != type) --source;
  return source;
}

void add_layers(const Config& c, bool sees_images, ModelSpec& m) {
  const std::vector<std::string> all = gemma4_types(c);
  const auto count = static_cast<int>(all.size());
  const int first_shared = count - std::min(c.count("num_kv_shared_layers", 0), count);
  for (int i = 0; i < count; ++i) {
    AttentionSpec a = attention(c, i, all[i], sees_images);
    MlpSpec mlp = gated_mlp(c, "hidden_activation");
    if (i >= first_shared) {
      a.kv_source = source_of(all, first_shared, all[i]);
      if (a.kv_source < 0)
        c.fail("num_kv_shared_layers leaves no layer of type " + all[i] + " to share from");
      if (c.flag("use_double_wide_mlp", false)) mlp.inner *= 2;
      for (const char* unused : {"k_proj.weight", "v_proj.weight", "k_norm.weight"})
        m.ignored.push_back(m.prefix + "layers." + std::to_string(i) + ".self_attn." + unused);
    }
    LayerSpec layer{.mixer = a, .mlp = mlp, .norms = Norms::kSandwich, .scaled = true};
    if (c.flag("enable_moe_block", false)) layer.moe = gemma4_moe(c);
    m.layers.push_back(layer);
  }
}

ModelSpec gemma4_text(const Config& c, const std::string& prefix, bool has_tower) {
  ModelSpec m = decoder(c, /*tied_by_default=*/true);
  m.prefix = prefix;
  m.embed_scale = std::sqrt(static_cast<float>(m.hidden));
  m.logit_softcap = c.positive("final_logit_softcapping", 0);
  m.layer_input = c.count("hidden_size_per_layer_input", 256);
  m.layer_input_vocab = c.size("vocab_size_per_layer_input", 262144);
  if (m.layer_input > 0 && m.layer_input_vocab < m.vocab)
    c.fail("vocab_size_per_layer_input is smaller than vocab_size");
  const std::string both_ways = c.text("use_bidirectional_attention", "");
  if (both_ways == "all") c.fail("use_bidirectional_attention all: encoders are not supported");
  name_gemma4_tensors(m);
  add_layers(c, has_tower && both_ways == "vision", m);
  return m;
}

VisionSpec tower(const Config& all) {
  const Config c = all.at("vision_config");
  VisionSpec v = vision_tower(c);
  v.head_dim = c.size("head_dim", 64);
  if (v.head_dim % 4 != 0) c.fail("vision_config.head_dim must be a multiple of 4: two axes of pairs");
  if (c.size("num_key_value_heads", v.heads) != v.heads)
    c.fail("vision_config.num_key_value_heads differs from num_attention_heads");
  v.norm_eps = c.positive("rms_norm_eps", 1e-6F);
  v.act = activation(c, "hidden_activation");
  v.positions = c.size("position_embedding_size", 10240);
  v.clipped = c.flag("use_clipped_linears", false);
  v.standardise = c.flag("standardize", false);
  const Config rope = c.at("rope_parameters");
  v.rope_theta = rope.positive("rope_theta", 100);
  if (rope.text("rope_type", "axial") != "axial") c.fail("vision_config: only axial rope is known");
  v.prep.pool = c.size("pooling_kernel_size", 3);
  if (v.prep.pool > 64) c.fail("vision_config.pooling_kernel_size is above 64");
  v.tokens.placeholder = v.tokens.image = all.count("image_token_id", 258880);
  v.tokens.begin = all.count("boi_token_id", 255999);
  v.tokens.end = all.count("eoi_token_id", 258882);
  v.tokens.pad = all.at("text_config").count("pad_token_id", 0);
  return v;
}

ModelSpec gemma4_text_only(const Config& c) { return gemma4_text(c, "model.", /*has_tower=*/false); }

ModelSpec gemma4(const Config& c) {
  const bool has_tower = c.is_object("vision_config");
  ModelSpec m = gemma4_text(c.at("text_config"), "model.language_model.", has_tower);
  m.tied_embeddings = c.flag("tie_word_embeddings", m.tied_embeddings);
  m.ignored.insert(m.ignored.end(),
                   {"model.audio_tower.*", "model.embed_audio.*", "model.embed_vision.embedding.*"});
  if (has_tower) m.vision = tower(c);
  if (!has_tower) m.ignored.insert(m.ignored.end(), {"model.vision_tower.*", "model.embed_vision.*"});
  return m;
}

const Registration text_registration({"Gemma4ForCausalLM"}, gemma4_text_only);
const Registration gemma4_registration({"Gemma4ForConditionalGeneration"}, gemma4);

}  // namespace
}  // namespace heed
