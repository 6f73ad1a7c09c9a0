// Models on a device whose memory the host cannot touch: every pointer that ops get lies there, nothing on
// the host reads what they wrote, recorded steps find all of it at the same addresses again.
#include "tests/engine/drafters.h"
#include "tests/engine/fake_device.h"
#include "tests/engine/pictures.h"

namespace heed {
namespace {

const char* const kDeviceModels[] = {"llama_rope3", "qwen3",       "gemma3_text",  "rnj1",
                                     "qwen2",       "mixtral",     "qwen3_moe",    "qwen3_next",
                                     "qwen3_5_moe", "minimax",     "minimax_m1",   "bailing",
                                     "deepseek_v3", "llama4_text", "gemma4_text",  "gemma4_published",
                                     "gemma4_moe",  "gpt_oss",     "gpt_oss_mxfp4"};

class OnDevice : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { fake::add(); }
};

TEST_P(OnDevice, logits_and_greedy_tokens_are_those_of_the_host) {
  const Golden golden = read_golden(GetParam());
  const auto here = load(golden_folder(GetParam()), {.dtype = "float32", .backend = "cpu"});
  const int replays = fake::replays;
  for (const bool recordings : {true, false}) {
    const auto there =
        load(golden_folder(GetParam()),
             {.dtype = "float32", .backend = "fake", .step_tokens = 33, .recordings = recordings});
    EXPECT_EQ(
        largest_difference(logits_of(*there, golden.input, 8, 33), logits_of(*here, golden.input, 8, 33)), 0);
    EXPECT_EQ(greedy_of(*there, golden.input, 20), greedy_of(*here, golden.input, 20));
  }
  EXPECT_GE(fake::replays - replays, 16) << "decoding is replayed";
}

INSTANTIATE_TEST_SUITE_P(All, OnDevice, testing::ValuesIn(kDeviceModels),
                         [](const auto& test) { return std::string(test.param); });

// Matrices in blocks go there as they are, parts of fused ones and experts among them.
TEST(BlocksOnDevice, logits_are_those_of_the_host) {
  fake::add();
  for (const char* model : {"qwen3", "qwen3_next"}) {
    for (const char* quantize : {"int8", "int4"}) {
      const Golden golden = read_golden(model);
      const auto of = [&](const char* backend) {
        const auto runner =
            load(golden_folder(model), {.dtype = "float32", .backend = backend, .quantize = quantize});
        return logits_of(*runner, golden.input, 8, 33);
      };
      EXPECT_EQ(largest_difference(of("fake"), of("cpu")), 0) << model << " " << quantize;
    }
  }
}

class SeenOnDevice : public OnDevice {};

TEST_P(SeenOnDevice, pictures_give_the_logits_of_the_host) {
  const SeenGolden golden = read_seen_golden(GetParam());
  std::vector<std::vector<std::vector<float>>> all;
  for (const char* backend : {"cpu", "fake"}) {
    const auto runner = load(golden_folder(GetParam()), {.dtype = "float32", .backend = backend});
    Sequence sequence = golden.sequence();
    all.push_back(rows_of(runner->prefill(sequence, 8).value()));
    runner->cache().release(sequence);
  }
  EXPECT_EQ(largest_difference(all[0], all[1]), 0);
}

INSTANTIATE_TEST_SUITE_P(All, SeenOnDevice,
                         testing::Values("gemma4_vision", "gemma4_vision_small", "gemma3_vision"),
                         [](const auto& test) { return std::string(test.param); });

// Engines with many requests: batches that are padded, block tables that grow, prefixes, snapshots, drafts.
TEST(EngineOnDevice, answers_do_not_depend_on_where_it_runs) {
  fake::add();
  for (const char* model : {"gemma3_text", "qwen3_next", "mixtral"}) {
    const Golden golden = read_golden(model);
    std::vector<Ask> asks;
    for (int i = 0; i < 13; ++i) {
      const auto from = golden.input.begin() + i % 3;
      asks.push_back({.prompt = {from, from + 20 + 3 * i}, .max_tokens = 8 + i});
    }
    std::vector<std::vector<std::vector<int>>> answers;
    for (const char* backend : {"cpu", "fake"}) {
      const auto engine = start(golden_folder(model), {.runner = {.backend = backend, .step_tokens = 40},
                                                       .max_sequences = 9,
                                                       .speculative = {.method = "ngram", .tokens = 3}});
      answers.push_back(run_all(*engine, asks));
      answers.push_back(run_all(*engine, asks));
    }
    for (const auto& answer : answers) EXPECT_EQ(answer, answers[0]) << model;
  }
}

// All ways to draw, beside requests whose logits must come to the host, and where the device is not sure.
TEST(EngineOnDevice, tokens_are_drawn_there_as_on_the_host) {
  fake::add();
  const Golden golden = read_golden("qwen3");
  std::vector<Sampling> ways = {{.temperature = 0.7F},
                                {.temperature = 1.5F, .top_k = 20},
                                {.temperature = 1, .top_p = 0.9F},
                                {.temperature = 2, .min_p = 0.05F},
                                {.temperature = 0},
                                {.temperature = 0.9F, .top_k = 40, .top_p = 0.8F, .min_p = 0.01F}};
  const auto answers = [&](const std::string& backend, bool with_penalty) {
    const auto engine = start(golden_folder("qwen3"), {.runner = {.backend = backend, .max_len = 300},
                                                       .max_sequences = 9,
                                                       .speculative = {.method = "ngram", .tokens = 3}});
    std::vector<Listener> listeners(ways.size() + 1);
    for (size_t i = 0; i < ways.size() + (with_penalty ? 1 : 0); ++i) {
      Sampling sampling = ways[i % ways.size()];
      if (i == ways.size()) sampling.presence_penalty = 1;
      sampling.seed = i;
      const auto from = golden.input.begin() + static_cast<int>(i);
      EXPECT_TRUE(engine
                      ->submit({.prompt = {from, from + 30},
                                .sampling = sampling,
                                .max_tokens = i == ways.size() ? 9 : 16,
                                .on_event = listeners[i].callback()})
                      .ok());
    }
    engine->drain();
    std::vector<std::vector<int>> all;
    for (const Listener& listener : listeners) all.push_back(listener.ids);
    return all;
  };
  for (const bool with_penalty : {false, true}) {
    const auto want = answers("cpu", with_penalty);
    EXPECT_EQ(want[0].size(), 16U);
    EXPECT_EQ(answers("fake", with_penalty), want);
    fake::undecided = true;
    EXPECT_EQ(answers("fake", with_penalty), want);
    fake::undecided = false;
  }
}

// Not only the answers, which no guess may change: every guess is the one that it is on the host.
TEST(EngineOnDevice, drafters_guess_as_they_do_on_the_host) {
  fake::add();
  const auto spec_of = [](const char* model) { return open_checkpoint(golden_folder(model)).value().spec; };
  const RandomDrafter block(spec_of("rnj1"), {.block = 5, .taps = {1, 0}, .window = 6});
  const RandomDrafter eagle(spec_of("gemma3_text"), {.kind = DrafterShape::kEagle, .taps = {0, 2, 1}});
  struct {
    std::string target;
    EngineOptions options;
  } cases[] = {{"rnj1", with_drafter(block.folder(), 4)},
               {"gemma3_text", with_drafter(eagle.folder(), 3)},
               {"qwen3_next", with_heads(golden_folder("mtp_qwen3_next"), 3)},
               {"llama_rope3", with_drafter(golden_folder("llama_rope3"), 4)}};
  for (auto& [target, options] : cases) {
    SCOPED_TRACE(target);
    // Two, so that there is a slot of state for each guess of either.
    const std::vector<Ask> all = draft_asks(target, 12);
    const std::vector<Ask> asks = {all[0], all[3]};
    EngineOptions plain;
    for (EngineOptions* each : {&plain, &options}) {
      each->runner.dtype = "float32";
      each->runner.backend = "cpu";
    }
    const Guessed here = guessed_by(golden_folder(target), options, asks);
    EXPECT_GT(here.drafts, 0U);
    EXPECT_EQ(here.answers, guessed_by(golden_folder(target), plain, asks).answers);
    options.runner.backend = "fake";
    for (const bool recordings : {true, false}) {
      options.runner.recordings = recordings;
      const int replays = fake::replays;
      EXPECT_EQ(guessed_by(golden_folder(target), options, asks), here);
      EXPECT_EQ(fake::replays > replays, recordings);
    }
  }
}

// Trained drafters, which are often right; one sequence at a time, so that all its steps are recorded. In the
// dtype of the checkpoints.
TEST(EngineOnDevice, bards_drafters_are_as_often_right) {
  fake::add();
  for (const auto& [drafter, temperature] : {std::pair("bard-dflash", 0.6F), {"bard-eagle3", 0.0F}}) {
    SCOPED_TRACE(drafter);
    EngineOptions options = with_drafter(bards(drafter), 4);
    options.runner.backend = "cpu";
    const Guessed here = guessed_of_bard(options, temperature);
    EXPECT_GT(here.right, here.drafts / 10);
    const int replays = fake::replays;
    options.runner.backend = "fake";
    EXPECT_EQ(guessed_of_bard(options, temperature), here);
    EXPECT_GT(fake::replays - replays, 20);
  }
}

TEST(EngineOnDevice, its_memory_is_what_the_plan_counts_with) {
  fake::add();
  const Checkpoint checkpoint = open_checkpoint(golden_folder("qwen3")).value();
  const EnginePlan plan = plan_engine(checkpoint, {.runner = {.backend = "fake"}}).value();
  EXPECT_EQ(plan.memory.limit.source, "free on fake:0");
  EXPECT_EQ(plan.memory.limit.bytes, int64_t{8} << 30);
  EXPECT_LE(plan.memory.total(), plan.memory.limit.bytes);
  EXPECT_GT(plan.memory.host_total(), 0);
  const auto too_long = plan_engine(checkpoint, {.runner = {.backend = "fake"}, .memory_bytes = 1 << 16});
  EXPECT_NE(too_long.error().message.find("of memory"), std::string::npos) << too_long.error().message;
}

TEST(EngineOnDevice, when_steps_ran_is_noted) {
  fake::add();
  const Golden golden = read_golden("qwen3");
  const std::vector<Ask> asks(
      3, {.prompt = {golden.input.begin(), golden.input.begin() + 30}, .max_tokens = 12});
  const auto engine =
      start(golden_folder("qwen3"), {.runner = {.backend = "fake", .step_tokens = 40}, .trace_steps = true});
  run_all(*engine, asks);
  engine->drain();
  const std::vector<TracedStep> steps = engine->take_traced();
  EXPECT_EQ(std::ssize(steps), engine->stats().device.steps);
  ASSERT_GT(steps.size(), 12);
  int ahead = 0;
  int replayed = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const TracedStep& step = steps[i];
    EXPECT_EQ(step.number, static_cast<int64_t>(i) + 1);
    EXPECT_LE(step.begun, step.sent);
    EXPECT_LE(step.sent, step.launched);
    EXPECT_LE(step.launched, step.waiting);
    EXPECT_LE(step.waiting, step.read);
    EXPECT_LT(step.device_begun, step.device_done);
    const TracedStep& before = steps[i > 0 ? i - 1 : 0];
    EXPECT_TRUE(i == 0 || before.device_done <= step.device_begun) << i;
    if (i > 0 && step.launched <= before.waiting) ++ahead;
    if (step.replayed) ++replayed;
  }
  EXPECT_EQ(replayed, engine->stats().device.replayed);
  EXPECT_GT(ahead, 8) << "the host prepares a step before it waits for the one before";
  EXPECT_TRUE(engine->take_traced().empty());
  run_all(*engine, asks);
  EXPECT_FALSE(engine->take_traced().empty());
}

TEST(EngineOnDevice, what_cannot_be_is_said) {
  fake::add();
  EXPECT_EQ(find_device("fake:1", "").error().message, "fake:1 cannot be used here: there is one");
  EXPECT_EQ(find_device("fake:0", "ref").error().message, "backend ref does not run on device fake:0");
  EXPECT_EQ(find_device("fake:x", "").error().message.substr(0, 28), "device \"fake:x\" is unknown: ");
  EXPECT_EQ(find_device("fake:0", "")->kernels->name, "fake");
  EXPECT_EQ(find_device("cpu", "ref")->kernels->name, "ref");
  const auto mixed = plan_run(open_checkpoint(golden_folder("qwen3")).value(),
                              {.backend = "fake", .attention = "cpu.flash"});
  EXPECT_EQ(mixed.error().message,
            "attention kernel cpu.flash cannot run this model: it does not read the memory of backend fake");
}

}  // namespace
}  // namespace heed
