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

// What a drafter that guesses token by token makes of the target's taps.
void make_features(const Model& drafter, const Step& step, const Tensor& taps, const Tensor& out) {
  const DraftSpec& draft = *drafter.spec.draft;
  const Kernels& kernels = step.kernels;
  if (draft.kind == DraftSpec::Kind::kMtp) return kernels.copy(step.stream, {.x = taps, .out = out});
  const ArenaScope scope(step.arena);
  Tensor read = taps;
  if (draft.norm_taps) {
    const Tensor wide = step.arena.take(DType::kF32, {out.size[0], draft.tap_width()});
    read = step.arena.take(drafter.compute, {out.size[0], draft.tap_width()});
    kernels.copy(step.stream, {.x = taps, .out = wide});
    kernels.rms_norm(
        step.stream,
        {.x = wide, .weight = drafter.weights.own[kDraftTapNorm], .eps = drafter.spec.norm_eps, .out = read});
  }
  kernels.linear(step.stream, {.x = read, .weight = drafter.weights.own[kDraftInput], .out = out});
}

// to[slots[i]] = rows[i], but for negative slots: as keys are written, with blocks of one.
void scatter_rows(const Step& step, const Tensor& rows, const int64_t* slots, const Tensor& to) {
  const int64_t width = rows.size[1];
  const Tensor places(to.data, to.dtype, {to.size[0], 1, 1, width});
  step.kernels.kv_write(
      step.stream, {.k = rows.split_last(1, width), .v = {}, .slots = slots, .kv = {.k = places, .v = {}}});
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

Tensor features_before(const Model& drafter, const Batch& batch, const Step& step, const Tensor& taps,
                       const Tensor& store) {
  const auto tokens = std::ssize(batch.tokens);
  const int64_t width = drafter.spec.hidden;
  const Tensor shifted = step.arena.take(DType::kF32, {tokens + 1, width});
  const Tensor made = shifted.slice(1, tokens + 1);
  make_features(drafter, step, taps, made);
  const ArenaScope scope(step.arena);
  const Tensor first = step.arena.take(DType::kF32, {batch.sequences(), width});
  const auto& at = batch.features.on_device;
  step.kernels.gather_rows(step.stream, {.x = store, .rows = at.before, .out = first});
  scatter_rows(step, made, at.slots, store);
  // In place of the last feature of the sequence before.
  scatter_rows(step, first, at.first, shifted);
  return shifted.slice(0, tokens);
}

Tensor guess_next(const Model& drafter, const Batch& batch, const Step& step, const Tensor& store) {
  const auto tokens = std::ssize(batch.tokens);
  const int64_t width = drafter.spec.hidden;
  const auto last = static_cast<int>(drafter.spec.layers.size());
  Taps own = {.after = {&last, 1}, .normed = drafter.spec.draft->kind == DraftSpec::Kind::kMtp};
  Step pass = step;
  pass.taps = &own;
  pass.features = step.arena.take(DType::kF32, {tokens, width});
  const auto& at = batch.features.on_device;
  step.kernels.gather_rows(step.stream, {.x = store, .rows = at.before, .out = pass.features});
  const Tensor logits = forward(drafter, batch, pass);
  step.kernels.copy(step.stream, {.x = own.rows, .out = pass.features});
  scatter_rows(step, pass.features, at.slots, store);
  return logits;
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
