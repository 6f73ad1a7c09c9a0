// Proposers of others: the example, loaded as a user would; ones that answer what no proposer should.
#include <gmock/gmock.h>

#include "engine/plugin.h"
#include "tests/engine/drafters.h"

namespace heed {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// A plug-in is loaded once.
std::string load_once(const std::string& name) {
  static std::map<std::string, std::string> loaded;
  const auto found = loaded.find(name);
  if (found != loaded.end()) return found->second;
  const Result<std::string> line = load_plugin(std::string(HEED_BINARY_DIR) + "/tests/" + name + ".so");
  return loaded[name] = line.ok() ? *line : line.error().message;
}

EngineOptions with_config(const std::string& config) {
  EngineOptions options;
  options.speculative = read_speculative_config(config).value();
  return options;
}

TEST(PluginProposer, the_example_guesses_and_changes_nothing) {
  EXPECT_THAT(load_once("example_proposer"), HasSubstr("pairs 1.0"));
  EXPECT_THAT(load_once("example_proposer"), HasSubstr(": adds proposer pairs"));
  const EngineOptions guessing =
      with_config(R"({"method": "pairs", "pairs": 5000, "num_speculative_tokens": 4, "adaptive": false})");
  for (const char* model : {"rnj1", "qwen3_next"}) {
    SCOPED_TRACE(model);
    const std::string folder = golden_folder(model);
    const std::vector<Ask> asks = draft_asks(model);
    const std::vector<std::vector<int>> want = run_all(*start(folder, {}), asks);
    const auto engine = start(folder, guessing);
    EXPECT_EQ(run_all(*engine, asks), want);
    EXPECT_EQ(run_all(*engine, asks), want) << "with all that it has learnt";
    expect_clean(*engine);
    const EngineStats stats = engine->stats();
    EXPECT_GT(stats.accepted_tokens, stats.generated_tokens / 4) << "it has seen these answers";
    EXPECT_EQ(stats.dropped_guesses, 0U);
    expect_same_however_run(folder, guessing, asks, want);
  }
}

TEST(PluginProposer, memory_that_it_declares_is_planned) {
  load_once("example_proposer");
  load_once("wild_proposers");
  const Checkpoint checkpoint = open_checkpoint(golden_folder("rnj1")).value();
  const auto bytes = [&](const std::string& config) {
    return plan_engine(checkpoint, with_config(config)).value().needs.proposer_bytes;
  };
  const int64_t small = bytes(R"({"method": "pairs", "pairs": 1})");
  EXPECT_EQ(bytes(R"({"method": "pairs", "pairs": 1000001})") - small, 12'000'000);
  EXPECT_EQ(bytes(R"({"method": "wild"})"), 0) << "no less than nothing";
  const auto huge = plan_engine(checkpoint, with_config(R"({"method": "wild", "way": "huge"})"));
  ASSERT_FALSE(huge.ok());
  EXPECT_THAT(huge.error().message, HasSubstr("sequences 1"));
}

TEST(PluginProposer, wrong_options_and_names_are_named) {
  load_once("example_proposer");
  load_once("wild_proposers");
  const Checkpoint checkpoint = open_checkpoint(golden_folder("rnj1")).value();
  const auto error = [&](const std::string& config) {
    const auto options = read_speculative_config(config);
    if (!options.ok()) return options.error().message;
    EngineOptions engine;
    engine.speculative = *options;
    const auto plan = plan_engine(checkpoint, engine);
    return plan.ok() ? "accepted" : plan.error().message;
  };
  EXPECT_THAT(error(R"({"method": "pears"})"),
              HasSubstr("suffix, draft_model, dflash, eagle3, mtp, pairs, wild"));
  EXPECT_THAT(error(R"({"method": "pears", "pairs": 3})"), HasSubstr("\"pears\"")) << "not its options";
  EXPECT_EQ(error(R"({"method": "pairs", "pairs": 0})"),
            "--speculative-config: method pairs: pairs is 0; 1 to 67108864 is expected");
  for (const auto& [config, named] :
       {std::pair(R"({"method": "pairs", "prompt_lookup_max": 3})", "prompt_lookup_max"),
        std::pair(R"({"method": "pairs", "model": "x"})", "\"model\""),
        std::pair(R"({"method": "pairs", "num_speculative_tokens": 65})", "65"),
        std::pair(R"({"method": "pairs", "adaptive": 1})", "adaptive"),
        std::pair(R"({"method": "ngram", "pairs": 3})", "\"pairs\""),
        std::pair(R"({"method": "wild", "way": "none"})", "no proposer")}) {
    EXPECT_THAT(error(config), StartsWith("--speculative-config: ")) << config;
    EXPECT_THAT(error(config), HasSubstr(named)) << config;
  }
  EXPECT_THAT(load_once("taken_proposer"), HasSubstr("\"ngram\", which is a method of Heed's own"));
  EXPECT_EQ(read_speculative_config(R"({"method": "ngram"})").value().method, "ngram");
}

TEST(PluginProposer, guesses_that_are_no_tokens_or_too_many_are_dropped) {
  load_once("wild_proposers");
  const std::string folder = golden_folder("qwen3_next");
  const std::vector<Ask> asks = draft_asks("qwen3_next", 12);
  const std::vector<std::vector<int>> want = run_all(*start(folder, {}), asks);
  for (const char* way : {"negative", "beyond", "many"}) {
    SCOPED_TRACE(way);
    const auto engine = start(
        folder, with_config(R"({"method": "wild", "adaptive": false, "way": ")" + std::string(way) + "\"}"));
    EXPECT_EQ(run_all(*engine, asks), want);
    expect_clean(*engine);
    EXPECT_GT(engine->stats().dropped_guesses, 0U);
    EXPECT_EQ(engine->stats().draft_tokens > 0, std::string(way) != "beyond");
  }
}

}  // namespace
}  // namespace heed
