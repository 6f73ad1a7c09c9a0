// GGUF models against the safetensors that they are made of (tools/export_gguf.py, with the Python of
// ./setup.sh --test; without it these tests are skipped).
#include <cmath>

#include "tests/engine/drafters.h"
#include "tests/model/exported_gguf.h"

namespace heed {
namespace {

class GgufGolden : public testing::TestWithParam<const char*> {};

// As in golden_test.cpp, and the same reasons; in another order where heads are stored in another one.
double gguf_tolerance(const std::string& model) { return model == "gemma4_text" ? 3e-3 : 1e-3; }

TEST_P(GgufGolden, float32_has_the_golden_logits_and_greedy_tokens) {
  NEEDS_PYTHON();
  const Golden golden = read_golden(GetParam());
  const Exported file(golden_folder(GetParam()), "F32");
  const auto runner = load(file.path(), {.dtype = "float32"});
  const int last = static_cast<int>(golden.logits.size());
  const double difference =
      largest_difference(logits_of(*runner, golden.input, last, 1 << 20), golden.logits);
  std::printf("%s: largest logit difference %.2e\n", GetParam(), difference);
  EXPECT_LE(difference, gguf_tolerance(GetParam()));
  const std::vector<int> greedy = greedy_of(*runner, golden.input, static_cast<int>(golden.greedy.size()));
  for (size_t i = 0; i < greedy.size(); ++i) {
    if (greedy[i] == golden.greedy[i]) continue;
    EXPECT_LE(golden.margin[i], gguf_tolerance(GetParam())) << "step " << i;
    break;  // what follows continues another text
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufGolden,
                         testing::Values("llama_rope3", "llama_linear", "qwen2", "qwen3", "gemma3_text",
                                         "rnj1", "qwen3_moe", "mixtral", "gpt_oss", "gpt_oss_mxfp4",
                                         "qwen3_next", "qwen3_next_ratio3", "qwen3_5", "qwen3_5_moe",
                                         "llama4_text", "gemma4_text", "gemma4_moe"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Gguf, bfloat16_has_the_greedy_tokens_of_the_safetensors) {
  NEEDS_PYTHON();
  for (const char* model : {"llama_rope3", "qwen3", "gemma3_text"}) {
    const Golden golden = read_golden(model);
    const Exported file(golden_folder(model), "BF16");
    const auto ours = load(file.path(), {});
    EXPECT_EQ(ours->plan().compute, DType::kBF16);
    const auto plain = load(golden_folder(model), {.dtype = "bfloat16"});
    EXPECT_EQ(greedy_of(*ours, golden.input, 24), greedy_of(*plain, golden.input, 24)) << model;
  }
}

TEST(Gguf, heads_in_the_file_guess_as_those_of_the_safetensors_do) {
  NEEDS_PYTHON();
  const std::vector<Ask> asks = draft_asks("qwen3_5", 24);
  const auto drafts = [&](const std::string& model, const std::string& heads) {
    const auto engine = start(model, with_heads(heads, 3));
    const auto answers = run_all(*engine, asks);
    const EngineStats stats = engine->stats();
    EXPECT_GT(stats.draft_tokens, 0U);
    return std::tuple(answers, stats.draft_tokens, stats.accepted_tokens);
  };
  const std::string heads = golden_folder("mtp_qwen3_5");
  {
    const Exported file(golden_folder("qwen3_5"), "F32", "--heads " + heads);
    EXPECT_EQ(drafts(file.path(), ""), drafts(golden_folder("qwen3_5"), heads));
  }
  const Exported without(golden_folder("qwen3_5"), "F32");
  const auto refused = Engine::start(open_checkpoint(without.path()).value(), with_heads(""));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("has no heads for multi-token prediction"), std::string::npos)
      << refused.error().message;
}

TEST(Gguf, the_reference_says_the_same_of_weights_in_blocks) {
  NEEDS_PYTHON();
  const Golden golden = read_golden("qwen3");
  const Exported file(golden_folder("qwen3"), "Q4_0");
  const std::vector<int> text(golden.input.begin(),
                              golden.input.begin() + std::min<int64_t>(24, std::ssize(golden.input)));
  const auto cpu = load(file.path(), {.dtype = "float32", .backend = "cpu"});
  const auto ref = load(file.path(), {.dtype = "float32", .backend = "ref"});
  // Sums in another order may end on the other side of a rounding to int8, and random weights amplify that.
  const double divergence =
      mean_divergence(logits_of(*ref, text, 8, 1 << 20), logits_of(*cpu, text, 8, 1 << 20));
  std::printf("mean KL divergence of cpu and ref %.2e\n", divergence);
  EXPECT_LE(divergence, 5e-3);
}

TEST(Gguf, weights_rounded_at_load_are_those_of_a_file_that_holds_them_so) {
  NEEDS_PYTHON();
  const Golden golden = read_golden("qwen3");
  const auto rounded = load(golden_folder("qwen3"), {.dtype = "float32", .quantize = "int8"});
  EXPECT_GT(rounded->narrowed().tensors, 20);
  EXPECT_GT(rounded->narrowed().error, 0.001);
  EXPECT_LT(rounded->narrowed().largest_error, 0.01);
  const Exported file(golden_folder("qwen3"), "Q8_0");
  const auto stored = load(file.path(), {.dtype = "float32"});
  const int last = static_cast<int>(golden.logits.size());
  const auto ours = logits_of(*rounded, golden.input, last, 1 << 20);
  // Codes differ where a quotient rounds otherwise than a product with the inverse.
  const double from_file = mean_divergence(logits_of(*stored, golden.input, last, 1 << 20), ours);
  const double from_golden = mean_divergence(golden.logits, ours);
  std::printf("mean KL divergence from the file %.2e, from float32 %.2e; %s\n", from_file, from_golden,
              describe(rounded->narrowed()).c_str());
  EXPECT_LE(from_file, 5e-3);
  EXPECT_LE(from_golden, 5e-3);
}

struct BardPrompt {
  std::vector<int> ids;
  std::vector<int> greedy;
};
std::vector<BardPrompt> bard_prompts() {
  std::vector<BardPrompt> all;
  for (const Json& golden : read_json(kBard + "/golden.json").value()) {
    if (golden.contains("greedy"))
      all.push_back({golden["prompt_ids"].get<std::vector<int>>(), golden["greedy"].get<std::vector<int>>()});
  }
  return all;
}

TEST(Gguf, bard_continues_every_golden_token_for_token) {
  NEEDS_PYTHON();
  const Exported file(kBard, "BF16");
  const auto runner = load(file.path(), {.dtype = "float32"});
  for (const BardPrompt& prompt : bard_prompts())
    EXPECT_EQ(greedy_of(*runner, prompt.ids, static_cast<int>(prompt.greedy.size())), prompt.greedy);
}

TEST(Gguf, bard_in_three_files_is_bard_in_one) {
  NEEDS_PYTHON();
  const Exported one(kBard, "Q8_0");
  const Exported three(kBard, "Q8_0", "--split 3");
  const BardPrompt prompt = bard_prompts().front();
  EXPECT_EQ(greedy_of(*load(three.first_of(3), {}), prompt.ids, 20),
            greedy_of(*load(one.path(), {}), prompt.ids, 20));
}

struct Format {
  const char* name;
  double divergence;  // at most, in nats a token: some 1.5 times what was measured
};
constexpr Format kFormats[] = {{"F16", 1e-5},  {"BF16", 1e-3}, {"Q8_0", 1e-3},   {"Q6_K", 2e-3},
                               {"Q5_K", 6e-3}, {"Q5_1", 6e-3}, {"Q5_0", 8e-3},   {"Q4_K", 2e-2},
                               {"Q4_1", 2e-2}, {"Q4_0", 3e-2}, {"IQ4_NL", 3e-2}, {"MXFP4", 6e-2},
                               {"Q3_K", 1e-1}, {"Q2_K", 5e-1}};

class GgufFormat : public testing::TestWithParam<Format> {};

TEST_P(GgufFormat, bard_stays_near_its_float32_logits) {
  NEEDS_PYTHON();
  const auto tokens = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  const std::vector<int> text(tokens.begin(), tokens.begin() + 256);
  static const std::vector<std::vector<float>> want =
      logits_of(*load(kBard, {.dtype = "float32"}), text, 200, 1 << 20);
  const Exported file(kBard, GetParam().name);
  const auto runner = load(file.path(), {});
  const double divergence = mean_divergence(want, logits_of(*runner, text, 200, 1 << 20));
  std::printf("%s: %lld bytes of weights, mean KL divergence %.2e\n", GetParam().name,
              static_cast<long long>(runner->plan().weight_bytes), divergence);
  EXPECT_LE(divergence, GetParam().divergence);
}

INSTANTIATE_TEST_SUITE_P(All, GgufFormat, testing::ValuesIn(kFormats),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace heed
