// Backend cuda under what must not change the answer: how a prefill is cut, block sizes, neighbours,
// recordings, whether the host runs ahead. cuBLASLt sums in an order that depends on the number of rows, so
// logits agree within rounding; tokens are the same.
#include <filesystem>

#include "tests/engine/drafters.h"
#include "tests/engine/pictures.h"

namespace heed {
namespace {

constexpr double kRounding = 2e-3;  // of float32 logits

class Cuda : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string reason = missing("cuda"); !reason.empty()) GTEST_SKIP() << reason;
  }
  static std::unique_ptr<Runner> load_cuda(const std::string& model, RunnerOptions options) {
    options.dtype = "float32";
    options.backend = "cuda";
    return load(golden_folder(model), options);
  }
};

TEST_P(Cuda, a_prefill_cut_anywhere_gives_the_same_logits) {
  const Golden golden = read_golden(GetParam());
  for (const char* dtype : {"float32", "bfloat16"}) {
    const auto runner = load(golden_folder(GetParam()), {.dtype = dtype, .backend = "cuda"});
    const auto whole = logits_of(*runner, golden.input, 8, 1 << 20);
    for (const int step : {1, 7, 64}) {
      const double difference = largest_difference(logits_of(*runner, golden.input, 8, step), whole);
      std::printf("%s %s by %d: %.2e\n", GetParam(), dtype, step, difference);
      // Of bfloat16 a step or two where rounding falls otherwise; no more than a wrong key would move.
      EXPECT_LE(difference, dtype == std::string("float32") ? kRounding : 0.5) << dtype << " by " << step;
    }
  }
}

TEST_P(Cuda, greedy_tokens_do_not_depend_on_block_size_steps_or_recordings) {
  const Golden golden = read_golden(GetParam());
  const std::vector<int> want = greedy_of(*load_cuda(GetParam(), {.recordings = false}), golden.input, 24);
  const RunnerOptions variants[] = {
      {.recordings = true}, {.block_size = 64}, {.block_size = 48, .step_tokens = 5},
      {.block_size = 5},    {.step_tokens = 1}, {.attention = "cuda.simple"}};
  for (const RunnerOptions& options : variants) {
    EXPECT_EQ(greedy_of(*load_cuda(GetParam(), options), golden.input, 24), want)
        << "block " << options.block_size << " step " << options.step_tokens << " " << options.recordings;
  }
}

TEST_P(Cuda, neighbours_in_a_batch_change_nothing_but_rounding) {
  const Golden golden = read_golden(GetParam());
  const auto runner = load_cuda(GetParam(), {});
  const int lengths[] = {37, 1, 64, 5};
  std::vector<Sequence> sequences(4);
  std::vector<Scheduled> batch;
  for (const int i : {2, 0, 3, 1}) {
    sequences[i].tokens.assign(golden.input.begin() + i, golden.input.begin() + i + lengths[i]);
    if (!runner->plan().states.empty() && i > 0) continue;  // there is one slot
    ASSERT_TRUE(runner->cache().extend(sequences[i], lengths[i]));
    batch.push_back({.sequence = &sequences[i], .count = lengths[i], .logit_count = 1});
  }
  const auto together = rows_of(runner->step(batch));
  for (Sequence& s : sequences) runner->cache().release(s);
  for (size_t row = 0; row < batch.size(); ++row) {
    EXPECT_LE(
        largest_difference(logits_of(*runner, batch[row].sequence->tokens, 1, 1 << 20), {together[row]}),
        kRounding)
        << " row " << row;
  }
}

// A cache of fp8 rounds keys and values as on the CPU; queries and weights are rounded to float16 besides.
TEST_P(Cuda, a_cache_of_fp8_stays_near_the_golden) {
  const Golden golden = read_golden(GetParam());
  const int last = static_cast<int>(golden.logits.size());
  const auto cpu = load(golden_folder(GetParam()), {.dtype = "float32", .kv_cache_dtype = "fp8"});
  const double usual = mean_divergence(golden.logits, logits_of(*cpu, golden.input, last, 1 << 20));
  const auto runner = load_cuda(GetParam(), {.kv_cache_dtype = "fp8"});
  for (const int step : {1 << 20, 7, 1}) {
    const double own = mean_divergence(golden.logits, logits_of(*runner, golden.input, last, step));
    std::printf("%s by %d: mean KL divergence of a cache of fp8 %.2e, on the cpu %.2e\n", GetParam(), step,
                own, usual);
    EXPECT_LE(own, 1.5 * usual + 1e-3) << step;
  }
}

