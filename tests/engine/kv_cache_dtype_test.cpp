// --kv-cache-dtype: what the cache keeps, how near it stays to the golden, what it refuses.
#include "tests/engine/asks.h"

namespace heed {
namespace {

std::vector<int> bard_text(int tokens) {
  const auto all = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  return {all.begin(), all.begin() + tokens};
}

TEST(KvCacheDtype, bard_stays_near_its_float32_logits) {
  const std::vector<int> text = bard_text(256);
  const auto logits = [&](const char* backend, const char* kept) {
    const auto runner = load(kBard, {.dtype = "float32", .backend = backend, .kv_cache_dtype = kept});
    return logits_of(*runner, text, 200, 1 << 20);
  };
  const auto want = logits("cpu", "float32");
  const double bf16 = mean_divergence(want, logits("cpu", "bfloat16"));
  const double int8 = mean_divergence(want, logits("cpu", "int8"));
  std::printf("bard: mean KL divergence of a bfloat16 cache %.2e, int8 %.2e\n", bf16, int8);
  EXPECT_LE(bf16, 1e-5);
  EXPECT_LE(int8, 1e-4);
  if (!kSanitized) {
    EXPECT_LE(mean_divergence(want, logits("ref", "int8")), 1e-4);
  }
  EXPECT_GT(int8, 0) << "nothing was rounded";
}

// Windows, chunks, sink logits, recurrent layers beside.
const char* const kOfAllKinds[] = {"qwen3", "gemma3_text", "rnj1", "gpt_oss", "qwen3_next"};

TEST(KvCacheDtype, an_int8_cache_stays_near_the_goldens) {
  for (const char* model : kOfAllKinds) {
    const Golden golden = read_golden(model);
    const int last = static_cast<int>(golden.logits.size());
    const auto runner = load(golden_folder(model), {.dtype = "float32", .kv_cache_dtype = "int8"});
    const auto whole = logits_of(*runner, golden.input, last, 1 << 20);
    const double divergence = mean_divergence(golden.logits, whole);
    std::printf("%s: mean KL divergence of an int8 cache %.2e\n", model, divergence);
    EXPECT_LE(divergence, 0.01) << model;
    for (const int step : {1, 7}) {
      EXPECT_EQ(largest_difference(logits_of(*runner, golden.input, last, step), whole), 0)
          << model << " by " << step;
    }
  }
}

TEST(KvCacheDtype, a_token_of_int8_takes_its_codes_and_a_scale_a_head) {
  const auto plan = [](const char* kept) {
    return plan_run(open_checkpoint(golden_folder("qwen3")).value(),
                    {.dtype = "float32", .backend = "cpu", .kv_cache_dtype = kept})
        .value();
  };
  const RunPlan wide = plan("float32");
  const KvSpec& kv = wide.layout.groups.at(0).kv;
  const auto layers = static_cast<int64_t>(wide.layout.groups.at(0).layers.size());
  EXPECT_EQ(bytes_per_token(wide.layout), layers * kv.kv_heads * (kv.k_dim + kv.v_dim) * 4);
  EXPECT_EQ(bytes_per_token(plan("bfloat16").layout), layers * kv.kv_heads * (kv.k_dim + kv.v_dim) * 2);
  EXPECT_EQ(bytes_per_token(plan("int8").layout), layers * kv.kv_heads * (kv.k_dim + kv.v_dim + 8));
}

TEST(KvCacheDtype, what_cannot_be_is_refused_with_the_reason) {
  const auto error = [](const char* model, const char* kept) {
    const auto plan = plan_run(open_checkpoint(golden_folder(model)).value(),
                               {.dtype = "float32", .backend = "cpu", .kv_cache_dtype = kept});
    return plan.ok() ? std::string() : plan.error().message;
  };
  EXPECT_EQ(error("deepseek_v3", "int8"), "a cache of int8: latent attention takes float32 and bfloat16");
  EXPECT_EQ(error("deepseek_v3", "bfloat16"), "");
  EXPECT_EQ(error("qwen3", "int4"), "kv cache dtype \"int4\"; auto, float32, bfloat16 or int8 is expected");
}

}  // namespace
}  // namespace heed
