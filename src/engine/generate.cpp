#include "engine/generate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::span<float> row_of(const Tensor& logits, int64_t row) {
  return {logits.mutable_f32() + row * logits.size[1], static_cast<size_t>(logits.size[1])};
}

double negative_log_likelihood(std::span<const float> logits, int token) {
  double largest = -INFINITY;
  for (const float x : logits) largest = std::max<double>(largest, x);
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  return largest + std::log(sum) - logits[token];
}

}  // namespace

Result<Generated> generate(Runner& runner, Sequence& sequence, int prompt, const GenerateOptions& options,
                           const OnToken& on_token) {
  TRY(check(options.sampling));
  Generated made{.prefilled = static_cast<int>(sequence.tokens.size()) - sequence.computed};
  const auto start = Clock::now();
  Tensor logits = TRY(runner.prefill(sequence, 1));
  made.prefill_seconds = seconds_since(start);
  const auto decode_start = Clock::now();
  for (;;) {
    const int id = sample(row_of(logits, 0), options.sampling, sequence.tokens, prompt);
    const bool is_stop =
        std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end();
    sequence.tokens.push_back(id);
    made.ids.push_back(id);
    const bool go_on = on_token(id, is_stop);
    if (is_stop || !go_on) {
      made.finish = is_stop ? Finish::kStop : Finish::kCancelled;
      break;
    }
    const bool full = static_cast<int>(sequence.tokens.size()) >= runner.plan().max_len;
    if (full || static_cast<int>(made.ids.size()) >= options.max_tokens) break;
    logits = TRY(runner.prefill(sequence, 1));
  }
  made.decode_seconds = seconds_since(decode_start);
  return made;
}

Result<Score> score(Runner& runner, const std::vector<int>& tokens, int last) {
  TRY(runner.check_tokens(tokens));
  const int end = static_cast<int>(tokens.size());
  const int vocab = runner.spec().vocab;
  CHECK(end > 0 && last >= 0 && last <= end, end, last);
  constexpr int kStep = 128;  // bounds the memory of logits
  Sequence sequence{.tokens = tokens};
  std::vector<double> nll(tokens.size(), 0.0);
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
        if (next < end) nll[next] = negative_log_likelihood(row_of(logits, i), tokens[next]);
      }
    });
    for (int i = std::max(0, end - last - first); i < count; ++i) {
      const std::span<float> row = row_of(logits, i);
      result.logits.insert(result.logits.end(), row.begin(), row.end());
    }
  }
  runner.cache().release(sequence);
  for (const double x : nll) result.nll_sum += x;
  return result;
}

}  // namespace heed
