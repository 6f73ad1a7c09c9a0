// Drafters: models that guess what another one, their target, will say. DraftSpec (model/spec.h) says how.
#pragma once
#include "model/forward.h"

namespace heed {

// Keys and values that a block drafter keeps of the batch's tokens, in all its layers:
//   c = norm(linear(taps)); keys and values of c as of any token, but for the norm before the layer.
// taps: [tokens, taps * target_hidden], as the target's forward() filled them for this batch. step: the
// drafter's.
void keep_context(const Model& drafter, const Batch& batch, const Step& step, const Tensor& taps);

// A drafter that guesses token by token begins each row with the feature of the token before it. What later
// rows begin with lies in a store of features, [rows, hidden] f32; BatchFeatures (model/batch.h) says whose
// lies where.

// Makes features of the same taps and keeps those that the batch says. The feature before each of its tokens:
// [tokens, hidden] f32 in the arena.
Tensor features_before(const Model& drafter, const Batch& batch, const Step& step, const Tensor& taps,
                       const Tensor& store);

// One guess behind each token of a batch whose sequences have one each. Its own features are kept likewise.
// Logits, as of forward().
Tensor guess_next(const Model& drafter, const Batch& batch, const Step& step, const Tensor& store);

// Places a drafter's taps that depend on how many layers its target has.
void settle_taps(const ModelSpec& target, DraftSpec& draft);

// Why this drafter cannot guess for this target, or "".
std::string draft_why_not(const ModelSpec& drafter, const ModelSpec& target, bool has_embed, bool has_head);

// Has a drafter use the target's embedding and head where its checkpoint has none of its own. Views only:
// the target must outlive it.
void share_with_target(const Model& target, Model& drafter);

}  // namespace heed
