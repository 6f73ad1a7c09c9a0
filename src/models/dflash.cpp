// DFlash drafters: a dense Qwen3-like stack that fills a block of tokens in one forward, reading the target's
// hidden states; embedding and head are the target's unless the checkpoint has them. Two published forms:
// z-lab's (taps are numbers of layers, counted from 0, whose outputs are read) and that of the speculators
// library (taps count layers that have run, so one more). Both become the second here, once.
// Sources: z-lab/dflash model.py; vllm-project/speculators models/dflash; arXiv 2602.06036.
#include <algorithm>
#include <cmath>

#include "model/spec.h"

namespace heed {
namespace {

// The fields of the drafter's own, wherever this checkpoint has them.
struct DraftConfig {
  Config top, stack, own;  // config.json; the network's part of it; dflash_config
  bool speculators;

  explicit DraftConfig(const Config& c)
      : top(c),
        stack(c.is_object("transformer_layer_config") ? c.at("transformer_layer_config") : c),
        own(c.at("dflash_config")),
        speculators(c.is_object("transformer_layer_config")) {}

  const Config& holder(std::string_view key) const { return own.has(key) ? own : top; }
};

// Without a list: evenly spread from the second layer to the third last, half to even.
std::vector<int> default_taps(const DraftConfig& c) {
  if (!c.top.has("num_target_layers")) {
    c.top.fail("dflash_config.target_layer_ids and num_target_layers are missing; one of them is expected");
    return {0};
  }
  const int target = c.top.size("num_target_layers");
  if (c.speculators) return {2, target / 2, std::max(target - 3, 0)};
  const int count = layer_count(c.stack);
  if (count == 1) return {target / 2 + 1};
  std::vector<int> taps;
  for (int i = 0; i < count; ++i) {
    const double place = 1 + static_cast<double>(i) * (target - 4) / (count - 1);
    taps.push_back(static_cast<int>(std::nearbyint(place)) + 1);
  }
  return taps;
}

std::vector<int> taps_of(const DraftConfig& c) {
  constexpr size_t kMost = 64;
  std::vector<int> taps;
  for (const char* key : {"eagle_aux_hidden_state_layer_ids", "aux_hidden_state_layer_ids"}) {
    if (taps.empty()) taps = c.holder(key).ids(key);
  }
  for (const char* key : {"target_layer_ids", "layer_ids"}) {
    if (!taps.empty()) break;
    taps = c.holder(key).ids(key);
    for (int& tap : taps) ++tap;
  }
  if (taps.empty()) taps = default_taps(c);
  if (taps.size() > kMost) {
    c.top.fail(std::to_string(taps.size()) + " tapped layers; at most 64 are accepted");
    taps.resize(1);
  }
  return taps;
}

// What would change the result and is not built is refused, not passed over.
void refuse_variants(const DraftConfig& c) {
  for (const char* key : {"sample_from_anchor", "causal_conv"}) {
    if (c.holder(key).flag(key, false)) c.top.fail(std::string(key) + " is not supported");
  }
  if (c.own.has("projector_type")) c.top.fail("dflash_config.projector_type is not supported");
  if (!c.own.flag("use_aux_hidden_state", true))
    c.top.fail("dflash_config.use_aux_hidden_state is false; true is expected");
  for (const char* key : {"attention_value_scale", "logit_scale"}) {
    if (c.holder(key).number(key, 1) != 1)
      c.top.fail(std::string(key) + " is not 1, which is all that is supported");
  }
}

struct Sight {
  Mask kept = causal();  // of the target's tokens
  Mask block = full();
};

Sight sight_of(const DraftConfig& c, const std::string& type, bool all_slide) {
  const bool slides = all_slide || type == "sliding_attention";
  bool is_causal = slides && !all_slide && !c.top.flag("sliding_window_non_causal", false);
  if (c.own.has("causal")) is_causal = c.own.flag("causal", false);
  if (c.top.has("is_causal")) is_causal = c.top.flag("is_causal", false);
  Sight sight;
  if (is_causal) sight.block = causal();
  if (!slides) return sight;
  const int keys =
      c.own.has("swa_window_size") ? c.own.size("swa_window_size") : c.stack.size("sliding_window");
  sight.kept = sight.kept & window(keys);
  sight.block = sight.block & window(keys);
  return sight;
}

RopeSpec rope_of(const DraftConfig& c, const AttentionSpec& attention) {
  static const Json usual = Json::parse(R"({"rope_theta": 1000000})");
  RopeSpec spec = rope(c.stack.with_defaults(usual), attention);
  spec.interleaved = !c.holder("is_neox_style").flag("is_neox_style", true);
  return spec;
}

ModelSpec dflash(const Config& config) {
  const DraftConfig c(config);
  refuse_variants(c);
  ModelSpec m = decoder(c.stack, /*tied_by_default=*/false);
  m.prefix = "";
  m.names = {{"sinks", "layers.{}.self_attn.attention_sink_bias"}};
  m.ignored.emplace_back("t2d");
  if (c.speculators) m.ignored.emplace_back("verifier_*");

  AttentionSpec attention = gqa(c.stack);
  attention.qk_norm = true;
  attention.qkv_bias = attention.output_bias = c.stack.flag("attention_bias", false);
  attention.sink_logits = c.own.flag("attention_sink_bias", false);
  attention.rope = rope_of(c, attention);

  DraftSpec draft = {.target_hidden = c.top.size("target_hidden_size", m.hidden), .taps = taps_of(c)};
  draft.block = c.speculators ? c.top.size("block_size", 8) : c.holder("block_size").size("block_size");
  draft.mask_token = c.holder("mask_token_id").count("mask_token_id", -1);
  if (draft.mask_token < 0) c.top.fail("mask_token_id is missing");
  constexpr int kMostBlock = 129;
  if (draft.block < 2 || draft.block > kMostBlock)
    c.top.fail("block_size is " + std::to_string(draft.block) + "; 2 to 129 is expected");
  draft.head_vocab = c.top.has("draft_vocab_size") ? c.top.size("draft_vocab_size") : 0;
  if (draft.head_vocab == m.vocab) draft.head_vocab = 0;

  const std::vector<std::string> types =
      layer_types(c.stack, {"full_attention", "sliding_attention"},
                  std::vector<std::string>(layer_count(c.stack), "full_attention"));
  const bool any_slides = std::find(types.begin(), types.end(), "sliding_attention") != types.end();
  for (const std::string& type : types) {
    const Sight sight = sight_of(c, type, c.own.flag("use_swa", false) && !any_slides);
    attention.mask = sight.kept;
    draft.block_masks.push_back(sight.block);
    m.layers.push_back({.mixer = attention, .mlp = gated_mlp(c.stack)});
  }
  m.draft = draft;
  return m;
}

const Registration dflash_registration({"DFlashDraftModel", "DFlashSpeculator"}, dflash);

}  // namespace
}  // namespace heed
