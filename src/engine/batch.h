// Lays the tokens that a step runs end to end, with all that forward() needs to know about them.
#pragma once
#include <span>

#include "engine/cache.h"
#include "engine/sequence.h"
#include "model/batch.h"

namespace heed {

struct Scheduled {
  Sequence* sequence = nullptr;
  int count = 0;        // tokens [computed, computed + count) run
  int logit_count = 0;  // logits are wanted for the last so many of them
  int guesses = 0;      // the last so many of them may turn out to be wrong
};

// Fills `batch`, whatever it held before; its memory is used again. The cache must have been extended for
// every sequence, every picture of these tokens must have been encoded, and the batch is good until the cache
// is extended again. `pad`: the token that is looked up in place of those of pictures.
void build_batch(const Cache& cache, std::span<const Scheduled> scheduled, Batch& batch, int pad = 0);

}  // namespace heed
