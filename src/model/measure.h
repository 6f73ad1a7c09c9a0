// How much memory the largest step takes, found by a step that computes nothing.
#pragma once
#include "kernels/kernels.h"
#include "model/spec.h"

namespace heed {

// Bytes of arena that forward() takes for `tokens` tokens of which `logit_rows` want logits.
int64_t arena_bytes(const ModelSpec& spec, DType compute, int64_t tokens, int64_t logit_rows,
                    const ModelSpec* drafter = nullptr);

// Bytes of arena that the vision tower takes for pictures of so many patches together, padding counted.
int64_t vision_arena_bytes(const ModelSpec& spec, DType compute, int64_t patches);

// Elements of the widest row that a linear layer reads.
int64_t widest_row(const ModelSpec& spec);

}  // namespace heed
