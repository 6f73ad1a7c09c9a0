// Plans of published models from their configurations alone: what a token and a sequence take, and no
// padding.
#include <gtest/gtest.h>

#include "engine/engine.h"

namespace heed {
namespace {

struct Published {
  const char* name;
  int64_t token_bytes;  // bfloat16
  int64_t state_bytes;  // float32
};

class PublishedModel : public testing::TestWithParam<Published> {};

TEST_P(PublishedModel, takes_what_its_shapes_say) {
  const std::string folder = std::string(HEED_SOURCE_DIR) + "/tests/model/published/" + GetParam().name;
  const Result<Checkpoint> checkpoint = open_checkpoint(folder, TensorFiles::kOptional);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EngineOptions options{.runner = {.max_len = 32768}, .memory_bytes = int64_t{4} << 40};
  const Result<EnginePlan> plan = plan_engine(*checkpoint, options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(bytes_per_token(plan->run.layout), GetParam().token_bytes);
  EXPECT_EQ(plan->run.states.slot_bytes(), GetParam().state_bytes);
  for (const CacheGroup& group : plan->run.layout.groups) {
    EXPECT_GE(static_cast<double>(group.token_bytes * group.block_tokens),
              0.96 * static_cast<double>(plan->run.layout.page_bytes))
        << "padding";
  }
  EXPECT_EQ(plan->snapshots > 0, GetParam().state_bytes > 0);
}

constexpr int64_t delta_net(int k_heads, int v_heads) {
  return 4 * (int64_t{3} * (2 * k_heads + v_heads) * 128 + int64_t{v_heads} * 128 * 128);
}

INSTANTIATE_TEST_SUITE_P(All, PublishedModel,
                         testing::Values(Published{"qwen3-next-80b", 12 * 2048, 36 * delta_net(16, 32)},
                                         Published{"qwen3.5-27b", 16 * 4096, 48 * delta_net(16, 48)},
                                         Published{"minimax-m1", 10 * 4096, int64_t{70} * 64 * 128 * 128 * 4},
                                         Published{"ling-2.6-flash", 4 * 576 * 2,
                                                   int64_t{28} * 32 * 128 * 128 * 4},
                                         Published{"gemma4-26b", 25 * 8192 + 5 * 4096, 0}),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
                           return name;
                         });

TEST(PublishedModel, weights_are_needed_to_load_one) {
  const std::string folder = std::string(HEED_SOURCE_DIR) + "/tests/model/published/gemma4-26b";
  EXPECT_NE(open_checkpoint(folder).error().message.find("model.safetensors"), std::string::npos);
}

}  // namespace
}  // namespace heed
