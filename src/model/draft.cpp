#include "model/draft.h"

#include <algorithm>

#include "model/mixers.h"
#include "model/pass.h"

namespace heed {
namespace {

std::string vocabulary_why_not(const ModelSpec& drafter, const ModelSpec& target) {
  if (drafter.vocab == target.vocab) return "";
  return "its vocabulary has " + std::to_string(drafter.vocab) + " tokens and the target's " +
         std::to_string(target.vocab) + "; equal ones are expected";
}

}  // namespace

void keep_context(const Model& drafter, const Batch& batch, const Step& step, const Tensor& taps) {
  const ArenaScope scope(step.arena);
  const Pass pass(drafter, batch, step);
  const Tensor joined = pass.f32({pass.tokens(), drafter.spec.hidden});
  const Tensor context = pass.input({pass.tokens(), drafter.spec.hidden});
  pass.linear(taps, drafter.weights.own[kDraftInput], {}, joined);
  pass.rms_norm(joined, drafter.weights.own[kDraftNorm], context);
  for (int i = 0; i < static_cast<int>(drafter.spec.layers.size()); ++i) {
    const ArenaScope layer(step.arena);
    keep_keys(std::get<AttentionSpec>(drafter.spec.layers[i].mixer),
              {pass, i, drafter.weights.layers[i].mixer, context, {}});
  }
}

Tensor make_features(const Model& drafter, const Batch& batch, const Step& step, const Tensor& taps) {
  const Pass pass(drafter, batch, step);
  const DraftSpec& draft = *drafter.spec.draft;
  const Tensor features = pass.f32({pass.tokens(), drafter.spec.hidden});
  if (draft.kind == DraftSpec::Kind::kMtp) {
    pass.kernels().copy(pass.stream(), {.x = taps, .out = features});
    return features;
  }
  const ArenaScope scope(step.arena);
  Tensor read = taps;
  if (draft.norm_taps) {
    const Tensor wide = pass.f32({pass.tokens(), draft.tap_width()});
    read = pass.input({pass.tokens(), draft.tap_width()});
    pass.kernels().copy(pass.stream(), {.x = taps, .out = wide});
    pass.rms_norm(wide, drafter.weights.own[kDraftTapNorm], read);
  }
  pass.linear(read, drafter.weights.own[kDraftInput], {}, features);
  return features;
}

void settle_taps(const ModelSpec& target, DraftSpec& draft) {
  if (!draft.usual_taps) return;
  const auto layers = static_cast<int>(target.layers.size());
  draft.taps = {std::min(2, layers), layers / 2, std::max(layers - 3, 0)};
}

std::string draft_why_not(const ModelSpec& drafter, const ModelSpec& target, bool has_embed, bool has_head) {
  for (const LayerSpec& layer : drafter.layers) {
    if (!std::holds_alternative<AttentionSpec>(layer.mixer))
      return "it has layers other than softmax attention, whose states could not be taken back";
  }
  if (!drafter.draft) return vocabulary_why_not(drafter, target);
  const DraftSpec& draft = *drafter.draft;
  if (draft.kind == DraftSpec::Kind::kMtp && drafter.vocab != target.vocab)
    return vocabulary_why_not(drafter, target);
  if (draft.target_hidden != target.hidden) {
    return "it reads hidden states of " + std::to_string(draft.target_hidden) +
           " elements; the target's have " + std::to_string(target.hidden);
  }
  const auto layers = static_cast<int>(target.layers.size());
  for (const int tap : draft.taps) {
    if (tap >= 0 && tap <= layers) continue;
    return "it reads the hidden state after " + std::to_string(tap) + " layers; the target has " +
           std::to_string(layers);
  }
  if (!(has_embed && has_head) && drafter.hidden != target.hidden) {
    return "it has no embedding or head of its own, and its hidden states have " +
           std::to_string(drafter.hidden) + " elements, the target's " + std::to_string(target.hidden);
  }
  const int vocab = has_embed ? drafter.vocab : target.vocab;
  if (draft.is_block() && draft.mask_token >= vocab) {
    return "its mask token " + std::to_string(draft.mask_token) + " is outside the embedding of " +
           std::to_string(vocab) + " tokens";
  }
  if (has_embed && drafter.vocab < target.vocab)
    return "its embedding has " + std::to_string(drafter.vocab) + " tokens, the target's vocabulary " +
           std::to_string(target.vocab);
  return "";
}

void share_with_target(const Model& target, Model& drafter) {
  if (!drafter.spec.draft) return;
  std::vector<Tensor>& own = drafter.weights.own;
  own.resize(std::max<size_t>(own.size(), kDraftIds + 1));
  if (!own[kEmbed].defined()) {
    own[kEmbed] = target.weights.own[kEmbed];
    drafter.embed_scale = target.embed_scale;
  }
  if (!own[kHead].defined()) {
    own[kHead] = target.weights.own[kHead];
    drafter.spec.vocab = target.spec.vocab;
    drafter.spec.logit_softcap = target.spec.logit_softcap;
  }
}

}  // namespace heed
