// Whole models against transformers: logits, greedy tokens, and how far a wrong mask or rope would be off.
#include <cmath>

#include "kernels/cpu/cpu.h"
#include "tests/engine/asks.h"

namespace heed {
namespace {

struct Case {
  const char* model;
  const char* backend;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " on " << c.backend; }

class GoldenModel : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (const std::string reason = missing(GetParam().backend); !reason.empty()) GTEST_SKIP() << reason;
  }
};

// float32 against float32, other order of sums. gemma4_text amplifies its rounding: float64 differs from the
// golden by 7e-4, and a change of 1e-7 in its embeddings moves a logit by 8e-4.
double tolerance_of(const Case& c) {
  if (c.model == std::string("gemma4_text")) return 3e-3;
  return c.backend == std::string("cuda") ? 2e-3 : 1e-3;
}

void expect_float32_logits(const Case& c) {
  const Golden golden = read_golden(c.model);
  const auto runner = load(golden_folder(c.model), {.dtype = "float32", .backend = c.backend});
  const int last = static_cast<int>(golden.logits.size());
  const double difference =
      largest_difference(logits_of(*runner, golden.input, last, 1 << 20), golden.logits);
  std::printf("%s on %s: largest logit difference %.2e\n", c.model, c.backend, difference);
  EXPECT_LE(difference, tolerance_of(c));

  const std::vector<int> greedy = greedy_of(*runner, golden.input, static_cast<int>(golden.greedy.size()));
  for (size_t i = 0; i < greedy.size(); ++i) {
    if (greedy[i] == golden.greedy[i]) continue;
    EXPECT_LE(golden.margin[i], tolerance_of(c)) << "step " << i;
    break;  // what follows continues another text
  }
}

// Rounding decides which experts a token gets where their scores are close, and a model of random weights may
// amplify it otherwise: there closeness to float32 says little.
bool amplifies_rounding(const std::string& model, const ModelSpec& spec) {
  return model == "gemma4_text" || std::any_of(spec.layers.begin(), spec.layers.end(),
                                               [](const LayerSpec& layer) { return layer.moe.has_value(); });
}

void expect_close_bfloat16(const Case& c) {
  const Golden golden = read_golden(c.model);
  const auto runner = load(golden_folder(c.model), {.dtype = "bfloat16", .backend = c.backend});
  const int last = static_cast<int>(golden.logits.size());
  const double divergence = mean_divergence(golden.logits, logits_of(*runner, golden.input, last, 1 << 20));
  std::printf("%s on %s: mean KL divergence of bfloat16 %.2e\n", c.model, c.backend, divergence);
  EXPECT_LE(divergence, amplifies_rounding(c.model, runner->spec()) ? 1.0 : 0.01);
}

TEST_P(GoldenModel, float32_logits_and_greedy_tokens_equal_transformers) {
  expect_float32_logits(GetParam());
}
TEST_P(GoldenModel, bfloat16_stays_close_to_the_float32_golden) { expect_close_bfloat16(GetParam()); }

const char* const kGoldens[] = {"llama_rope3",
                                "qwen3",
                                "gemma3_text",
                                "rnj1",
                                "qwen2",
                                "mistral",
                                "llama_linear",
                                "llama_yarn",
                                "qwen3_moe",
                                "mixtral",
                                "mixtral_sliding",
                                "qwen3_next",
                                "qwen3_next_ratio3",
                                "qwen3_5",
                                "qwen3_5_vl",
                                "qwen3_5_moe",
                                "qwen3_5_moe_vl",
                                "minimax",
                                "minimax_factors",
                                "minimax_m1",
                                "minimax_text01",
                                "minimax_plain",
                                "bailing",
                                "bailing_plain",
                                "deepseek_v3",
                                "deepseek_v3_plain",
                                "llama4_text",
                                "gemma4_text",
                                "gemma4_published",
                                "gemma4_moe",
                                "gpt_oss",
                                "gpt_oss_mxfp4"};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const char* model : kGoldens) {
    for (const char* backend : {"ref", "cpu", "cuda"}) {
      // The reference is slow with sanitizers, and each op of it is tested beside.
      if (kSanitized && backend == std::string("ref")) continue;
      cases.push_back({model, backend});
    }
  }
  return cases;
}

std::string name_of(const testing::TestParamInfo<Case>& test) {
  std::string name = std::string(test.param.model) + "_" + test.param.backend;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModel, testing::ValuesIn(all_cases()), name_of);

// Which of them is "cpu" depends on the machine.
class GoldenIsa : public testing::TestWithParam<std::string_view> {};

TEST_P(GoldenIsa, gives_every_models_logits) {
  const std::string backend = "cpu." + std::string(GetParam());
  if (const std::string reason = missing(backend); !reason.empty()) GTEST_SKIP() << reason;
  if (kSanitized) GTEST_SKIP() << "kernels are tested on every instruction set";
  for (const char* model : kGoldens) {
    const Case c = {model, backend.c_str()};
    SCOPED_TRACE(model);
    expect_float32_logits(c);
    expect_close_bfloat16(c);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenIsa, testing::ValuesIn(cpu_isas().begin(), cpu_isas().end()),
                         [](const auto& test) {
                           std::string name(test.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace heed
