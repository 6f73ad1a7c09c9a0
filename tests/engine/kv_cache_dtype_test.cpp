// --kv-cache-dtype: what the cache keeps, how near it stays to the golden, what it refuses.
#include <filesystem>

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
  const double fp8 = mean_divergence(want, logits("cpu", "fp8"));
  std::printf("bard: mean KL divergence of a bfloat16 cache %.2e, int8 %.2e, fp8 %.2e\n", bf16, int8, fp8);
  EXPECT_LE(bf16, 1e-5);
  EXPECT_LE(int8, 1e-4);
  EXPECT_LE(fp8, 5e-3);
  if (!kSanitized) {
    EXPECT_LE(mean_divergence(want, logits("ref", "int8")), 1e-4);
    EXPECT_LE(mean_divergence(want, logits("ref", "fp8_e4m3")), 5e-3);
  }
  EXPECT_GT(int8, 0) << "nothing was rounded";
  EXPECT_GT(fp8, 0) << "nothing was rounded";
}

// Windows, chunks, sink logits, recurrent layers beside.
const char* const kOfAllKinds[] = {"qwen3", "gemma3_text", "rnj1", "gpt_oss", "qwen3_next"};

void expect_near_the_golden(const char* model, const char* kept, double most) {
  const Golden golden = read_golden(model);
  const int last = static_cast<int>(golden.logits.size());
  const auto runner = load(golden_folder(model), {.dtype = "float32", .kv_cache_dtype = kept});
  const auto whole = logits_of(*runner, golden.input, last, 1 << 20);
  const double divergence = mean_divergence(golden.logits, whole);
  std::printf("%s: mean KL divergence of a cache of %s %.2e\n", model, kept, divergence);
  EXPECT_LE(divergence, most) << model;
  for (const int step : {1, 7}) {
    EXPECT_EQ(largest_difference(logits_of(*runner, golden.input, last, step), whole), 0)
        << model << " by " << step;
  }
}

TEST(KvCacheDtype, an_int8_cache_stays_near_the_goldens) {
  for (const char* model : kOfAllKinds) expect_near_the_golden(model, "int8", 0.01);
}

TEST(KvCacheDtype, an_fp8_cache_stays_near_the_goldens) {
  for (const char* model : kOfAllKinds) expect_near_the_golden(model, "fp8", 0.1);
}

// Of random weights latents are far from what training makes of them, and a rounded one moves logits by much:
// this is about the kernels.
TEST(KvCacheDtype, latents_in_fp8_are_what_ref_makes_of_them) {
  const Golden golden = read_golden("deepseek_v3");
  const auto logits = [&](const char* backend, const char* kept) {
    const auto runner =
        load(golden_folder("deepseek_v3"), {.dtype = "float32", .backend = backend, .kv_cache_dtype = kept});
    return logits_of(*runner, golden.input, 8, 1 << 20);
  };
  const auto rounded = logits("cpu", "fp8");
  EXPECT_LE(largest_difference(rounded, logits("ref", "fp8")), 0.05);
  EXPECT_GT(largest_difference(rounded, logits("cpu", "float32")), 0.05);
}

