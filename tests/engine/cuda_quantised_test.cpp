// Quantised weights on a GPU: beside what they stand for in float32, and beside the CPU, which rounds what is
// multiplied with them where the GPU does not.
#include "tests/engine/asks.h"
#include "tests/engine/goldens.h"
#include "tests/model/exported_gguf.h"
#include "tests/model/quantised_forms.h"

namespace heed {
namespace {

class CudaQuantised : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = missing("cuda"); !reason.empty()) GTEST_SKIP() << reason;
    const auto tokens = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
    text.assign(tokens.begin(), tokens.begin() + 256);
  }
  // Of the last 200 tokens, `step` tokens at a time.
  std::vector<std::vector<float>> logits(const std::string& folder, RunnerOptions options,
                                         int step = 1 << 20) {
    return logits_of(*load(folder, options), text, 200, step);
  }
  std::vector<int> text;
};

TEST_F(CudaQuantised, rounded_at_load_it_answers_nearly_as_the_cpu_does) {
  for (const char* quantize : {"int8", "int4"}) {
    const auto cpu = logits(kBard, {.dtype = "float32", .backend = "cpu", .quantize = quantize});
    for (const char* dtype : {"float32", "bfloat16"}) {
      // Whole, and by numbers of rows for which there are kernels.
      for (const int step : {1 << 20, 40, 13, 1}) {
        const RunnerOptions options = {.dtype = dtype, .backend = "cuda", .quantize = quantize};
        const double divergence = mean_divergence(cpu, logits(kBard, options, step));
        std::printf("%s %s by %d: mean KL divergence from the CPU %.2e\n", quantize, dtype, step, divergence);
        EXPECT_LE(divergence, 1e-3) << quantize << " " << dtype << " by " << step;
      }
    }
  }
}

TEST_F(CudaQuantised, every_form_says_what_its_numbers_say_in_float32) {
  NEEDS_PYTHON();
  for (const char* form : {"gptq4-g128", "gptq4-g64-asym-v2", "awq-g128", "packed4-g128", "packed8", "int8",
                           "fp8", "fp8-block", "fp8-channel"}) {
    const Written written(kBard, form);
    const auto want = logits(written.plain(form), {.dtype = "float32", .backend = "cpu"});
    const auto exact = logits(written.path(form), {.dtype = "float32", .backend = "cuda"});
    EXPECT_LE(mean_divergence(want, exact), 1e-7) << form;
    for (const int step : {1 << 20, 40, 1}) {
      const double divergence =
          mean_divergence(want, logits(written.path(form), {.dtype = "bfloat16", .backend = "cuda"}, step));
      std::printf("%s by %d: mean KL divergence %.2e\n", form, step, divergence);
      EXPECT_LE(divergence, 1e-3) << form << " by " << step;
    }
  }
}

TEST_F(CudaQuantised, gguf_files_say_what_they_say_on_the_cpu) {
  NEEDS_PYTHON();
  for (const char* type : {"Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q5_1", "IQ4_NL"}) {
    const Exported file(kBard, type);
    const auto cpu = logits(file.path(), {.dtype = "float32", .backend = "cpu"});
    for (const int step : {1 << 20, 1}) {
      const double divergence =
          mean_divergence(cpu, logits(file.path(), {.dtype = "bfloat16", .backend = "cuda"}, step));
      std::printf("%s by %d: mean KL divergence from the CPU %.2e\n", type, step, divergence);
      EXPECT_LE(divergence, 1e-3) << type << " by " << step;
    }
  }
}

// In bfloat16, where kernels read ahead of each other. All prompts together have no more rows than kernels of
// few rows take: so it does not matter how they are cut into steps.
TEST_F(CudaQuantised, recorded_steps_answer_as_they_do_one_by_one) {
  std::vector<Ask> asks;
  for (int i = 0; i < 9; ++i) {
    const auto from = text.begin() + 7 * i;
    asks.push_back({.prompt = {from, from + 3}, .max_tokens = 40});
  }
  for (const char* quantize : {"int8", "int4"}) {
    for (const int sequences : {1, 9}) {
      const auto answers = [&](bool recordings) {
        const EngineOptions options = {.runner = {.dtype = "bfloat16",
                                                  .backend = "cuda",
                                                  .quantize = quantize,
                                                  .recordings = recordings},
                                       .max_sequences = sequences};
        return run_all(*Engine::start(open_checkpoint(kBard).value(), options).value(), asks);
      };
      EXPECT_EQ(answers(true), answers(false)) << quantize << " " << sequences;
    }
  }
}

TEST_F(CudaQuantised, what_is_planned_for_weights_is_their_blocks) {
  const auto bytes = [&](const std::string& quantize) {
    const auto runner = load(kBard, {.dtype = "bfloat16", .backend = "cuda", .quantize = quantize});
    return runner->plan().owned_bytes + runner->plan().mapped_bytes;
  };
  const auto plain = static_cast<double>(bytes("none"));
  EXPECT_NEAR(static_cast<double>(bytes("int8")) / plain, 8.5 / 16, 0.02);
  EXPECT_NEAR(static_cast<double>(bytes("int4")) / plain, 4.5 / 16, 0.02);
}

}  // namespace
}  // namespace heed
