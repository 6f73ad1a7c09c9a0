// The host prepares each step while a device runs the one before it: what callers hear is what they hear
// where every step is finished first, whatever ends, leaves or is computed again meanwhile.
#include "tests/engine/asks.h"
#include "tests/engine/fake_device.h"

namespace heed {
namespace {

// What came of a request, but for times.
struct Heard {
  std::vector<int> ids;
  std::vector<bool> stops;
  Finish finish = Finish::kCancelled;
  bool operator==(const Heard&) const = default;
};

struct Script {
  std::function<Request(int)> request;
  int requests = 0;
  int cancel_at = 0;  // tokens after which every third request is cancelled by whoever listens; 0: never
};

std::vector<Heard> heard(Engine& engine, const Script& script) {
  std::vector<Heard> all(script.requests);
  std::vector<std::promise<void>> ends(script.requests);
  std::latch submitted(1);
  for (int i = 0; i < script.requests; ++i) {
    Request request = script.request(i);
    request.on_event = [&, i](const Event& event) {
      submitted.wait();
      if (event.id >= 0) {
        all[i].ids.push_back(event.id);
        all[i].stops.push_back(event.is_stop);
      }
      if (event.finish) {
        all[i].finish = *event.finish;
        ends[i].set_value();
      } else if (script.cancel_at > 0 && i % 3 == 0 && std::ssize(all[i].ids) == script.cancel_at) {
        engine.cancel(event.request);
      }
    };
    const Result<uint64_t> id = engine.submit(std::move(request));
    EXPECT_TRUE(id.ok()) << id.error().message;
    if (!id.ok()) ends[i].set_value();
  }
  submitted.count_down();
  for (std::promise<void>& end : ends) end.get_future().wait();
  engine.drain();
  EXPECT_EQ(engine.stats().held_pages, 0);
  EXPECT_EQ(engine.stats().held_states, 0);
  return all;
}

EngineOptions ahead(EngineOptions options) {
  options.async_scheduling = true;
  return options;
}

// Twice by each engine, the second time from the prefix cache: it hears what the host's does.
void expect_equal(const std::string& model, EngineOptions options, const Script& script,
                  const std::function<void(const EngineStats&)>& look = nullptr) {
  options.runner.max_len = 200;  // its memory is opened and closed for every op
  options.max_sequences = std::min(options.max_sequences, 9);
  options.runner.backend = "cpu";
  const std::vector<Heard> want = heard(*start(golden_folder(model), options), script);
  options.runner.backend = "fake";
  const bool async = options.async_scheduling;
  const auto engine = start(golden_folder(model), options);
  EXPECT_EQ(engine->why_in_step(), async ? "" : "--async-scheduling is off");
  for (int round = 0; round < 2; ++round) EXPECT_EQ(heard(*engine, script), want) << round;
  EXPECT_EQ(engine->stats().steps_ahead > 0, async);
  if (look) look(engine->stats());
}

class Async : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { fake::add(); }
  void SetUp() override {
    words_ = read_golden(GetParam()).input;
    while (words_.size() < 200) words_.insert(words_.end(), words_.begin(), words_.end());
  }
  // Greedy and seeded, of many lengths; every other one begins as others do, and has stop tokens that come.
  Request request(int i) const {
    const auto from = words_.begin() + (i % 2 == 0 ? 0 : i);
    Request r{.prompt = {from, from + 20 + 3 * i}, .max_tokens = 1 + (i * 5) % 23};
    r.sampling = {.temperature = i % 3 == 0 ? 0.0F : 0.9F, .seed = static_cast<uint64_t>(i)};
    if (i % 2 == 0) {
      for (int id = i; id < 512; id += 3) r.stop_ids.push_back(id);
    }
    return r;
  }
  Script script(int requests = 13) const {
    return {.request = [this](int i) { return request(i); }, .requests = requests};
  }
  std::vector<int> words_;
};

TEST_P(Async, callers_hear_what_they_hear_in_step) {
  for (const bool async : {true, false}) {
    expect_equal(GetParam(), {.runner = {.step_tokens = 40}, .max_sequences = 9, .async_scheduling = async},
                 script());
  }
  expect_equal(GetParam(),
               ahead({.runner = {.step_tokens = 40}, .max_sequences = 9, .prefix_caching = false}), script());
  const std::vector<Heard> all = heard(*start(golden_folder(GetParam()), {}), script());
  const auto ended = [&](Finish why) {
    return std::count_if(all.begin(), all.end(), [&](const Heard& h) { return h.finish == why; });
  };
  EXPECT_GE(ended(Finish::kStop), 2) << "some answers end before their length";
  EXPECT_GE(ended(Finish::kLength), 3);
}

// As a stop string does: the text behind it is known only when the token has been read.
TEST_P(Async, nothing_is_heard_after_a_cancel) {
  Script some = script();
  some.cancel_at = 3;
  expect_equal(GetParam(), ahead({.runner = {.step_tokens = 40}, .max_sequences = 5}), some);
}

TEST_P(Async, preempted_while_their_tokens_are_under_way) {
  const RunnerOptions runner = {.dtype = "float32", .max_len = 200, .step_tokens = 48};
  const RunPlan one = plan_run(open_checkpoint(golden_folder(GetParam())).value(), runner).value();
  for (const bool prefix_caching : {true, false}) {
    expect_equal(GetParam(),
                 ahead({.runner = runner,
                        .prefix_caching = prefix_caching,
                        .cache_bytes = (one.pages + 1) * one.layout.page_bytes}),
                 script(11), [](const EngineStats& stats) { EXPECT_GT(stats.preemptions, 0U); });
  }
}

// Only known tokens are hashed, and no page or state less than in step is found again.
TEST_P(Async, a_later_prompt_finds_as_much_of_an_answer) {
  std::vector<std::pair<std::vector<int>, int>>
      found;  // second answers, and what was cached of their prompts
  for (const bool async : {true, false}) {
    const auto engine =
        start(golden_folder(GetParam()),
              {.runner = {.backend = "fake", .max_len = 200}, .max_sequences = 2, .async_scheduling = async});
    std::vector<int> text(words_.begin(), words_.begin() + 50);
    for (const int tokens : {60, 4}) {
      Listener listener;
      ASSERT_TRUE(engine
                      ->submit({.prompt = text,
                                .sampling = {.temperature = 0},
                                .max_tokens = tokens,
                                .on_event = listener.callback()})
                      .ok());
      listener.promise.get_future().wait();
      text.insert(text.end(), listener.ids.begin(), listener.ids.end());
      text.push_back(7);
      if (tokens == 4) found.emplace_back(listener.ids, listener.events.back().cached_tokens);
    }
  }
  EXPECT_EQ(found[0], found[1]);
  EXPECT_GE(found[0].second, 64) << "into the answer";
}

// Beside those whose logits the host needs, for a while.
TEST_P(Async, steps_wait_where_the_host_needs_the_logits) {
  Script some = script(7);
  some.request = [this](int i) {
    Request r = request(i);
    if (i == 2) r.sampling.presence_penalty = 1;
    if (i == 3) r.logprobs = 2;
    if (i == 4) r.prompt_logprobs = 1;
    if (i == 6) r.min_tokens = 4;
    return r;
  };
  expect_equal(GetParam(), ahead({.runner = {.step_tokens = 40}, .max_sequences = 4}), some);
}

TEST_P(Async, a_token_that_the_device_is_not_sure_of_is_drawn_here) {
  fake::undecided = true;
  for (const bool prefix_caching : {true, false}) {
    expect_equal(GetParam(), ahead({.runner = {.step_tokens = 40}, .prefix_caching = prefix_caching}),
                 script(5));
  }
  fake::undecided = false;
}

// With states first, which stands for all with sanitizers.
std::vector<const char*> async_models() {
  if (kSanitized) return {"qwen3_next"};
  return {"qwen3_next", "gemma3_text", "qwen3"};
}
INSTANTIATE_TEST_SUITE_P(All, Async, testing::ValuesIn(async_models()),
                         [](const auto& test) { return std::string(test.param); });

// One sequence: as many steps as in step, but for one whose row nobody needs, where a stop token ends it.
TEST(AsyncSteps, an_end_that_could_not_be_foreseen_wastes_one) {
  fake::add();
  const std::vector<int> all = read_golden("qwen3").input;
  const std::vector<int> words(all.begin(), all.begin() + 50);
  const auto steps = [&](bool async, int stop_id) {
    const auto engine =
        start(golden_folder("qwen3"),
              {.runner = {.backend = "fake", .max_len = 200}, .max_sequences = 2, .async_scheduling = async});
    Script one = {.requests = 1};
    one.request = [&](int) {
      Request r{.prompt = words, .sampling = {.temperature = 0}, .max_tokens = 12};
      if (stop_id >= 0) r.stop_ids = {stop_id};
      return r;
    };
    const size_t made = heard(*engine, one).front().ids.size();
    engine->stop();
    return std::pair(made, engine->stats().steps);
  };
  EXPECT_EQ(steps(false, -1), std::pair(size_t{12}, uint64_t{12}));
  EXPECT_EQ(steps(true, -1), steps(false, -1));
  const std::vector<int> plain =
      run_all(*start(golden_folder("qwen3"), {}), {{.prompt = words, .max_tokens = 12}})[0];
  const int stop_id = plain[4];
  const auto [made, in_step] = steps(false, stop_id);
  EXPECT_LE(made, 5U);
  EXPECT_EQ(steps(true, stop_id), std::pair(made, in_step + 1));
}

TEST(AsyncSteps, what_keeps_the_host_in_step_is_said) {
  fake::add();
  const std::string folder = golden_folder("qwen3");
  EXPECT_EQ(start(folder, ahead({.runner = {.backend = "cpu"}}))->why_in_step(), "steps run on the host");
  EXPECT_EQ(start(folder, ahead({.runner = {.backend = "fake", .max_len = 200},
                                 .max_sequences = 2,
                                 .speculative = {.method = "ngram", .tokens = 2}}))
                ->why_in_step(),
            "guesses follow the tokens of each step");
}

// From another thread, at any moment; whoever is left hears what it always does.
TEST(AsyncSteps, cancelled_and_stopped_while_steps_are_under_way) {
  fake::add();
  const std::vector<int> words = read_golden("gemma3_text").input;
  const auto ask = [&](int i) { return std::vector<int>(words.begin() + i, words.begin() + i + 30); };
  const auto alone = run_all(*start(golden_folder("gemma3_text"), {}), {{.prompt = ask(9)}}).front();
  for (int round = 0; round < 8; ++round) {
    auto engine = start(golden_folder("gemma3_text"),
                        ahead({.runner = {.backend = "fake", .max_len = 200}, .max_sequences = 5}));
    std::vector<Listener> listeners(4);
    std::vector<uint64_t> ids;
    for (int i = 0; i < 4; ++i) {
      ids.push_back(
          engine->submit({.prompt = ask(i), .max_tokens = 60, .on_event = listeners[i].callback()}).value());
    }
    Listener kept;
    ASSERT_TRUE(engine
                    ->submit({.prompt = ask(9),
                              .sampling = {.temperature = 0},
                              .max_tokens = 16,
                              .on_event = kept.callback()})
                    .ok());
    for (int i = 0; i < 3; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(300 * round));
      engine->cancel(ids[i]);
    }
    EXPECT_EQ(kept.promise.get_future().get(), Finish::kLength);
    EXPECT_EQ(kept.ids, alone);
    engine->stop();
    for (const Listener& listener : listeners) EXPECT_TRUE(listener.events.back().finish.has_value());
    EXPECT_EQ(engine->stats().held_pages, 0);
  }
}

}  // namespace
}  // namespace heed
