// The memory plan is binding: what it says is enough, and what cannot fit is said before anything is loaded.
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <future>

#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

#ifndef HEED_SANITIZED
// Bytes of "VmRSS:" or "VmHWM:" of this process.
int64_t status_bytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    int64_t kib = 0;
    if (word == name && file >> kib) return kib * 1024;
  }
  return 0;
}

// As many sequences as may run, prompts of nearly the longest length, and everything that costs memory.
TEST(MemoryPlan, a_full_load_stays_within_the_plan) {
  constexpr int kLength = 512;
  constexpr int kSequences = 16;
  malloc_trim(0);  // what other tests have freed would be taken again unseen
  const int64_t before = status_bytes("VmRSS:");
  const auto engine =
      Engine::start(open_checkpoint(kBard).value(),
                    {.runner = {.max_len = kLength}, .max_sequences = kSequences, .touch_memory = true})
          .value();
  const EnginePlan& plan = engine->plan();
  ASSERT_EQ(plan.full_sequences, kSequences);
  engine->wait_for_memory();
  EXPECT_GE(status_bytes("VmRSS:") - before, plan.memory.cache) << "the cache is there before any request";
  std::vector<std::promise<void>> ended(2 * kSequences);
  for (int i = 0; i < 2 * kSequences; ++i) {
    std::vector<int> prompt(kLength - 8);
    for (int j = 0; j < kLength - 8; ++j) prompt[j] = (i * 131 + j * 7) % 4096;
    Request request{.prompt = prompt,
                    .sampling = {.temperature = 1.5F, .repetition_penalty = 1.1F},
                    .max_tokens = 8,
                    .min_tokens = 8,
                    .stop_ids = {5},
                    .logprobs = 20,
                    .prompt_logprobs = 20,
                    .on_event = [&, i](const Event& event) {
                      if (event.finish) ended[i].set_value();
                    }};
    ASSERT_TRUE(engine->submit(std::move(request)).ok());
  }
  for (std::promise<void>& one : ended) one.get_future().wait();
  constexpr int64_t kSlack = int64_t{8} << 20;  // what malloc keeps for itself
  const int64_t most = plan.memory.total() - plan.memory.reserve;
  EXPECT_LE(status_bytes("VmHWM:") - before, most + kSlack);
  std::printf("planned %s without the reserve, at most %s taken\n", size_text(most).c_str(),
              size_text(status_bytes("VmHWM:") - before).c_str());
}
#endif

TEST(MemoryPlan, what_cannot_fit_is_refused_with_what_would) {
  const Checkpoint checkpoint = open_checkpoint(kBard).value();
  EngineOptions options{.cache_bytes = 1 << 20};
  const std::string message = plan_engine(checkpoint, options).error().message;
  EXPECT_NE(message.find("a cache of 1.00 MiB cannot hold one sequence of 2048 tokens"), std::string::npos)
      << message;
  const size_t flag = message.find("--max-model-len ");
  ASSERT_NE(flag, std::string::npos) << message;
  options.runner.max_len = std::stoi(message.substr(flag + 16));
  EXPECT_TRUE(plan_engine(checkpoint, options).ok()) << "what the message names fits";
  const int named = options.runner.max_len++;
  EXPECT_FALSE(plan_engine(checkpoint, options).ok()) << "and is the most that does";
  options.runner.max_len = kLongestThatFits;
  EXPECT_EQ(plan_engine(checkpoint, options).value().run.max_len, named);
  options.cache_bytes = 0;
  EXPECT_EQ(plan_engine(checkpoint, options).value().run.max_len, 2048);
}

TEST(MemoryPlan, requests_that_would_hold_too_much_are_refused) {
  const auto engine =
      Engine::start(open_checkpoint(kBard).value(), {.max_sequences = 1, .request_bytes = 100'000}).value();
  const auto error = [&](Request r) { return engine->submit(std::move(r)).error(); };
  EXPECT_EQ(error({.prompt = std::vector<int>(2000, 7), .prompt_logprobs = 20}).code, ErrorCode::kLimit);
  EXPECT_NE(error({.prompt = {1}, .logprobs = 21}).message.find("logprobs is 21; at most 20"),
            std::string::npos);
  std::vector<uint64_t> ids;
  std::optional<Error> refused;
  for (int i = 0; i < 50 && !refused; ++i) {
    auto id = engine->submit({.prompt = std::vector<int>(1000, 7), .max_tokens = 1000});
    if (id.ok()) {
      ids.push_back(*id);
    } else {
      refused = id.error();
    }
  }
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->code, ErrorCode::kBusy);
  EXPECT_FALSE(ids.empty());
  for (const uint64_t id : ids) engine->cancel(id);
  engine->drain();
  EXPECT_TRUE(engine->submit({.prompt = {1}, .max_tokens = 1}).ok()) << "there is room again";
  engine->drain();
}

}  // namespace
}  // namespace heed