// A golden whose checkpoint says what the codes of an fp8 cache count by.
class ScaledFolder {
 public:
  // Of keys one number, of values one for each head.
  ScaledFolder(float key_scale, float value_scale, const std::string& key_name = "self_attn.k_scale") {
    std::filesystem::create_directories(path_);
    std::filesystem::copy_file(golden_folder("qwen3") + "/config.json", path_ + "/config.json",
                               std::filesystem::copy_options::overwrite_existing);
    const Safetensors file = Safetensors::open(golden_folder("qwen3") + "/model.safetensors").value();
    std::vector<NamedTensor> tensors;
    for (const auto& [name, entry] : file.entries()) tensors.push_back({name, file.tensor(name).value()});
    const ModelSpec spec = open_checkpoint(golden_folder("qwen3")).value().spec;
    const auto heads = std::get<AttentionSpec>(spec.layers.at(0).mixer).kv_heads;
    std::vector<float> values(static_cast<size_t>(heads), value_scale);
    for (size_t i = 0; i < spec.layers.size(); ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      tensors.push_back({layer + key_name, Tensor(&key_scale, DType::kF32, {1})});
      tensors.push_back({layer + "self_attn.v_scale", Tensor(values.data(), DType::kF32, {heads})});
    }
    EXPECT_TRUE(write_safetensors(path_ + "/model.safetensors", tensors).ok());
  }
  ~ScaledFolder() { std::filesystem::remove_all(path_); }
  ScaledFolder(const ScaledFolder&) = delete;
  ScaledFolder& operator=(const ScaledFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = testing::TempDir() + "heed_kv_scales_" + std::to_string(::getpid());
};

TEST(KvCacheDtype, scales_of_the_checkpoint_are_used_by_an_fp8_cache_alone) {
  const Golden golden = read_golden("qwen3");
  const auto logits = [&](const std::string& folder, const char* backend, const char* kept) {
    const auto runner = load(folder, {.dtype = "float32", .backend = backend, .kv_cache_dtype = kept});
    return logits_of(*runner, golden.input, 8, 1 << 20);
  };
  const std::string plain = golden_folder("qwen3");
  // Powers of two round as 1 does, as far as numbers are in range.
  const ScaledFolder half(0.5F, 0.25F, "self_attn.k_proj.k_scale");
  for (const char* backend : {"cpu", "ref"}) {
    EXPECT_LE(largest_difference(logits(half.path(), backend, "fp8"), logits(plain, backend, "fp8")), 2e-2);
    EXPECT_EQ(largest_difference(logits(half.path(), backend, "float32"), logits(plain, backend, "float32")),
              0);
  }
}

TEST(KvCacheDtype, a_scale_far_too_large_leaves_nothing_of_the_values) {
  const Golden golden = read_golden("qwen3");
  const auto logits = [&](const std::string& folder) {
    const auto runner = load(folder, {.dtype = "float32", .kv_cache_dtype = "fp8"});
    return logits_of(*runner, golden.input, 8, 1 << 20);
  };
  const ScaledFolder coarse(1, 1e6F);
  EXPECT_GT(largest_difference(logits(coarse.path()), logits(golden_folder("qwen3"))), 0.1);
}

TEST(KvCacheDtype, a_scale_that_is_not_above_0_is_refused) {
  const ScaledFolder none(0, 1);
  const auto runner =
      Runner::load(open_checkpoint(none.path()).value(), {.dtype = "float32", .backend = "cpu"});
  ASSERT_FALSE(runner.ok());
  EXPECT_NE(runner.error().message.find("self_attn.k_scale has a scale of 0"), std::string::npos)
      << runner.error().message;
}

TEST(KvCacheDtype, a_token_takes_its_elements_and_of_int8_a_scale_a_head) {
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
  EXPECT_EQ(bytes_per_token(plan("fp8").layout), layers * kv.kv_heads * (kv.k_dim + kv.v_dim));
}

TEST(KvCacheDtype, what_cannot_be_is_refused_with_the_reason) {
  const auto error = [](const char* model, const char* kept) {
    const auto plan = plan_run(open_checkpoint(golden_folder(model)).value(),
                               {.dtype = "float32", .backend = "cpu", .kv_cache_dtype = kept});
    return plan.ok() ? std::string() : plan.error().message;
  };
  EXPECT_EQ(error("deepseek_v3", "int8"), "a cache of int8: latent attention takes float32 and bfloat16");
  EXPECT_EQ(error("deepseek_v3", "bfloat16"), "");
  EXPECT_EQ(error("deepseek_v3", "fp8"), "");
  EXPECT_EQ(error("qwen3", "fp8_e4m3"), "");
  EXPECT_EQ(error("qwen3", "fp8_e5m2"),
            "kv cache dtype \"fp8_e5m2\"; auto, float32, bfloat16, int8 or fp8 is expected");
}

}  // namespace
}  // namespace heed
