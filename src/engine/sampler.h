// From logits to a token, one row at a time.
//
// Order, as in vLLM: repetition, presence and frequency penalties; temperature; min-p; top-k; top-p; then a
// draw. The random numbers depend on (seed, position, token) only, so a seeded result does not depend on what
// runs beside it. Two distributions that are drawn from with equal seed and position give equal tokens more
// often the more alike they are (Gumbel coupling; docs/speculation.md): a drafter's guess, drawn that way, is
// then what the target draws.
#pragma once
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernels/kernels.h"

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
  std::vector<std::pair<int, float>> logit_bias;  // (id, [-100, 100]), added
  std::vector<std::vector<int>> bad_words;        // token sequences that are not completed
  std::vector<int> allowed_ids;                   // if any: only these

  bool penalises() const {
    return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0;
  }
  // Whether it takes logits as they are: then draw_row() is all of it.
  bool takes_logits() const {
    return !penalises() && logit_bias.empty() && bad_words.empty() && allowed_ids.empty();
  }
};

// The draw of the token at `position`.
DrawRow draw_row(const Sampling& sampling, uint64_t position);

// Errors name the field and its range.
Status check(const Sampling& sampling);

// How often each token was seen, kept up as a sequence grows; needed only where Sampling::penalises().
class TokenCounts {
 public:
  struct Seen {
    int all = 0, output = 0;
  };
  // Counts what is new in `tokens`, whose first `prompt` are the prompt.
  void update(std::span<const int> tokens, int prompt);
  const std::unordered_map<int, Seen>& seen() const { return seen_; }

 private:
  std::unordered_map<int, Seen> seen_;
  int counted_ = 0;
};

struct SampleRow {
  std::span<float> logits;  // [vocab], changed
  const Sampling& sampling;
  std::span<const int> tokens;          // prompt and output so far
  const TokenCounts* counts = nullptr;  // of `tokens`, where the sampling penalises
  std::span<const uint32_t> allowed;    // a bit per token id, least significant first; empty: all
  uint64_t ahead = 0;                   // draws as for a position so many tokens further on
};
// -1 if the restrictions leave no token.
int sample(const SampleRow& row);

// Largest logit; the smallest id among equals. NaN never wins.
int arg_max(std::span<const float> logits);

// Uniform in [0, 1) from (seed, position).
double uniform(uint64_t seed, uint64_t position);

}  // namespace heed
