#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "kernels/draw.h"
#include "kernels/ref/ref.h"

namespace heed {
namespace {

int draw(std::vector<float>& logits, const Sampling& s, const std::vector<int>& tokens, int prompt,
         const std::vector<uint32_t>& allowed = {}) {
  TokenCounts counts;
  counts.update(tokens, prompt);
  return sample({.logits = logits, .sampling = s, .tokens = tokens, .counts = &counts, .allowed = allowed});
}

std::map<int, double> frequencies(const std::vector<float>& logits, Sampling s,
                                  const std::vector<int>& tokens = {1}, int prompt = 1) {
  constexpr int kDraws = 20'000;
  std::map<int, double> counts;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> copy = logits;
    s.seed = static_cast<uint64_t>(i);
    counts[draw(copy, s, tokens, prompt)] += 1.0 / kDraws;
  }
  return counts;
}

std::vector<float> logs(std::initializer_list<double> probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TEST(Sampler, draws_follow_the_distribution) {
  const auto seen = frequencies(logs({0.5, 0.3, 0.2}), {});
  EXPECT_NEAR(seen.at(0), 0.5, 0.02);
  EXPECT_NEAR(seen.at(1), 0.3, 0.02);
  EXPECT_NEAR(seen.at(2), 0.2, 0.02);
}

TEST(Sampler, temperature_sharpens_and_zero_is_greedy) {
  const auto seen = frequencies(logs({0.6, 0.4}), {.temperature = 0.5F});
  EXPECT_NEAR(seen.at(0), 0.36 / (0.36 + 0.16), 0.02);
  EXPECT_EQ(frequencies(logs({0.4, 0.6}), {.temperature = 0}).size(), 1U);
}

TEST(Sampler, top_k_top_p_and_min_p_cut_the_tail) {
  const auto p = logs({0.4, 0.3, 0.2, 0.1});
  EXPECT_EQ(frequencies(p, {.top_k = 2}).size(), 2U);
  EXPECT_NEAR(frequencies(p, {.top_k = 2}).at(0), 4.0 / 7, 0.02);
  EXPECT_EQ(frequencies(p, {.top_p = 0.65F}).size(), 2U) << "the token that crosses the sum is kept";
  EXPECT_EQ(frequencies(p, {.top_p = 0.0001F}).size(), 1U) << "one token always stays";
  EXPECT_EQ(frequencies(p, {.min_p = 0.45F}).size(), 3U);
  EXPECT_EQ(frequencies(p, {.top_k = 3, .top_p = 0.7F}).size(), 2U) << "top-p counts what top-k left";
}

TEST(Sampler, penalties_count_prompt_and_output_as_they_should) {
  const std::vector<float> even = {1, 1, -1, 1};
  const std::vector<int> tokens = {0, 2, 1, 1};  // the prompt is {0, 2}
  const auto after = [&](Sampling s) {
    s.temperature = 1;
    return frequencies(even, s, tokens, 2);
  };
  const auto share = [&](std::vector<double> logits, int id) {
    double sum = 0;
    for (const double x : logits) sum += std::exp(x);
    return std::exp(logits[id]) / sum;
  };
  EXPECT_NEAR(after({.repetition_penalty = 2}).at(3), share({0.5, 0.5, -2, 1}, 3), 0.02);
  EXPECT_NEAR(after({.presence_penalty = 1}).at(1), share({1, 0, -1, 1}, 1), 0.02);
  EXPECT_NEAR(after({.frequency_penalty = 0.5F}).at(1), share({1, 0, -1, 1}, 1), 0.02);
}

TEST(Sampler, only_allowed_tokens_are_drawn) {
  const std::vector<float> even = {1, 1, 1, 1};
  EXPECT_EQ(frequencies(even, {.allowed_ids = {2, 99, -1}}).size(), 1U);
  EXPECT_EQ(frequencies(even, {.bad_words = {{1, 0}, {3}, {2, 2}}}, {5, 1}).size(), 2U)
      << "0 would complete {1, 0}, and 3 is a word of its own";
  EXPECT_GT(frequencies(even, {.logit_bias = {{2, 5.0F}, {1000, 1.0F}}}).at(2), 0.95);
  std::vector<float> logits = even;
  EXPECT_EQ(draw(logits, {}, {1}, 1, {0b1000}), 3);
}

TEST(Sampler, the_same_seed_and_position_draw_the_same_token) {
  std::vector<float> a = logs({0.25, 0.25, 0.25, 0.25}), b = a;
  const std::vector<int> tokens = {3, 1, 2};
  EXPECT_EQ(draw(a, {.seed = 9}, tokens, 1), draw(b, {.seed = 9}, tokens, 1));
  double mean = 0;
  for (uint64_t i = 0; i < 10'000; ++i) mean += uniform(1, i) / 10'000;
  EXPECT_NEAR(mean, 0.5, 0.02);
}

TEST(Sampler, greedy_takes_the_smallest_id_among_equals_and_never_nan) {
  EXPECT_EQ(arg_max(std::vector<float>{1, 3, 3}), 1);
  EXPECT_EQ(arg_max(std::vector<float>{NAN, -5, NAN}), 1);
  std::vector<float> broken = {NAN, NAN};
  EXPECT_EQ(draw(broken, {}, {0}, 1), 0) << "no crash";
}

TEST(Sampler, values_out_of_range_are_named) {
  EXPECT_NE(check(Sampling{.temperature = -1}).error().message.find("temperature"), std::string::npos);
  EXPECT_NE(check(Sampling{.temperature = NAN}).error().message.find("temperature"), std::string::npos);
  EXPECT_NE(check(Sampling{.top_k = -1}).error().message.find("top_k"), std::string::npos);
  EXPECT_NE(check(Sampling{.top_p = 0}).error().message.find("top_p"), std::string::npos);
  EXPECT_NE(check(Sampling{.min_p = 1.5F}).error().message.find("min_p"), std::string::npos);
  EXPECT_NE(check(Sampling{.repetition_penalty = 0}).error().message.find("repetition_penalty"),
            std::string::npos);
  EXPECT_NE(check(Sampling{.presence_penalty = 3}).error().message.find("presence_penalty"),
            std::string::npos);
  EXPECT_TRUE(check(Sampling{}).ok());
}

// What accelerators draw by is the sampler's own definition.
TEST(Sampler, draws_of_kernels_are_its_own) {
  std::mt19937 random(3);
  std::normal_distribution<float> noise(0, 3);
  int distinct = 0;
  for (int i = 0; i < 2000; ++i) {
    std::vector<float> logits(1 + random() % 90);
    for (float& x : logits) x = i % 4 == 0 ? std::round(noise(random)) : noise(random);
    if (i % 9 == 0) logits[random() % logits.size()] = -INFINITY;
    const Sampling sampling = {.temperature = 0.3F * static_cast<float>(i % 6),
                               .top_k = i % 3 == 0 ? 1 + static_cast<int>(random() % 20) : 0,
                               .top_p = i % 5 < 2 ? 0.1F + 0.3F * static_cast<float>(i % 3) : 1,
                               .min_p = i % 7 == 0 ? 0.1F : 0,
                               .seed = static_cast<uint64_t>(i / 10)};
    const std::vector<int> tokens(random() % 50);
    const DrawRow row = draw_row(sampling, tokens.size());
    int32_t id = -1;
    Stream stream;
    ref_kernels().draw(
        stream, {.x = Tensor(logits.data(), DType::kF32, {1, std::ssize(logits)}), .rows = &row, .ids = &id});
    const int largest = arg_max(logits);
    EXPECT_EQ(id, sample({.logits = logits, .sampling = sampling, .tokens = tokens})) << i;
    distinct += id != largest ? 1 : 0;
  }
  EXPECT_GT(distinct, 400);
}

}  // namespace
}  // namespace heed
