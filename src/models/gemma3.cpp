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

// Image tokens see their whole image, on every layer.
ModelSpec gemma3_of(const Config& c, bool sees_images) {
  ModelSpec m = gemma_decoder(c);
  if (c.flag("use_bidirectional_attention", false))
    c.fail("use_bidirectional_attention: encoders are not supported");
  for (const std::string& type : layer_types(c, {"sliding_attention", "full_attention"}, pattern(c))) {
    AttentionSpec a = gemma_attention(c);
    const bool local = type == "sliding_attention";
    if (sees_images) a.mask = causal() | media();
    if (local) a.mask = a.mask & window(c.size("sliding_window", 4096));
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

ModelSpec gemma3(const Config& c) { return gemma3_of(c, /*sees_images=*/false); }

// Published configurations of models that see leave out what the classes of transformers have as defaults.
const Json& text_defaults() {
  static const Json defaults = {{"vocab_size", 262208},        {"num_attention_heads", 8},
                                {"num_key_value_heads", 4},    {"head_dim", 256},
                                {"rms_norm_eps", 1e-6},        {"max_position_embeddings", 131072},
                                {"query_pre_attn_scalar", 256}};
  return defaults;
}
const Json& tower_defaults() {
  static const Json defaults = {{"hidden_size", 768},
                                {"intermediate_size", 3072},
                                {"num_hidden_layers", 12},
                                {"num_attention_heads", 12},
                                {"image_size", 224},
                                {"patch_size", 16},
                                {"hidden_act", "gelu_pytorch_tanh"}};
  return defaults;
}

VisionSpec siglip(const Config& all) {
  const Config c = all.at("vision_config").with_defaults(tower_defaults());
  VisionSpec v = vision_tower(c);
  v.kind = VisionSpec::Kind::kSiglip;
  v.head_dim = v.hidden / v.heads;
  v.norm_eps = c.positive("layer_norm_eps", 1e-6F);
  v.act = activation(c);
  v.prefix = "model.vision_tower.vision_model.";
  v.projector = "model.multi_modal_projector.";
  ImagePrep& prep = v.prep;
  prep.fit = ImagePrep::Fit::kSquare;
  prep.filter = ImagePrep::Filter::kBilinear;
  prep.size = c.size("image_size");
  prep.mean = prep.deviation = {0.5F, 0.5F, 0.5F};
  prep.channel_last = false;
  const int side = std::max(prep.size / prep.patch, 1);
  const int tokens = all.size("mm_tokens_per_image", 256);
  const auto across = static_cast<int>(std::lround(std::sqrt(tokens)));
  if (v.heads * v.head_dim != v.hidden || side * prep.patch != prep.size || across * across != tokens ||
      side % across != 0 || side > 1024) {
    c.fail(
        "vision_config: hidden_size, num_attention_heads, image_size, patch_size and mm_tokens_per_image do "
        "not fit "
        "each other");
    return v;
  }
  v.positions = side * side;
  prep.pool = side / across;
  prep.max_soft_tokens = tokens;
  v.tokens.image = all.count("image_token_id", all.count("image_token_index", 262144));
  v.tokens.begin = all.count("boi_token_id", all.count("boi_token_index", 255999));
  v.tokens.end = all.count("eoi_token_id", all.count("eoi_token_index", 256000));
  v.tokens.placeholder = v.tokens.begin;
  v.tokens.around = "\n\n";
  return v;
}

ModelSpec gemma3_seeing(const Config& c) {
  ModelSpec m = gemma3_of(c.at("text_config").with_defaults(text_defaults()), /*sees_images=*/true);
  m.tied_embeddings = c.flag("tie_word_embeddings", true);
  m.prefix = "model.language_model.";
  m.old_prefix = "language_model.model.";
  if (m.tied_embeddings) m.ignored.emplace_back("language_model.lm_head.weight");
  m.vision = siglip(c);
  m.ignored.insert(m.ignored.end(),
                   {"*vision_model.embeddings.position_ids", "*vision_tower.head.*", "*vision_model.head.*"});
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
const Registration seeing_registration({"Gemma3ForConditionalGeneration"}, gemma3_seeing);
const Registration rnj1_registration({"Rnj1ForCausalLM"}, rnj1);

}  // namespace
}  // namespace heed
