#include "engine/score.h"

#include <algorithm>
#include <cmath>

#include "engine/logprobs.h"

namespace heed {
namespace {

double negative_log_likelihood(std::span<const float> logits, int token) {
  double largest = -INFINITY;
  for (const float x : logits) largest = std::max<double>(largest, x);
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  return largest + std::log(sum) - logits[token];
}

}  // namespace

Result<Score> score(Runner& runner, const std::vector<int>& tokens, int last,
                    const std::vector<RequestImage>& images) {
  TRY(runner.check_tokens(tokens));
  const int end = static_cast<int>(tokens.size());
  const int vocab = runner.spec().vocab;
  CHECK(end > 0 && last >= 0 && last <= end, end, last);
  constexpr int kStep = 128;  // bounds the memory of logits
  Sequence sequence{.tokens = tokens};
  std::vector<double> nll(tokens.size(), 0.0);
  for (const RequestImage& image : images) {
    sequence.media.push_back(image.tokens);
    sequence.images.push_back({.content = {}, .patches = image.patches});
  }
  runner.encode_all(sequence);
  Score result{.predicted = end - 1};
  result.logits.reserve(static_cast<size_t>(last) * vocab);
  while (sequence.computed < end) {
    const int first = sequence.computed;
    const int count = runner.next_cut(sequence, std::min(kStep, runner.plan().step_tokens)) - first;
    if (!runner.cache().extend(sequence, first + count)) {
      return limit_reached("no free cache pages for " + std::to_string(first + count) + " tokens");
    }
    const Scheduled item{.sequence = &sequence, .count = count, .logit_count = count};
    const Tensor logits = runner.step({&item, 1});
    runner.pool().parallel_for(count, 1, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) {
        const int64_t next = first + i + 1;
        if (next < end) nll[next] = negative_log_likelihood(logits_row(logits, i), tokens[next]);
      }
    });
    for (int i = std::max(0, end - last - first); i < count; ++i) {
      const std::span<float> row = logits_row(logits, i);
      result.logits.insert(result.logits.end(), row.begin(), row.end());
    }
  }
  runner.cache().release(sequence);
  for (const double x : nll) result.nll_sum += x;
  return result;
}

}  // namespace heed
