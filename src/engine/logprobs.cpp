#include "engine/logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace heed {
namespace {

double log_normaliser(std::span<const float> logits) {
  const double largest = logits[arg_max(logits)];
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

int rank_of(std::span<const float> logits, int token) {
  return 1 + static_cast<int>(
                 std::count_if(logits.begin(), logits.end(), [&](float x) { return x > logits[token]; }));
}

}  // namespace

std::vector<Logprob> likeliest(std::span<const float> logits, int top, int token) {
  const double normaliser = log_normaliser(logits);
  const auto entry = [&](int id, int rank) {
    return Logprob{.id = id, .logprob = static_cast<float>(logits[id] - normaliser), .rank = rank};
  };
  std::vector<Logprob> result = {entry(token, rank_of(logits, token))};
  std::vector<int> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto count = std::min<size_t>(std::max(top, 0), ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    [&](int a, int b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  for (size_t i = 0; i < count; ++i) result.push_back(entry(ids[i], static_cast<int>(i) + 1));
  return result;
}

int pick(const Request& request, const Job& job, TokenCounts& counts, std::vector<uint32_t>& allowed,
         std::span<float> logits, Event& event) {
  const std::span<const int> tokens = job.sequence.tokens;
  const auto made = static_cast<int>(tokens.size()) - job.prompt;
  const bool holds_back = made < request.min_tokens && !request.stop_ids.empty();
  allowed.clear();
  if (request.constraint || holds_back) {
    allowed.assign((logits.size() + 31) / 32, ~uint32_t{0});
    if (logits.size() % 32 != 0) allowed.back() = (uint32_t{1} << (logits.size() % 32)) - 1;
    if (request.constraint) request.constraint->narrow(allowed);
    for (const int id : holds_back ? request.stop_ids : std::vector<int>{}) {
      if (id < static_cast<int>(logits.size())) allowed[id / 32] &= ~(uint32_t{1} << (id % 32));
    }
    if (std::all_of(allowed.begin(), allowed.end(), [](uint32_t bits) { return bits == 0; })) return -1;
  }
  if (request.sampling.penalises()) counts.update(tokens, job.prompt);
  const std::vector<float> before =
      request.logprobs >= 0 ? std::vector<float>(logits.begin(), logits.end()) : std::vector<float>();
  const int id = sample({.logits = logits,
                         .sampling = request.sampling,
                         .tokens = tokens,
                         .counts = &counts,
                         .allowed = allowed});
  if (id >= 0 && request.logprobs >= 0) {
    std::vector<Logprob> all = likeliest(before, request.logprobs, id);
    event.logprob = all.front();
    event.top_logprobs.assign(all.begin() + 1, all.end());
  }
  return id;
}

}  // namespace heed
