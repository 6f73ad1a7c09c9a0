// Whole models against transformers: logits, greedy tokens, and how far a wrong mask or rope would be off.
#include <cmath>

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

TEST_P(GoldenModel, float32_logits_and_greedy_tokens_equal_transformers) {
  const Golden golden = read_golden(GetParam().model);
  const auto runner =
      load(golden_folder(GetParam().model), {.dtype = "float32", .backend = GetParam().backend});
  const int last = static_cast<int>(golden.logits.size());
  const double difference =
      largest_difference(logits_of(*runner, golden.input, last, 1 << 20), golden.logits);
  std::printf("%s on %s: largest logit difference %.2e\n", GetParam().model, GetParam().backend, difference);
  EXPECT_LE(difference, tolerance_of(GetParam()));

  const std::vector<int> greedy = greedy_of(*runner, golden.input, static_cast<int>(golden.greedy.size()));
  for (size_t i = 0; i < greedy.size(); ++i) {
    if (greedy[i] == golden.greedy[i]) continue;
    EXPECT_LE(golden.margin[i], tolerance_of(GetParam())) << "step " << i;
    break;  // what follows continues another text
  }
}

// Rounding decides which experts a token gets where their scores are close, and a model of random weights may
// amplify it otherwise: there closeness to float32 says little.
bool amplifies_rounding(const std::string& model, const ModelSpec& spec) {
  return model == "gemma4_text" || std::any_of(spec.layers.begin(), spec.layers.end(),
                                               [](const LayerSpec& layer) { return layer.moe.has_value(); });
}

TEST_P(GoldenModel, bfloat16_stays_close_to_the_float32_golden) {
  const Golden golden = read_golden(GetParam().model);
  const auto runner =
      load(golden_folder(GetParam().model), {.dtype = "bfloat16", .backend = GetParam().backend});
  const int last = static_cast<int>(golden.logits.size());
  const double divergence = mean_divergence(golden.logits, logits_of(*runner, golden.input, last, 1 << 20));
  std::printf("%s on %s: mean KL divergence of bfloat16 %.2e\n", GetParam().model, GetParam().backend,
              divergence);
  EXPECT_LE(divergence, amplifies_rounding(GetParam().model, runner->spec()) ? 1.0 : 0.01);
}

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

INSTANTIATE_TEST_SUITE_P(All, GoldenModel, testing::ValuesIn(all_cases()), [](const auto& test) {
  return std::string(test.param.model) + "_" + test.param.backend;
});

}  // namespace
}  // namespace heed
