// Which tensors a spec needs, by name, shape and number.
#include "model/mixer.h"
#include "model/moe.h"
#include "model/weights.h"

namespace heed {
namespace {

void replace_first(std::string& text, std::string_view what, const std::string& with) {
  if (const size_t at = text.find(what); at != std::string::npos) text.replace(at, what.size(), with);
}

void need_layer(const ModelSpec& spec, const LayerSpec& layer, int number, LayerWeights& w,
                std::vector<TensorNeed>& all, const std::function<bool(std::string_view)>& has) {
  const int64_t hidden = spec.hidden;
  const bool sandwich = layer.norms == Norms::kSandwich;
  WeightList own(spec, number, w.own, all, has);
  own.norm(kMixerNorm, "attn_norm", hidden);
  WeightList mixer(spec, number, w.mixer, all, has);
  mixer_of(layer.mixer).declare(layer.mixer, spec, mixer);
  if (sandwich) own.norm(kMixerPostNorm, "attn_post_norm", hidden);
  own.norm(kFfnNorm, "ffn_norm", hidden);
  if (layer.mlp) {
    WeightList mlp(spec, number, w.mlp, all, has);
    declare_mlp(*layer.mlp, spec, mlp);
  }
  if (layer.moe) {
    WeightList moe(spec, number, w.moe, all, has);
    declare_moe(*layer.moe, spec, moe);
  }
  if (layer.mlp && layer.moe) {
    own.norm(kMlpPostNorm, "mlp_post_norm", hidden);
    own.norm(kMoeNorm, "moe_norm", hidden);
    own.norm(kMoePostNorm, "moe_post_norm", hidden);
  }
  if (sandwich) own.norm(kFfnPostNorm, "ffn_post_norm", hidden);
  if (layer.scaled) own.vector(kLayerScale, "layer_scale", {1});
  if (spec.layer_input > 0) {
    own.matrix(kLayerInputGate, "layer_input_gate", spec.layer_input, hidden);
    own.matrix(kLayerInputUp, "layer_input_up", hidden, spec.layer_input);
    own.norm(kLayerInputPostNorm, "layer_input_post_norm", hidden);
  }
}

void need_cache_scales(const LayerSpec& layer, WeightList& own) {
  const KvSpec kv = mixer_of(layer.mixer).needs(layer.mixer).kv;
  if (kv.kv_heads == 0 || kv.source >= 0) return;
  own.cache_scale(kKeyScale, "k", kv.kv_heads);
  if (!kv.v_in_k) own.cache_scale(kValueScale, "v", kv.kv_heads);
}

void need_draft(const ModelSpec& spec, WeightList& own) {
  const DraftSpec& draft = *spec.draft;
  const bool is_mtp = draft.kind == DraftSpec::Kind::kMtp;
  own.matrix(kDraftInput, "draft_input", spec.hidden, is_mtp ? 2 * int64_t{spec.hidden} : draft.tap_width());
  own.norm(kDraftNorm, "draft_norm", spec.hidden);
  if (is_mtp) own.norm(kDraftTokenNorm, "draft_token_norm", spec.hidden);
  if (draft.norm_taps) own.norm(kDraftTapNorm, "draft_tap_norm", draft.tap_width());
  if (draft.head_vocab == 0) return;
  own.stored("draft_ids", {draft.head_vocab}, TensorNeed::kIds);
  own.part(kDraftIds, {draft.head_vocab}, nullptr);
}

}  // namespace

std::string WeightList::name(std::string_view key, int expert) const {
  const auto own = spec_.names.find(key);
  const auto common = tensor_names().find(key);
  // A key that nobody has named stands for itself, and the checkpoint will lack it by that name.
  std::string text(key);
  if (common != tensor_names().end()) text = common->second;
  if (own != spec_.names.end()) text = own->second;
  replace_first(text, "{}", std::to_string(layer_));
  if (expert >= 0) replace_first(text, "{}", std::to_string(expert));
  constexpr std::string_view kModel = "model.";
  if (text.starts_with(kModel)) text.replace(0, kModel.size(), prefix());
  const std::string& first = spec_.first_layer;
  if (!first.empty() && has_(first + "input_layernorm.weight")) replace_first(text, "layers.0.", first);
  return text;
}

const std::string& WeightList::prefix() const {
  const bool old = !spec_.old_prefix.empty() && !has_(spec_.prefix + "embed_tokens.weight") &&
                   has_(spec_.old_prefix + "embed_tokens.weight");
  return old ? spec_.old_prefix : spec_.prefix;
}

TensorNeed::Part WeightList::place(int number, std::vector<int64_t> shape, View view) {
  if (static_cast<int>(list_.size()) <= number) list_.resize(number + 1);
  return {.list = &list_, .number = number, .view = std::move(view), .shape = std::move(shape)};
}

void WeightList::matrix(int number, std::string_view key, int64_t out, int64_t in, int expert) {
  std::string text = name(key, expert);
  if (!text.ends_with(".weight")) text += ".weight";
  add({.name = std::move(text),
       .shape = {out, in},
       .kind = TensorNeed::kMatrix,
       .parts = {place(number, {out, in}, nullptr)}});
}

void WeightList::bias(int number, std::string_view key, int64_t size) {
  add({.name = name(key) + ".bias",
       .shape = {size},
       .kind = TensorNeed::kVector,
       .parts = {place(number, {size}, nullptr)}});
}

void WeightList::norm(int number, std::string_view key, int64_t size) {
  add({.name = name(key),
       .shape = {size},
       .kind = TensorNeed::kNorm,
       .parts = {place(number, {size}, nullptr)}});
}

void WeightList::vector(int number, std::string_view key, const std::vector<int64_t>& shape) {
  add({.name = name(key),
       .shape = shape,
       .kind = TensorNeed::kVector,
       .parts = {place(number, shape, nullptr)}});
}

void WeightList::cache_scale(int number, std::string_view which, int64_t kv_heads) {
  std::string attention = name("o");
  if (attention.ends_with(".weight")) attention.resize(attention.rfind('.'));
  attention.resize(attention.rfind('.') + 1);
  const std::string scale = std::string(which) + "_scale";
  const std::string projection = std::string(which) + "_proj.";
  for (const std::string& ending : {scale, projection + scale, projection + "output_scale"}) {
    if (!has_(attention + ending)) continue;
    const auto spread = [kv_heads](const Tensor& t) {
      Tensor all = t;
      all.rank = 1;
      all.size[0] = kv_heads;
      all.stride[0] = t.elements() == 1 ? 0 : 1;
      return all;
    };
    add({.name = attention + ending,
         .shape = {kv_heads},
         .kind = TensorNeed::kScale,
         .parts = {place(number, {kv_heads}, spread)}});
    return;
  }
}

void WeightList::stored(std::string_view key, std::vector<int64_t> shape, TensorNeed::Kind kind,
                        std::string_view scales) {
  add({.name = name(key),
       .shape = std::move(shape),
       .kind = kind,
       .scales = scales.empty() ? std::string() : name(scales)});
}

void WeightList::part(int number, std::vector<int64_t> shape, View view) {
  needs_.back().parts.push_back(place(number, std::move(shape), std::move(view)));
}

std::vector<TensorNeed> needed_tensors(const ModelSpec& spec, Weights& weights,
                                       const std::function<bool(std::string_view)>& has) {
  const std::function<bool(std::string_view)> asked = has ? has : [](std::string_view) { return true; };
  const auto layers = static_cast<int64_t>(spec.layers.size());
  std::vector<TensorNeed> all;
  weights.layers.resize(spec.layers.size());
  WeightList own(spec, -1, weights.own, all, asked);
  // A drafter may have these two from its target.
  if (!spec.draft || own.has("embed")) own.matrix(kEmbed, "embed", spec.vocab, spec.hidden);
  if (spec.draft) need_draft(spec, own);
  if (spec.layer_input > 0) {
    own.matrix(kLayerInputEmbed, "layer_input_embed", spec.layer_input_vocab, layers * spec.layer_input);
    own.matrix(kLayerInputProjection, "layer_input_projection", layers * spec.layer_input, spec.hidden);
    own.norm(kLayerInputNorm, "layer_input_norm", spec.layer_input);
  }
  for (int i = 0; i < static_cast<int>(layers); ++i) {
    need_layer(spec, spec.layers[i], i, weights.layers[i], all, asked);
    WeightList own_of_layer(spec, i, weights.layers[i].own, all, asked);
    if (has) need_cache_scales(spec.layers[i], own_of_layer);
  }
  if (spec.vision) add_vision_needs(spec, weights.vision, all, asked);
  own.norm(kFinalNorm, "final_norm", spec.hidden);
  const bool has_head = spec.draft ? own.has("head") : !spec.tied_embeddings;
  if (has_head) own.matrix(kHead, "head", spec.logit_width(), spec.hidden);
  return all;
}

}  // namespace heed
