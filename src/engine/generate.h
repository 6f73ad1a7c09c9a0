// Continues one sequence token by token.
#pragma once
#include <functional>
#include <vector>

#include "engine/runner.h"
#include "engine/sampler.h"

namespace heed {

enum class Finish { kStop, kLength, kCancelled };

struct GenerateOptions {
  Sampling sampling;
  int max_tokens = 0;         // at least 1
  std::vector<int> stop_ids;  // a token that ends the text; it is reported too
};

struct Generated {
  std::vector<int> ids;  // the new tokens, a stop token included
  Finish finish = Finish::kLength;
  double prefill_seconds = 0;
  double decode_seconds = 0;
  int prefilled = 0;  // prompt tokens that were not in the cache already
};

// Called with each new token and whether it is a stop token; false ends the generation (Finish::kCancelled).
using OnToken = std::function<bool(int id, bool is_stop)>;

// Continues `sequence` (whose tokens from `computed` on are run first) until a stop token, max_tokens, the
// context's end or the callback's word. The new tokens are appended to the sequence; the last one is not yet
// computed. `prompt`: how many of its tokens count as the prompt for the penalties.
Result<Generated> generate(Runner& runner, Sequence& sequence, int prompt, const GenerateOptions& options,
                           const OnToken& on_token);

// Negative log-likelihood of tokens[1..] under the model, and optionally the logits of the last positions.
struct Score {
  double nll_sum = 0;
  int predicted = 0;          // tokens - 1
  std::vector<float> logits;  // [last, vocab]
};
Result<Score> score(Runner& runner, const std::vector<int>& tokens, int last);

}  // namespace heed
