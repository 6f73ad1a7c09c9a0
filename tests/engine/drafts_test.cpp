// Guesses change nothing but the number of steps.
#include "tests/engine/drafters.h"
#include "tests/engine/pictures.h"

namespace heed {
namespace {

// Knows what will come, and is wrong now and then: at random, but always alike for a sequence.
class Oracle : public Proposer {
 public:
  Oracle(const std::vector<std::vector<int>>& texts, double right) : texts_(texts), right_(right) {}
  std::string_view name() const override { return "oracle"; }
  void propose(const TextSoFar& so_far, int most, std::vector<int>& drafts) override {
    const std::span<const int> tokens = so_far.tokens;
    for (const std::vector<int>& text : texts_) {
      if (text.size() <= tokens.size() || !std::equal(tokens.begin(), tokens.end(), text.begin())) continue;
      for (size_t i = tokens.size(); i < text.size() && std::ssize(drafts) < most; ++i) {
        const bool is_right = uniform(7, tokens.size() * 131 + i) < right_;
        drafts.push_back(is_right ? text[i] : (text[i] + 1) % 100);
      }
      return;
    }
  }

 private:
  const std::vector<std::vector<int>>& texts_;
  double right_;
};

std::vector<std::vector<int>> texts_of(const std::vector<Ask>& asks,
                                       const std::vector<std::vector<int>>& answers) {
  std::vector<std::vector<int>> texts;
  for (size_t i = 0; i < asks.size(); ++i) {
    texts.push_back(asks[i].prompt);
    texts.back().insert(texts.back().end(), answers[i].begin(), answers[i].end());
  }
  return texts;
}

EngineOptions with_oracle(const std::vector<std::vector<int>>& texts, double right, int tokens) {
  EngineOptions options;
  options.speculative = {.tokens = tokens, .adaptive = false};
  options.make_proposer = [&texts, right] { return std::make_unique<Oracle>(texts, right); };
  return options;
}

class DraftModels : public testing::TestWithParam<const char*> {};

TEST_P(DraftModels, answers_are_those_without_guesses) {
  const std::string folder = golden_folder(GetParam());
  const std::vector<Ask> asks = draft_asks(GetParam());
  const std::vector<std::vector<int>> want = run_all(*start(folder, {}), asks);
  const std::vector<std::vector<int>> texts = texts_of(asks, want);
  for (const int tokens : {2, 4, 8, 16}) {
    for (const double right : {0.0, 0.7, 1.0}) {
      if (kSanitized && tokens != 4) continue;
      SCOPED_TRACE(std::to_string(tokens) + " guesses, " + std::to_string(right) + " right");
      const auto engine = start(folder, with_oracle(texts, right, tokens));
      EXPECT_EQ(run_all(*engine, asks), want);
      EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want);  // from cached prefixes
      expect_clean(*engine);
      const EngineStats stats = engine->stats();
      EXPECT_GT(stats.draft_tokens, 0U);
      EXPECT_EQ(stats.accepted_tokens > 0, right > 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DraftModels,
                         testing::Values("llama_rope3", "gemma3_text", "rnj1", "mixtral_sliding",
                                         "qwen3_next", "qwen3_5_moe", "minimax", "bailing", "deepseek_v3",
                                         "gemma4_text", "gemma4_moe", "gpt_oss", "llama4_text"),
                         [](const auto& test) { return std::string(test.param); });

TEST(DraftsEngine, neither_blocks_nor_budgets_nor_preemption_matter) {
  for (const std::string model : {"rnj1", "qwen3_next"}) {
    SCOPED_TRACE(model);
    const std::vector<Ask> asks = draft_asks(model);
    const std::vector<std::vector<int>> want = run_all(*start(golden_folder(model), {}), asks);
    const std::vector<std::vector<int>> texts = texts_of(asks, want);
    expect_same_however_run(golden_folder(model), with_oracle(texts, 0.8, 8), asks, want);
  }
}

TEST(DraftsEngine, a_right_guess_saves_a_step) {
  const std::vector<Ask> asks = {draft_asks("rnj1")[0]};
  const std::vector<std::vector<int>> want = run_all(*start(golden_folder("rnj1"), {}), asks);
  const std::vector<std::vector<int>> texts = texts_of(asks, want);
  const auto engine = start(golden_folder("rnj1"), with_oracle(texts, 1, 8));
  EXPECT_EQ(run_all(*engine, asks), want);
  engine->drain();
  const EngineStats stats = engine->stats();
  EXPECT_LE(stats.steps, 1 + (40 - 1 + 8) / 9U + 1);  // the prompt; then nine tokens a step
  EXPECT_EQ(stats.draft_tokens, stats.accepted_tokens);
  EXPECT_EQ(stats.accepted_at[0], stats.drafts);
  EXPECT_EQ(stats.generated_tokens, 40U);
}

TEST(DraftsEngine, pictures_stops_penalties_and_logprobs_are_as_without) {
  const std::string model = "gemma4_vision_small_window";
  const ModelSpec spec = open_checkpoint(golden_folder(model)).value().spec;
  const Ask seen = PromptMaker(spec, 3).text(30).picture(10, 7, 5).text(8).ask(40);
  const auto run = [&](EngineOptions options, Finish want) {
    const auto engine = start(golden_folder(model), std::move(options));
    Listener listener;
    Request r{.prompt = seen.prompt, .images = seen.images, .max_tokens = 40, .min_tokens = 5, .logprobs = 3};
    r.sampling = {.temperature = 0.8F,
                  .top_k = 50,
                  .top_p = 0.95F,
                  .min_p = 0.01F,
                  .repetition_penalty = 1.2F,
                  .presence_penalty = 0.5F,
                  .frequency_penalty = 0.3F,
                  .seed = 5,
                  .logit_bias = {{7, 3.0F}}};
    for (int id = 0; id < 40; ++id) r.stop_ids.push_back(id);
    r.on_event = listener.callback();
    EXPECT_TRUE(engine->submit(std::move(r)).ok());
    EXPECT_EQ(listener.promise.get_future().get(), want);
    std::vector<float> logprobs;
    for (const Event& event : listener.events) {
      if (event.logprob) logprobs.push_back(event.logprob->logprob);
      for (const Logprob& top : event.top_logprobs) logprobs.push_back(top.logprob);
    }
    return std::pair(listener.ids, logprobs);
  };
  const auto plain = run({}, Finish::kStop);
  ASSERT_GE(plain.first.size(), 5U);
  std::vector<std::vector<int>> texts = texts_of({seen}, {plain.first});
  texts[0].insert(texts[0].end(), 20, 50);  // guesses go on behind the end
  for (const double right : {0.6, 1.0}) {
    const auto guessed = run(with_oracle(texts, right, 6), Finish::kStop);
    EXPECT_EQ(guessed.first, plain.first);
    EXPECT_EQ(guessed.second, plain.second);
  }
}

TEST(DraftsEngine, many_at_once_leave_nothing_behind) {
  const std::vector<Ask> base = draft_asks("qwen3_next");
  std::vector<Ask> asks;
  for (int i = 0; i < 40; ++i) {
    Ask ask = base[i % 3];
    ask.prompt.resize(20 + static_cast<size_t>(i) * 2);
    ask.max_tokens = 5 + i % 20;
    asks.push_back(ask);
  }
  const std::vector<std::vector<int>> want = run_all(*start(golden_folder("qwen3_next"), {}), asks);
  const std::vector<std::vector<int>> texts = texts_of(asks, want);
  EngineOptions options = with_oracle(texts, 0.8, 5);
  options.max_sequences = 12;
  options.runner.step_tokens = 40;
  const auto engine = start(golden_folder("qwen3_next"), options);
  EXPECT_EQ(run_all(*engine, asks), want);
  std::vector<Listener> cut(asks.size());
  for (size_t i = 0; i < asks.size(); ++i) {
    const uint64_t id =
        engine->submit({.prompt = asks[i].prompt, .max_tokens = 20, .on_event = cut[i].callback()}).value();
    if (i % 2 == 0) engine->cancel(id);
  }
  expect_clean(*engine);
}

std::vector<int> ngram_guesses(Proposer& proposer, const std::vector<int>& tokens, int most) {
  std::vector<int> drafts;
  proposer.propose({.tokens = tokens}, most, drafts);
  return drafts;
}

TEST(NgramProposer, continues_the_longest_suffix_as_it_last_went_on) {
  const auto proposer = ngram_proposer(2, 4);
  EXPECT_EQ(ngram_guesses(*proposer, {1, 2, 3, 4, 9, 1, 2}, 3), (std::vector<int>{3, 4, 9}));
  EXPECT_EQ(ngram_guesses(*proposer, {1, 2, 3, 9, 1, 2, 4, 9, 1, 2}, 2),
            (std::vector<int>{4, 9}));  // the last
  EXPECT_EQ(ngram_guesses(*proposer, {8, 1, 2, 3, 9, 1, 2, 4, 8, 1, 2}, 1),
            (std::vector<int>{3}));  // the longest
  EXPECT_EQ(ngram_guesses(*proposer, {5, 6, 7, 8, 1}, 4), (std::vector<int>{}));
  EXPECT_EQ(ngram_guesses(*proposer, {5, 1, 6, 1}, 4), (std::vector<int>{}));  // one token is too short
  EXPECT_EQ(ngram_guesses(*proposer, {7, 7, 7}, 5), (std::vector<int>{7, 7, 7, 7, 7}));
  EXPECT_EQ(ngram_guesses(*proposer, {3, 4, 3, 4}, 5), (std::vector<int>{3, 4, 3, 4, 3}));
  EXPECT_EQ(ngram_guesses(*proposer, {}, 5), (std::vector<int>{}));
  EXPECT_EQ(ngram_guesses(*proposer, {1}, 5), (std::vector<int>{}));
}

// Against a search that compares everything with everything.
TEST(NgramProposer, equals_a_plain_search) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    const int shortest = 1 + static_cast<int>(random() % 3);
    const int longest = shortest + static_cast<int>(random() % 5);
    std::vector<int> tokens(random() % 40);
    for (int& token : tokens) token = static_cast<int>(random() % 3);
    const auto size = static_cast<int>(tokens.size());
    int best = 0;
    int from = 0;
    for (int end = size - 1; end >= 1; --end) {  // an earlier place that ends before `end`
      int length = 0;
      while (length < longest && length < end && tokens[end - 1 - length] == tokens[size - 1 - length])
        ++length;
      if (length > best) best = length, from = end;
    }
    std::vector<int> want;
    for (int i = 0; best >= shortest && i < 6; ++i) {
      want.push_back(from + i < size ? tokens[from + i] : want[from + i - size]);
    }
    EXPECT_EQ(ngram_guesses(*ngram_proposer(shortest, longest), tokens, 6), want) << round;
  }
}

TEST(SpeculativeConfig, is_read_as_vllm_writes_it) {
  const auto options = read_speculative_config(
      R"({"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 5, "prompt_lookup_min": 2})");
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->tokens, 3);
  EXPECT_EQ(options->lookup_max, 5);
  EXPECT_EQ(options->lookup_min, 2);
  const auto suffix = read_speculative_config(
      R"({"method": "suffix", "suffix_decoding_max_tree_depth": 30, "suffix_decoding_max_cached_requests": 0,
          "suffix_decoding_max_spec_factor": 2.5, "suffix_decoding_min_token_prob": 0.25})");
  ASSERT_TRUE(suffix.ok());
  EXPECT_EQ(suffix->suffix.depth, 30);
  EXPECT_EQ(suffix->suffix.requests, 0);
  EXPECT_EQ(suffix->suffix.factor, 2.5F);
  EXPECT_EQ(suffix->suffix.least_probability, 0.25F);
  for (const char* wrong : {"[]", "{", R"({"method": "magic"})", R"({"num_speculative_tokens": 3})",
                            R"({"method": "ngram", "num_speculative_tokens": 0})",
                            R"({"method": "ngram", "prompt_lookup_max": 2, "prompt_lookup_min": 3})",
                            R"({"method": "ngram", "model": "x"})", R"({"method": "suffix", "model": "x"})",
                            R"({"method": "suffix", "suffix_decoding_max_tree_depth": 0})",
                            R"({"method": "suffix", "suffix_decoding_max_cached_requests": -1})",
                            R"({"method": "suffix", "suffix_decoding_max_spec_factor": "1"})",
                            R"({"method": "suffix", "suffix_decoding_min_token_prob": 1.5})"}) {
    const auto result = read_speculative_config(wrong);
    const std::string message = result.ok() ? "" : result.error().message;
    EXPECT_TRUE(message.starts_with("--speculative-config")) << wrong << ": " << message;
  }
}

}  // namespace
}  // namespace heed
