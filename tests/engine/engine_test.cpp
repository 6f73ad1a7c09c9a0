// The engine by what must not change its answers: block size, token budget, order, company, preemption,
// prefix cache, backend. And what it owes its callers: cancellation, limits, stop tokens, log-probabilities.
#include "engine/engine.h"

#include "engine/logprobs.h"
#include "tests/engine/asks.h"

namespace heed {
namespace {

// Prompts of many lengths; some share a beginning, some are sampled.
std::vector<Ask> asks_for(const std::vector<int>& text, int count) {
  std::vector<Ask> asks;
  for (int i = 0; i < count; ++i) {
    const int length = 1 + (i * 37) % 150;
    const int from = i % 3 == 0 ? 0 : i;
    asks.push_back({.prompt = std::vector<int>(text.begin() + from, text.begin() + from + length),
                    .max_tokens = 3 + i % 20,
                    .temperature = i % 4 == 3 ? 0.8F : 0,
                    .seed = static_cast<uint64_t>(i)});
  }
  return asks;
}

struct Variant {
  const char* name;
  EngineOptions options;
  bool reversed = false;
};

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const int block : {1, 4, 16, 64}) all.push_back({"block size", {.runner = {.block_size = block}}});
  for (const int budget : {8, 64, 2048}) all.push_back({"token budget", {.runner = {.step_tokens = budget}}});
  for (const int together : {1, 2, 17, 64}) all.push_back({"company", {.max_sequences = together}});
  all.push_back({"order", {}, true});
  all.push_back({"no prefix cache", {.prefix_caching = false}});
  all.push_back({"one thread", {.runner = {.threads = 1}}});
  all.push_back({"budget, block and order",
                 {.runner = {.block_size = 4, .step_tokens = 33}, .max_sequences = 5},
                 true});
  return all;
}

class EngineModel : public testing::TestWithParam<const char*> {
 protected:
  std::string folder() const { return GetParam() == std::string("bard") ? kBard : golden_folder(GetParam()); }
  std::vector<int> text() const {
    if (GetParam() != std::string("bard")) return read_golden(GetParam()).input;
    return read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  }
  // Each alone, in order, nothing cached.
  std::vector<std::vector<int>> alone(const std::vector<Ask>& asks) const {
    const auto engine = start(folder(), {.max_sequences = 1, .prefix_caching = false});
    return run_all(*engine, asks);
  }
};

TEST_P(EngineModel, answers_do_not_depend_on_how_they_are_computed) {
  const std::vector<int> words = text();
  const int count = kSanitized ? 5 : words.size() > 300 ? 64 : 12;
  std::vector<int> long_enough = words;
  while (long_enough.size() < 300) long_enough.insert(long_enough.end(), words.begin(), words.end());
  const std::vector<Ask> asks = asks_for(long_enough, count);
  const auto want = alone(asks);
  for (const Variant& v : variants()) {
    const auto engine = start(folder(), v.options);
    EXPECT_EQ(run_all(*engine, asks, v.reversed), want)
        << v.name << " block " << v.options.runner.block_size << " budget " << v.options.runner.step_tokens
        << " company " << v.options.max_sequences;
    EXPECT_EQ(run_all(*engine, asks, v.reversed), want)
        << v.name << ", the second time, from the prefix cache";
    engine->drain();
    EXPECT_EQ(engine->stats().held_pages, 0) << v.name;
  }
}

TEST_P(EngineModel, answers_do_not_depend_on_preemption) {
  std::vector<int> words = text();
  while (words.size() < 300) words.insert(words.end(), words.begin(), words.end());
  const std::vector<Ask> asks = asks_for(words, 20);
  const auto want = alone(asks);
  for (const bool prefix_caching : {false, true}) {
    EngineOptions options{.runner = {.max_len = 200, .step_tokens = 48}, .prefix_caching = prefix_caching};
    const RunPlan one =
        plan_run(open_checkpoint(folder()).value(), {.dtype = "float32", .max_len = 200, .step_tokens = 48})
            .value();
    for (const int more : {0, 1, 3, 8}) {  // room for hardly more than one long sequence
      options.cache_bytes = (one.pages + more) * one.layout.page_bytes;
      const auto engine = start(folder(), options);
      EXPECT_EQ(run_all(*engine, asks), want) << more << " pages more than one sequence needs";
      EXPECT_GT(engine->stats().preemptions, 0U) << "this must preempt, or it tests nothing";
      engine->drain();
      EXPECT_EQ(engine->stats().held_pages, 0);
    }
  }
}

