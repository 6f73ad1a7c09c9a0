// From logits to a token, one row at a time.
//
// Order, as in vLLM: repetition, presence and frequency penalties; temperature; min-p; top-k; top-p; then a
// draw. The random number depends on (seed, position) only, so a seeded result does not depend on what runs
// beside it.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace heed {

struct Sampling {
  float temperature = 1;         // 0: greedy
  int top_k = 0;                 // 0: all
  float top_p = 1;               // (0, 1]
  float min_p = 0;               // [0, 1]: tokens below min_p times the largest probability are dropped
  float repetition_penalty = 1;  // > 0; over prompt and output
  float presence_penalty = 0;    // [-2, 2]; over the output
  float frequency_penalty = 0;   // [-2, 2]; over the output
  uint64_t seed = 0;
};

// Errors name the field and its range.
Status check(const Sampling& sampling);

// `tokens`: prompt and output so far, of which the first `prompt` are the prompt. Logits may be changed.
int sample(std::span<float> logits, const Sampling& sampling, std::span<const int> tokens, int prompt);

// Largest logit; the smallest id among equals. NaN never wins.
int arg_max(std::span<const float> logits);

// Uniform in [0, 1) from (seed, position).
double uniform(uint64_t seed, uint64_t position);

}  // namespace heed
