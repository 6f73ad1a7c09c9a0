#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

#include "base/check.h"

namespace heed {
namespace {

struct Candidate {
  int id;
  double weight;  // probability times a common factor
};

void penalise(std::span<float> logits, const Sampling& s, std::span<const int> tokens, int prompt) {
  if (s.repetition_penalty == 1 && s.presence_penalty == 0 && s.frequency_penalty == 0) return;
  struct Seen {
    int all = 0, output = 0;
  };
  std::unordered_map<int, Seen> seen;
  for (int i = 0; i < static_cast<int>(tokens.size()); ++i) {
    ++seen[tokens[i]].all;
    if (i >= prompt) ++seen[tokens[i]].output;
  }
  for (const auto& [id, count] : seen) {
    if (id < 0 || id >= static_cast<int>(logits.size())) continue;
    float& logit = logits[id];
    logit = logit > 0 ? logit / s.repetition_penalty : logit * s.repetition_penalty;
    if (count.output > 0) {
      logit -= s.presence_penalty + s.frequency_penalty * static_cast<float>(count.output);
    }
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
  uint64_t x = seed * 0x9e3779b97f4a7c15ULL + position + 0x632be59bd9b4e019ULL;
  for (int round = 0; round < 2; ++round) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    x ^= x >> 31;
  }
  return static_cast<double>(x >> 11) * 0x1p-53;
}

int sample(std::span<float> logits, const Sampling& s, std::span<const int> tokens, int prompt) {
  CHECK(!logits.empty());
  penalise(logits, s, tokens, prompt);
  if (s.temperature == 0) return arg_max(logits);
  std::vector<Candidate> kept = candidates_of(logits, s);
  if (kept.empty()) return arg_max(logits);
  keep_top(kept, s);
  double total = 0;
  for (const Candidate& c : kept) total += c.weight;
  double left = uniform(s.seed, tokens.size()) * total;
  for (const Candidate& c : kept) {
    left -= c.weight;
    if (left < 0) return c.id;
  }
  return kept.back().id;
}

}  // namespace heed
