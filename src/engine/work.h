// What a step has to read and to compute: the floor that its time is compared with.
#pragma once
#include <span>

#include "engine/runner.h"

namespace heed {

struct StepWork {
  double bytes = 0;  // weights, each once; keys, values and states, each sequence's own
  double flops = 0;  // of linear layers and of visible pairs of queries and keys
};

// Consecutive tokens of a sequence that has `past` before them, of which the last wants logits.
struct SequenceStep {
  int past = 0, tokens = 1;
};

// Of text. Experts count as often as so many tokens reach different ones, if each were drawn evenly.
StepWork work_of(const Runner& runner, std::span<const SequenceStep> sequences);

}  // namespace heed
