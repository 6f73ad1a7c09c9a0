// Backend cuda under what must not change the answer: how a prefill is cut, block sizes, neighbours,
// recordings. cuBLASLt sums in an order that depends on the number of rows, so logits agree within rounding;
// tokens are the same.
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

// Batches of up to nine sequences, preempted, with prefixes found again and drafts.
TEST_P(Cuda, an_engine_answers_as_the_reference_does) {
  const Golden golden = read_golden(GetParam());
  std::vector<Ask> asks;
  for (int i = 0; i < 13; ++i) {
    const auto from = golden.input.begin() + i % 3;
    asks.push_back({.prompt = {from, from + 20 + 3 * i}, .max_tokens = 8 + i});
  }
  const auto want = run_all(*start(golden_folder(GetParam()), {.runner = {.backend = "cpu"}}), asks);
  for (const bool recordings : {true, false}) {
    for (const char* method : {"", "ngram"}) {
      const auto engine = start(golden_folder(GetParam()),
                                {.runner = {.backend = "cuda", .step_tokens = 40, .recordings = recordings},
                                 .max_sequences = 9,
                                 .speculative = {.method = method, .tokens = 3}});
      EXPECT_EQ(run_all(*engine, asks), want) << recordings << method;
      EXPECT_EQ(run_all(*engine, asks, /*reversed=*/true), want) << recordings << method;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Cuda,
                         testing::Values("llama_rope3", "qwen3", "gemma3_text", "rnj1", "qwen3_moe",
                                         "qwen3_next", "minimax", "deepseek_v3", "gpt_oss"),
                         [](const auto& test) { return std::string(test.param); });

TEST(CudaPlan, its_memory_is_the_devices) {
  if (const std::string reason = missing("cuda"); !reason.empty()) GTEST_SKIP() << reason;
  const Checkpoint checkpoint = open_checkpoint(kBard).value();
  const EnginePlan plan = plan_engine(checkpoint, {.runner = {.device = "cuda:0"}}).value();
  EXPECT_EQ(plan.memory.limit.source, "free on cuda:0");
  EXPECT_LE(plan.memory.total(), plan.memory.limit.bytes);
}

}  // namespace
}  // namespace heed
