// How likely a text is under the model, and its logits.
#pragma once
#include <vector>

#include "engine/request.h"
#include "engine/runner.h"

namespace heed {

struct Score {
  double nll_sum = 0;         // negative log-likelihood of tokens[1..], in nats
  int predicted = 0;          // tokens - 1
  std::vector<float> logits;  // [last, vocab]: of the last positions
};
// `tokens`: at least one and at most what the runner's cache holds; `last`: at most as many; `images`: in
// their places, prepared as the model wants them.
Result<Score> score(Runner& runner, const std::vector<int>& tokens, int last,
                    const std::vector<RequestImage>& images = {});

}  // namespace heed
