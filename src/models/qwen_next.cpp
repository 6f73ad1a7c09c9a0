// Qwen3-Next and Qwen3.5: three layers of gated delta net to one of gated softmax attention, with an MLP or
// experts. Qwen3.5 stores the delta net's projections apart, and its multimodal checkpoints hold the text
// model under a prefix. Source: transformers models/qwen3_next/modular_qwen3_next.py,
// models/qwen3_5/modular_qwen3_5.py, models/qwen3_5_moe/modular_qwen3_5_moe.py.
#include "model/spec.h"

namespace heed {
namespace {

GatedDeltaSpec delta_net(const Config& c) {
  GatedDeltaSpec d = {.k_heads = c.size("linear_num_key_heads", 16),
                      .v_heads = c.size("linear_num_value_heads", 32),
                      .k_dim = c.size("linear_key_head_dim", 128),
                      .v_dim = c.size("linear_value_head_dim", 128),
                      .conv = c.size("linear_conv_kernel_dim", 4)};
  if (d.v_heads % d.k_heads != 0) {
    c.fail("linear_num_value_heads (" + std::to_string(d.v_heads) +
           ") is not a multiple of linear_num_key_heads (" + std::to_string(d.k_heads) + ")");
  }
  if (d.conv < 2) c.fail("linear_conv_kernel_dim is " + std::to_string(d.conv) + "; at least 2 is expected");
  const std::string gate = c.text("output_gate_type", "swish");
  if (gate != "swish" && gate != "silu" && gate != "sigmoid")
    c.fail("output_gate_type is \"" + gate + "\"; swish, silu or sigmoid is expected");
  d.sigmoid = gate == "sigmoid";
  return d;
}

AttentionSpec attention(const Config& c) {
  AttentionSpec a = gqa(c);
  a.qk_norm = true;
  a.gated = c.flag("attn_output_gate", true);
  a.qkv_bias = a.output_bias = c.flag("attention_bias", false);
  // Older configurations name the rotated part beside rope_scaling, where rope() finds it too.
  a.rope = rope(c, a);
  return a;
}

std::vector<std::string> qwen_next_types(const Config& c) {
  const int every = c.size("full_attention_interval", 4);
  std::vector<std::string> pattern(layer_count(c), "linear_attention");
  for (size_t i = every - 1; i < pattern.size(); i += every) pattern[i] = "full_attention";
  return layer_types(c, {"linear_attention", "full_attention"}, pattern);
}

MoeSpec moe(const Config& c, bool always_renormalise) {
  MoeSpec s = experts(c, c.has("num_experts") ? "num_experts" : "num_local_experts", "moe_intermediate_size");
  s.renormalise = always_renormalise || c.flag("norm_topk_prob", true);
  s.shared_inner = c.size("shared_expert_intermediate_size", 512);
  s.shared = MoeSpec::Shared::kGate;
  s.fused = MoeSpec::Fused::kRows;
  return s;
}

// The heads that guess (multi-token prediction): one layer of attention like the model's own, with its
// embedding and head. Where there are more, or other embeddings, they are not known here. Source: vLLM
// models/qwen3_next_mtp.py, models/qwen3_5_mtp.py.
std::shared_ptr<const ModelSpec> mtp_heads(const Config& c, const ModelSpec& model, const LayerSpec& layer) {
  const int layers = c.count(
      c.has("mtp_num_hidden_layers") ? "mtp_num_hidden_layers" : "num_nextn_predict_layers", /*fallback=*/1);
  if (layers != 1 || c.flag("mtp_use_dedicated_embeddings", false)) return nullptr;
  ModelSpec m = model;
  m.prefix = "mtp.";
  m.names = {{"draft_norm", "model.pre_fc_norm_hidden.weight"}, {"head", "model.lm_head.weight"}};
  m.ignored = {"model.*", "lm_head.weight", "*.rotary_emb.inv_freq"};
  m.layers = {layer};
  m.draft = DraftSpec{.kind = DraftSpec::Kind::kMtp,
                      .target_hidden = model.hidden,
                      .taps = {static_cast<int>(model.layers.size())}};
  return std::make_shared<const ModelSpec>(std::move(m));
}

ModelSpec hybrid(const Config& c, const GatedDeltaSpec& delta, const std::optional<MoeSpec>& experts) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  m.norm_plus_one = true;
  m.ignored.emplace_back("mtp.*");
  const AttentionSpec full = attention(c);
  for (const std::string& type : qwen_next_types(c)) {
    LayerSpec layer;
    if (type == "full_attention") {
      layer.mixer = full;
    } else {
      layer.mixer = delta;
    }
    if (experts && has_experts(c, static_cast<int>(m.layers.size()))) {
      layer.moe = experts;
    } else {
      layer.mlp = gated_mlp(c);
    }
    m.layers.push_back(layer);
  }
  LayerSpec last = {.mixer = full};
  if (experts && has_experts(c, 0)) {
    last.moe = experts;
  } else {
    last.mlp = gated_mlp(c);
  }
  m.heads = mtp_heads(c, m, last);
  return m;
}

ModelSpec qwen3_next(const Config& c) {
  GatedDeltaSpec delta = delta_net(c);
  delta.by_head = true;
  return hybrid(c, delta, moe(c, /*always_renormalise=*/false));
}

// A multimodal configuration holds the text model's in text_config.
ModelSpec qwen3_5_of(const Config& c, bool has_moe) {
  const bool wrapped = c.is_object("text_config");
  const Config text = wrapped ? c.at("text_config") : c;
  std::optional<MoeSpec> experts;
  if (has_moe) experts = moe(text, /*always_renormalise=*/true);
  ModelSpec m = hybrid(text, delta_net(text), experts);
  if (wrapped) {
    if (c.has("tie_word_embeddings")) m.tied_embeddings = c.flag("tie_word_embeddings", false);
    m.prefix = "model.language_model.";
    m.ignored.emplace_back("model.visual.*");
    if (m.tied_embeddings) m.ignored.emplace_back("lm_head.weight");
  }
  return m;
}
ModelSpec qwen3_5(const Config& c) { return qwen3_5_of(c, /*has_moe=*/false); }
ModelSpec qwen3_5_moe(const Config& c) { return qwen3_5_of(c, /*has_moe=*/true); }

const Registration next_registration({"Qwen3NextForCausalLM"}, qwen3_next);
const Registration dense_registration({"Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"}, qwen3_5);
const Registration moe_registration({"Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"},
                                    qwen3_5_moe);

}  // namespace
}  // namespace heed
