// EAGLE-3 drafters: a Llama-like layer, or a few, that guess token by token from hidden states of three
// layers of the target. Two published forms: the authors' (their layer is called "midlayer", its fields stand
// at the top) and that of the speculators library. Taps count layers that have run, in both. Sources:
// SafeAILab/EAGLE eagle/model/cnets.py; vllm-project/speculators models/eagle3; arXiv 2503.01840.
#include "model/spec.h"

namespace heed {
namespace {

// The fields of the drafter's own, wherever this checkpoint has them.
struct EagleConfig {
  Config top, stack, own;  // config.json; the network's part of it; eagle_config

  explicit EagleConfig(const Config& c)
      : top(c),
        stack(c.is_object("transformer_layer_config") ? c.at("transformer_layer_config") : c),
        own(c.at("eagle_config")) {}

  const Config& holder(std::string_view key) const { return own.has(key) ? own : top; }
};

// What would change the result and is not built is refused, not passed over.
void refuse_eagle_variants(const EagleConfig& c) {
  for (const char* key : {"fc_norm", "norm_output", "parallel_drafting"}) {
    if (c.holder(key).flag(key, false)) c.top.fail(std::string(key) + " is not supported");
  }
  if (!c.holder("use_aux_hidden_state").flag("use_aux_hidden_state", true))
    c.top.fail("use_aux_hidden_state is false; true is expected");
  if (c.top.number("logit_scale", 1) != 1) c.top.fail("logit_scale is not 1, which is all that is supported");
  const std::string type = c.stack.text("model_type", "llama");
  if (type != "llama" && type != "qwen3")
    c.top.fail("model_type of the drafter's layers is \"" + type + "\"; llama or qwen3 is expected");
  layer_types(c.stack, {"full_attention"}, std::vector<std::string>(layer_count(c.stack), "full_attention"));
}

DraftSpec eagle_draft(const EagleConfig& c, const ModelSpec& m) {
  constexpr size_t kMostTaps = 64;
  constexpr const char* kIds = "eagle_aux_hidden_state_layer_ids";
  DraftSpec draft = {.kind = DraftSpec::Kind::kEagle,
                     .target_hidden = c.top.size("target_hidden_size", m.hidden),
                     .taps = c.holder(kIds).ids(kIds)};
  if (draft.taps.size() > kMostTaps) {
    c.top.fail(std::to_string(draft.taps.size()) + " tapped layers; at most 64 are accepted");
    draft.taps.resize(1);
  }
  draft.usual_taps = draft.taps.empty();
  if (draft.usual_taps) draft.taps = {0, 0, 0};
  draft.norm_taps = c.top.flag("norm_before_fc", false);
  draft.norm_first = c.top.flag("norm_before_residual", false);
  draft.head_vocab = c.top.size("draft_vocab_size", m.vocab);
  if (draft.head_vocab == m.vocab) draft.head_vocab = 0;
  return draft;
}

ModelSpec eagle3(const Config& config) {
  const EagleConfig c(config);
  refuse_eagle_variants(c);
  ModelSpec m = decoder(c.stack, /*tied_by_default=*/false);
  m.prefix = "";
  m.first_layer = "midlayer.";
  m.names = {{"draft_norm", "model.layers.0.hidden_norm.weight"}};
  for (const char* name : {"t2d", "verifier_*"}) m.ignored.emplace_back(name);
  m.draft = eagle_draft(c, m);
  if (m.draft->head_vocab == 0) m.ignored.emplace_back("d2t");

  AttentionSpec attention = gqa(c.stack);
  attention.qk_norm = c.stack.text("model_type", "llama") == "qwen3";
  attention.qkv_bias = attention.output_bias = c.stack.flag("attention_bias", false);
  attention.rope = rope(c.stack, attention);
  attention.input = 2 * m.hidden;
  for (int i = 0; i < layer_count(c.stack); ++i) {
    m.layers.push_back({.mixer = attention, .mlp = gated_mlp(c.stack)});
    attention.input = 0;
  }
  return m;
}

const Registration eagle3_registration({"LlamaForCausalLMEagle3", "Eagle3LlamaForCausalLM",
                                        "Eagle3Speculator", "Eagle3DraftModel"},
                                       eagle3);

}  // namespace
}  // namespace heed