// The first four of them have chunks, states, shared keys and experts; with sanitizers they stand for all.
std::vector<const char*> engine_models() {
  std::vector<const char*> all = {"rnj1",        "bailing",     "gemma4_text", "qwen3_next", "bard",
                                  "gemma3_text", "llama_rope3", "qwen2",       "qwen3_5",    "minimax",
                                  "gemma4_moe",  "gpt_oss",     "qwen3_moe",   "minimax_m1", "deepseek_v3",
                                  "llama4_text", "mixtral"};
  if (kSanitized) all.resize(4);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, EngineModel, testing::ValuesIn(engine_models()));

TEST(Engine, a_shared_prefix_is_found_and_another_salt_never_finds_it) {
  const auto words = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  const std::vector<int> prompt(words.begin(), words.begin() + 600);
  const auto engine = start(kBard, {});
  uint64_t counted = 0;
  const auto cached_tokens = [&](std::vector<int> tokens, const std::string& salt) {
    Listener listener;
    EXPECT_TRUE(engine
                    ->submit({.prompt = std::move(tokens),
                              .sampling = {.temperature = 0},
                              .max_tokens = 1,
                              .cache_salt = salt,
                              .on_event = listener.callback()})
                    .ok());
    listener.promise.get_future().wait();
    counted += static_cast<uint64_t>(listener.events.back().cached_tokens);
    EXPECT_EQ(engine->stats().prefix_hits, counted) << "by the time of the answer";
    return listener.events.back().cached_tokens;
  };
  EXPECT_EQ(cached_tokens(prompt, ""), 0);
  EXPECT_GE(cached_tokens(prompt, ""), 560);
  EXPECT_EQ(cached_tokens(prompt, "tenant"), 0);
  EXPECT_GE(cached_tokens(prompt, "tenant"), 560);
  std::vector<int> other = prompt;
  other[0] = other[0] == 7 ? 8 : 7;
  EXPECT_EQ(cached_tokens(other, ""), 0) << "an unequal beginning";
  engine->forget_prefixes();
  EXPECT_EQ(cached_tokens(prompt, ""), 0);
}

