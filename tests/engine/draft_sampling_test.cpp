// What is sampled with guesses has the target's distribution.
#include <cmath>
#include <map>

#include "grammar/matcher.h"
#include "tests/engine/drafters.h"

namespace heed {
namespace {

constexpr int kTokens = 3;                              // of each answer
const std::vector<int> kAlphabet = {17, 40, 101, 256};  // all that may be said

// A grammar by which only the second half of the alphabet comes after its first token, else all of it.
class HalfAfterFirst : public TokenConstraint {
 public:
  void narrow(std::span<uint32_t> allowed) override {
    std::vector<uint32_t> mask(masks().trie().mask_words());
    EXPECT_TRUE(matcher_.fill_mask(mask));
    for (size_t i = 0; i < allowed.size(); ++i) allowed[i] &= i < mask.size() ? mask[i] : 0;
  }
  void accept(int token) override { EXPECT_TRUE(matcher_.accept(token)); }

 private:
  static MaskCache& masks() {
    static const Grammar grammar = Grammar::from_regex("([bcd]|a[cd])*").value();
    static const TokenTrie trie = [] {
      std::vector<std::string> texts(static_cast<size_t>(kAlphabet.back()) + 1);
      for (size_t i = 0; i < kAlphabet.size(); ++i) texts[kAlphabet[i]] = std::string(1, "abcd"[i]);
      return TokenTrie(std::move(texts), {});
    }();
    static MaskCache cache(grammar, trie);
    return cache;
  }
  Matcher matcher_{masks()};
};

struct Way {
  std::string name;
  Sampling sampling;
  bool constrained = false;
};

// Probability of every answer, from the logits that the model gives for each of their beginnings.
std::map<std::vector<int>, double> expected(Runner& runner, const std::vector<int>& prompt, const Way& way) {
  std::map<std::vector<int>, double> all = {{{}, 1.0}};
  for (int n = 0; n < kTokens; ++n) {
    std::map<std::vector<int>, double> longer;
    for (const auto& [answer, probability] : all) {
      Sequence sequence{.tokens = prompt};
      sequence.tokens.insert(sequence.tokens.end(), answer.begin(), answer.end());
      const Tensor logits = runner.prefill(sequence, 1).value();
      std::vector<std::pair<double, int>> kept;
      double total = 0;
      for (const int id : kAlphabet) {
        if (way.constrained && !answer.empty() && answer.back() == kAlphabet[0] &&
            (id == kAlphabet[0] || id == kAlphabet[1])) {
          continue;
        }
        double logit = logits.f32()[id];
        const auto seen = std::count(answer.begin(), answer.end(), id);
        if (seen > 0) {
          logit -= way.sampling.presence_penalty + way.sampling.frequency_penalty * static_cast<double>(seen);
        }
        kept.emplace_back(std::exp(logit / way.sampling.temperature), id);
        total += kept.back().first;
      }
      std::sort(kept.rbegin(), kept.rend());
      double sum = 0;
      size_t count = 0;
      while (count < kept.size() && sum < way.sampling.top_p * total) sum += kept[count++].first;
      for (size_t i = 0; i < count; ++i) {
        std::vector<int> next = answer;
        next.push_back(kept[i].second);
        longer[next] = probability * kept[i].first / sum;
      }
      runner.cache().release(sequence);
    }
    all = std::move(longer);
  }
  return all;
}

std::map<std::vector<int>, int> drawn(Engine& engine, const std::vector<int>& prompt, const Way& way,
                                      int count) {
  std::map<std::vector<int>, int> seen;
  constexpr int kAtOnce = 2000;
  for (int from = 0; from < count; from += kAtOnce) {
    std::vector<Listener> listeners(kAtOnce);
    for (int i = 0; i < kAtOnce; ++i) {
      Request r{.prompt = prompt,
                .sampling = way.sampling,
                .max_tokens = kTokens,
                .on_event = listeners[i].callback()};
      r.sampling.seed = static_cast<uint64_t>(from + i);
      r.sampling.allowed_ids = kAlphabet;
      if (way.constrained) r.constraint = std::make_unique<HalfAfterFirst>();
      EXPECT_TRUE(engine.submit(std::move(r)).ok());
    }
    for (Listener& listener : listeners) {
      EXPECT_EQ(listener.promise.get_future().get(), Finish::kLength);
      ++seen[listener.ids];
    }
  }
  return seen;
}

// About standard normal where the draws follow the expectation (Wilson and Hilferty).
double chi_square_deviation(const std::map<std::vector<int>, int>& seen,
                            const std::map<std::vector<int>, double>& want, int count) {
  double sum = 0;
  int cells = 0;
  double small_want = 0;
  int small_seen = 0;
  for (const auto& [answer, times] : seen) EXPECT_TRUE(want.contains(answer));
  for (const auto& [answer, probability] : want) {
    const double mean = probability * count;
    const auto found = seen.find(answer);
    const int times = found == seen.end() ? 0 : found->second;
    if (mean < 5) {  // too few for a cell of their own
      small_want += mean;
      small_seen += times;
      continue;
    }
    sum += (times - mean) * (times - mean) / mean;
    ++cells;
  }
  if (small_want > 0) sum += (small_seen - small_want) * (small_seen - small_want) / small_want, ++cells;
  const double freedom = cells - 1;
  return (std::cbrt(sum / freedom) - (1 - 2 / (9 * freedom))) / std::sqrt(2 / (9 * freedom));
}

TEST(DraftSampling, keeps_the_targets_distribution) {
  const std::string model = "mixtral";
  const std::vector<int> prompt = {5, 9, 200};
  // HEED_SAMPLES: answers of each way, of three tokens; docs/speculation.md says what 70,000 (210,000 tokens)
  // gave.
  const char* asked = std::getenv("HEED_SAMPLES");
  const int count = asked != nullptr ? std::atoi(asked) : kSanitized ? 2000 : 4000;
  const auto runner = load(golden_folder(model), {.dtype = "float32"});
  const RandomDrafter drafter(open_checkpoint(golden_folder(model)).value().spec, {.block = 4, .taps = {1}});
  for (const Way& way :
       {Way{"plain", {.temperature = 2.5F}}, Way{"top-p", {.temperature = 2.5F, .top_p = 0.8F}},
        Way{"penalties", {.temperature = 2.5F, .presence_penalty = 1, .frequency_penalty = 0.5F}},
        Way{"constrained", {.temperature = 2.5F}, true}}) {
    SCOPED_TRACE(way.name);
    const auto want = expected(*runner, prompt, way);
    EngineOptions guessing = with_drafter(drafter.folder());
    EngineOptions twin = with_drafter(golden_folder(model), 2);
    std::map<std::vector<int>, int> first;
    for (EngineOptions* options : {&guessing, &twin}) {
      options->runner.max_len = 16;
      const auto engine = start(golden_folder(model), *options);
      const auto seen = drawn(*engine, prompt, way, count);
      EXPECT_LT(std::abs(chi_square_deviation(seen, want, count)), 4);
      engine->drain();
      EXPECT_GT(engine->stats().accepted_tokens, 0U);
      if (first.empty()) first = seen;
      EXPECT_EQ(seen, first) << "whoever guesses, each seed draws the same";
    }
  }
}

// The test above must see it where a wrong distribution is drawn from.
TEST(DraftSampling, another_distribution_would_show) {
  const auto runner = load(golden_folder("mixtral"), {.dtype = "float32"});
  const std::vector<int> prompt = {5, 9, 200};
  const auto want = expected(*runner, prompt, {"", {.temperature = 2.5F}});
  EngineOptions options;
  options.runner.max_len = 16;
  const auto engine = start(golden_folder("mixtral"), options);
  const auto seen = drawn(*engine, prompt, {"", {.temperature = 2.1F}}, 10'000);
  EXPECT_GT(std::abs(chi_square_deviation(seen, want, 10'000)), 5);
}

}  // namespace
}  // namespace heed