// Batches of up to nine sequences, preempted, with prefixes found again and drafts.
TEST_P(Cuda, an_engine_answers_as_the_reference_does) {
  const Golden golden = read_golden(GetParam());
  std::vector<Ask> asks;
  for (int i = 0; i < 13; ++i) {
    const auto from = golden.input.begin() + i % 3;
    asks.push_back({.prompt = {from, from + 20 + 3 * i}, .max_tokens = 8 + i});
  }
  const auto want = run_all(*start(golden_folder(GetParam()), {.runner = {.backend = "cpu"}}), asks);
  struct Way {
    bool recordings, async;
    const char* method;
  };
  const Way ways[] = {{true, true, ""},   {true, false, ""},     {false, true, ""},
                      {false, false, ""}, {true, true, "ngram"}, {false, true, "ngram"}};
  for (const auto& [recordings, async, method] : ways) {
    SCOPED_TRACE(std::string(recordings ? "recorded " : "") + (async ? "ahead " : "in step ") + method);
    const auto engine = start(golden_folder(GetParam()),
                              {.runner = {.backend = "cuda", .step_tokens = 40, .recordings = recordings},
                               .max_sequences = 9,
                               .speculative = {.method = method, .tokens = 3},
                               .async_scheduling = async});
    EXPECT_EQ(run_all(*engine, asks), want);
    EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want);
    EXPECT_EQ(engine->stats().steps_ahead > 0, async && method == std::string());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Cuda,
                         testing::Values("llama_rope3", "qwen3", "gemma3_text", "rnj1", "qwen3_moe",
                                         "qwen3_next", "minimax", "deepseek_v3", "gpt_oss"),
                         [](const auto& test) { return std::string(test.param); });

// Whoever guesses, and however often the guesses are right, answers are those without.
TEST_P(Cuda, drafters_change_no_answer) {
  const std::string folder = golden_folder(GetParam());
  const ModelSpec spec = open_checkpoint(folder).value().spec;
  const std::vector<Ask> asks = draft_asks(GetParam(), 24);
  const auto want = run_all(*start(folder, {.runner = {.backend = "cpu"}}), asks);
  const RandomDrafter block(spec, {.block = 6, .taps = {1, 0}, .window = 6});
  const RandomDrafter eagle(spec, {.kind = DrafterShape::kEagle, .taps = {0, 2, 1}});
  std::vector<EngineOptions> guessers = {with_drafter(block.folder()), with_drafter(eagle.folder(), 3)};
  if (spec.layers.size() < 8 && plan_run(open_checkpoint(folder).value(), {.drafter = folder}).ok())
    guessers.push_back(with_drafter(folder, 4));  // its own twin
  if (const std::string heads = golden_folder("mtp_" + std::string(GetParam()));
      std::filesystem::exists(heads))
    guessers.push_back(with_heads(heads, 3));
  for (EngineOptions& options : guessers) {
    SCOPED_TRACE(options.speculative.method + " " + options.speculative.model);
    options.runner.backend = "cuda";
    options.max_sequences = 8;
    for (const bool recordings : {true, false}) {
      options.runner.recordings = recordings;
      const auto engine = start(folder, options);
      EXPECT_EQ(run_all(*engine, asks), want) << recordings;
      EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want) << recordings;
      EXPECT_GT(engine->stats().draft_tokens, 0U);
      EXPECT_EQ(run_all(*engine, {asks[0]}).front(), want[0]) << recordings;  // alone: all steps are alike
      EXPECT_EQ(engine->stats().device.replayed > 0, recordings);
      expect_clean(*engine);
    }
  }
}

// In bfloat16, where kernels read ahead of each other: recorded steps of several tokens and recorded guesses
// give what the same kernels give one by one, and guesses are right about as often as on the CPU.
TEST(CudaDrafts, of_bard_are_as_often_right_recorded_or_not) {
  if (const std::string reason = missing("cuda"); !reason.empty()) GTEST_SKIP() << reason;
  for (const char* drafter : {"bard-dflash", "bard-eagle3"}) {
    for (const float temperature : {0.0F, 0.6F}) {
      SCOPED_TRACE(drafter + std::to_string(temperature));
      EngineOptions options = with_drafter(bards(drafter), 4);
      options.runner.backend = "cuda";
      const Guessed recorded = guessed_of_bard(options, temperature);
      options.runner.recordings = false;
      EXPECT_EQ(guessed_of_bard(options, temperature), recorded);
      options.runner.backend = "cpu";
      const Guessed here = guessed_of_bard(options, temperature);
      std::printf("%s at %.1f: %llu of %llu right, on the CPU %llu of %llu\n", drafter, temperature,
                  static_cast<unsigned long long>(recorded.right),
                  static_cast<unsigned long long>(recorded.drafts),
                  static_cast<unsigned long long>(here.right), static_cast<unsigned long long>(here.drafts));
      const auto share = [](const Guessed& g) {
        return static_cast<double>(g.right) / static_cast<double>(g.drafts);
      };
      EXPECT_NEAR(share(recorded), share(here), 0.1);
    }
  }
}

TEST(CudaPlan, its_memory_is_the_devices) {
  if (const std::string reason = missing("cuda"); !reason.empty()) GTEST_SKIP() << reason;
  const Checkpoint checkpoint = open_checkpoint(kBard).value();
  const EnginePlan plan = plan_engine(checkpoint, {.runner = {.device = "cuda:0"}}).value();
  EXPECT_EQ(plan.memory.limit.source, "free on cuda:0");
  EXPECT_LE(plan.memory.total(), plan.memory.limit.bytes);
}

}  // namespace
}  // namespace heed