TEST(Engine, cancelling_frees_everything_and_says_so) {
  const auto engine = start(kBard, {});
  std::vector<Listener> listeners(8);
  std::vector<uint64_t> ids;
  for (Listener& listener : listeners) {
    ids.push_back(
        engine->submit({.prompt = {1, 3, 204}, .max_tokens = 100'000, .on_event = listener.callback()})
            .value());
  }
  engine->cancel(12345);  // unknown: nothing happens
  for (const uint64_t id : ids) engine->cancel(id);
  for (Listener& listener : listeners) EXPECT_NE(listener.promise.get_future().get(), Finish::kStop);
  engine->drain();
  EXPECT_EQ(engine->stats().held_pages, 0);
}

TEST(Engine, stopping_it_ends_what_is_under_way) {
  Listener listener;
  auto engine = start(kBard, {});
  ASSERT_TRUE(engine->submit({.prompt = {1}, .max_tokens = 100'000, .on_event = listener.callback()}).ok());
  engine.reset();
  EXPECT_TRUE(listener.events.back().finish.has_value());
}

TEST(Engine, wrong_requests_are_refused_by_name) {
  const auto engine = start(kBard, {.max_queue = 1});
  const auto error = [&](Request r) { return engine->submit(std::move(r)).error().message; };
  EXPECT_NE(error({.prompt = {}}).find("no tokens"), std::string::npos);
  EXPECT_NE(error({.prompt = {1, 4096}}).find("token id 4096"), std::string::npos);
  EXPECT_NE(error({.prompt = {-1}}).find("token id -1"), std::string::npos);
  EXPECT_NE(error({.prompt = {1}, .max_tokens = 0}).find("max_tokens is 0"), std::string::npos);
  EXPECT_NE(error({.prompt = std::vector<int>(2048, 7)}).find("2048 tokens"), std::string::npos);
  EXPECT_NE(error({.prompt = {1}, .sampling = {.top_p = 2}}).find("top_p"), std::string::npos);
}

TEST(Engine, a_stop_token_ends_the_answer_but_not_before_min_tokens) {
  const auto engine = start(kBard, {});
  const auto goldens = read_json(kBard + "/golden.json").value();
  const auto prompt = goldens[0]["prompt_ids"].get<std::vector<int>>();
  const auto want = goldens[0]["greedy"].get<std::vector<int>>();
  const auto ask = [&](int min_tokens, Listener& listener) {
    EXPECT_TRUE(engine
                    ->submit({.prompt = prompt,
                              .sampling = {.temperature = 0},
                              .max_tokens = 30,
                              .min_tokens = min_tokens,
                              .stop_ids = {want.back()},
                              .on_event = listener.callback()})
                    .ok());
    return listener.promise.get_future().get();
  };
  Listener stops, goes_on;
  EXPECT_EQ(ask(0, stops), Finish::kStop);
  EXPECT_EQ(stops.ids, want);
  EXPECT_TRUE(stops.events.back().is_stop);
  ask(12, goes_on);
  EXPECT_GE(goes_on.ids.size(), 12U);
  EXPECT_EQ(std::vector<int>(goes_on.ids.begin(), goes_on.ids.begin() + 7),
            std::vector<int>(want.begin(), want.end() - 1));
}

TEST(Engine, log_probabilities_are_those_of_the_model) {
  const auto words = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  const std::vector<int> prompt(words.begin(), words.begin() + 300);
  const auto runner = load(kBard, {.dtype = "float32"});
  const auto rows = logits_of(*runner, prompt, 300, 1 << 20);
  const auto engine = start(kBard, {.runner = {.step_tokens = 77}});
  Listener listener;
  ASSERT_TRUE(engine
                  ->submit({.prompt = prompt,
                            .sampling = {.temperature = 0},
                            .max_tokens = 1,
                            .logprobs = 3,
                            .prompt_logprobs = 2,
                            .on_event = listener.callback()})
                  .ok());
  listener.promise.get_future().wait();
  const Event& event = listener.events.back();
  ASSERT_EQ(event.prompt_logprobs.size(), 299U);
  for (size_t i = 0; i < 299; ++i) {
    const auto want = likeliest(rows[i], 2, prompt[i + 1]);
    ASSERT_EQ(event.prompt_logprobs[i].size(), want.size());
    for (size_t j = 0; j < want.size(); ++j) {
      EXPECT_EQ(event.prompt_logprobs[i][j].id, want[j].id);
      EXPECT_EQ(event.prompt_logprobs[i][j].logprob, want[j].logprob);
    }
  }
  ASSERT_EQ(event.top_logprobs.size(), 3U);
  EXPECT_EQ(event.logprob->id, event.top_logprobs[0].id) << "greedy takes the likeliest";
  EXPECT_EQ(event.logprob->rank, 1);
  EXPECT_EQ(event.logprob->logprob, likeliest(rows[299], 0, event.id)[0].logprob);
}

// Allows only even tokens, then nothing.
class EvenTokens : public TokenConstraint {
 public:
  void narrow(std::span<uint32_t> allowed) override {
    for (uint32_t& bits : allowed) bits &= accepted_ < 5 ? 0x55555555U : 0U;
  }
  void accept(int /*token*/) override { ++accepted_; }

 private:
  int accepted_ = 0;
};

TEST(Engine, a_constraint_narrows_every_token_and_ends_the_answer_when_nothing_is_left) {
  const auto engine = start(kBard, {});
  Listener listener;
  ASSERT_TRUE(engine
                  ->submit({.prompt = {1, 3, 204},
                            .max_tokens = 30,
                            .constraint = std::make_unique<EvenTokens>(),
                            .on_event = listener.callback()})
                  .ok());
  EXPECT_EQ(listener.promise.get_future().get(), Finish::kStop);
  EXPECT_EQ(listener.ids.size(), 5U);
  for (const int id : listener.ids) EXPECT_EQ(id % 2, 0);
}

TEST(Engine, smaller_priorities_go_first) {
  const auto engine = start(kBard, {.runner = {.step_tokens = 64}, .max_sequences = 1});
  std::vector<int> order;
  std::mutex mutex;
  std::vector<Listener> listeners(4);
  const int priorities[] = {0, 5, -1, 5};
  for (int i = 0; i < 4; ++i) {
    auto callback = listeners[i].callback();
    ASSERT_TRUE(engine
                    ->submit({.prompt = std::vector<int>(500, 7),
                              .max_tokens = 50,
                              .priority = priorities[i],
                              .on_event =
                                  [&, i, callback](const Event& event) {
                                    if (event.finish) {
                                      const std::lock_guard lock(mutex);
                                      order.push_back(i);
                                    }
                                    callback(event);
                                  }})
                    .ok());
  }
  engine->drain();
  EXPECT_EQ(order.back(), 3) << "equal priorities: first come, first served";
  EXPECT_LT(std::find(order.begin(), order.end(), 2), std::find(order.begin(), order.end(), 1));
}

}  // namespace
}  // namespace heed
