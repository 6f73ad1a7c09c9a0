#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "kernels/draw.h"

namespace heed {
namespace {

struct Candidate {
  int id;
  double weight;  // probability times a common factor
};

// Who arrives first: kernels/draw.h.
int race(std::span<const Candidate> candidates, uint64_t seed, uint64_t position) {
  const uint64_t key = draw_key(seed, position);
  const Candidate* first = nullptr;
  double best = INFINITY;
  for (const Candidate& c : candidates) {
    const double u = draw_number(key, c.id);
    // -log(u) >= 1 - u: most of those that come late are known without a logarithm.
    if (1 - u > best * c.weight) continue;
    const double time = -std::log(u) / c.weight;
    if (time < best || (time == best && c.id < first->id)) {
      best = time;
      first = &c;
    }
  }
  return first->id;
}

void forbid(std::span<float> logits, int id) {
  if (id >= 0 && id < static_cast<int>(logits.size())) logits[id] = -INFINITY;
}

void restrict(const SampleRow& row) {
  const auto vocab = static_cast<int>(row.logits.size());
  if (!row.allowed.empty()) {
    for (int id = 0; id < vocab; ++id) {
      if (((row.allowed[id / 32] >> (id % 32)) & 1) == 0) row.logits[id] = -INFINITY;
    }
  }
  if (!row.sampling.allowed_ids.empty()) {
    std::vector<bool> allowed(vocab, false);
    for (const int id : row.sampling.allowed_ids) {
      if (id >= 0 && id < vocab) allowed[id] = true;
    }
    for (int id = 0; id < vocab; ++id) {
      if (!allowed[id]) row.logits[id] = -INFINITY;
    }
  }
  for (const std::vector<int>& word : row.sampling.bad_words) {
    if (word.empty() || word.size() - 1 > row.tokens.size()) continue;
    const auto end = row.tokens.last(word.size() - 1);
    if (std::equal(end.begin(), end.end(), word.begin())) forbid(row.logits, word.back());
  }
  for (const auto& [id, bias] : row.sampling.logit_bias) {
    if (id >= 0 && id < vocab) row.logits[id] += bias;
  }
}

void penalise(std::span<float> logits, const Sampling& s, const TokenCounts& counts) {
  for (const auto& [id, seen] : counts.seen()) {
    if (id < 0 || id >= static_cast<int>(logits.size())) continue;
    float& logit = logits[id];
    logit = logit > 0 ? logit / s.repetition_penalty : logit * s.repetition_penalty;
    if (seen.output > 0) logit -= s.presence_penalty + s.frequency_penalty * static_cast<float>(seen.output);
  }
}

// Tokens that min-p leaves, with their weights relative to the largest.
std::vector<Candidate> candidates_of(std::span<const float> logits, const Sampling& s) {
  const float largest = logits[arg_max(logits)];
  std::vector<Candidate> kept;
  for (int id = 0; id < static_cast<int>(logits.size()); ++id) {
    const double weight = std::exp((static_cast<double>(logits[id]) - largest) / s.temperature);
    if (weight > 0 && weight >= s.min_p) kept.push_back({id, weight});
  }
  return kept;
}

void keep_top(std::vector<Candidate>& kept, const Sampling& s) {
  const bool limits_k = s.top_k > 0 && s.top_k < static_cast<int>(kept.size());
  if (!limits_k && s.top_p >= 1) return;
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  if (limits_k) {
    std::nth_element(kept.begin(), kept.begin() + s.top_k, kept.end(), before);
    kept.resize(s.top_k);
  }
  if (s.top_p >= 1) return;
  std::sort(kept.begin(), kept.end(), before);
  double total = 0;
  for (const Candidate& c : kept) total += c.weight;
  double sum = 0;
  size_t count = 0;
  while (count < kept.size() && sum < s.top_p * total) sum += kept[count++].weight;
  kept.resize(std::max<size_t>(count, 1));
}

}  // namespace

Status check(const Sampling& s) {
  const auto wrong = [](const char* name, float value, const char* accepted) {
    return invalid(std::string(name) + " is " + std::to_string(value) + "; " + accepted + " is expected");
  };
  if (!(s.temperature >= 0 && s.temperature <= 100)) return wrong("temperature", s.temperature, "0 to 100");
  if (s.top_k < 0) return wrong("top_k", static_cast<float>(s.top_k), "0 (all) or more");
  if (!(s.top_p > 0 && s.top_p <= 1)) return wrong("top_p", s.top_p, "a number above 0 and up to 1");
  if (!(s.min_p >= 0 && s.min_p <= 1)) return wrong("min_p", s.min_p, "0 to 1");
  if (!(s.repetition_penalty > 0 && s.repetition_penalty <= 100)) {
    return wrong("repetition_penalty", s.repetition_penalty, "a number above 0 and up to 100");
  }
  if (!(std::abs(s.presence_penalty) <= 2)) return wrong("presence_penalty", s.presence_penalty, "-2 to 2");
  if (!(std::abs(s.frequency_penalty) <= 2))
    return wrong("frequency_penalty", s.frequency_penalty, "-2 to 2");
  return {};
}

DrawRow draw_row(const Sampling& s, uint64_t position) {
  return {.key = draw_key(s.seed, position),
          .temperature = s.temperature,
          .top_k = s.top_k,
          .top_p = s.top_p,
          .min_p = s.min_p};
}

int arg_max(std::span<const float> logits) {
  int best = 0;
  float largest = -INFINITY;
  for (int id = 0; id < static_cast<int>(logits.size()); ++id) {
    if (logits[id] > largest) {
      largest = logits[id];
      best = id;
    }
  }
  return best;
}

double uniform(uint64_t seed, uint64_t position) {
  // splitmix64 over both: a counter-based generator needs no state to carry along.
  return static_cast<double>(mixed(draw_key(seed, position)) >> 11) * 0x1p-53;
}

void TokenCounts::update(std::span<const int> tokens, int prompt) {
  for (; counted_ < static_cast<int>(tokens.size()); ++counted_) {
    Seen& seen = seen_[tokens[counted_]];
    ++seen.all;
    if (counted_ >= prompt) ++seen.output;
  }
}

int sample(const SampleRow& row) {
  CHECK(!row.logits.empty());
  const std::span<float> logits = row.logits;
  const Sampling& s = row.sampling;
  restrict(row);
  if (s.penalises()) {
    CHECK(row.counts != nullptr);
    penalise(logits, s, *row.counts);
  }
  // Restrictions of different kinds may leave nothing together: a grammar and allowed ids that are not its
  // own.
  const bool restricted = !row.allowed.empty() || !s.allowed_ids.empty() || !s.bad_words.empty();
  if (restricted && !(logits[arg_max(logits)] > -INFINITY)) return -1;
  if (s.temperature == 0) return arg_max(logits);
  std::vector<Candidate> kept = candidates_of(logits, s);
  if (kept.empty()) return arg_max(logits);
  keep_top(kept, s);
  return race(kept, s.seed, row.tokens.size() + row.ahead);
}

}  // namespace heed
