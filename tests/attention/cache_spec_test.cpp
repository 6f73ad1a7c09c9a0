// Layouts of real shapes, and the promise that a plan holds: no sequence ever needs more pages than planned.
#include "attention/cache_spec.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention/rope.h"
#include "attention/rows.h"

namespace heed {
namespace {

KvSpec layer(int kv_heads, int dim, Mask mask) {
  return {.kv_heads = kv_heads, .k_dim = dim, .v_dim = dim, .mask = mask};
}

std::vector<KvSpec> layers(int count, int every, const KvSpec& local, const KvSpec& global) {
  std::vector<KvSpec> all;
  for (int i = 0; i < count; ++i) all.push_back((i + 1) % every == 0 ? global : local);
  return all;
}

TEST(CacheSpec, pages_of_published_shapes) {
  const auto window1024 = causal() & window(1024);
  // Gemma 3 27B: 62 layers, 16 kv heads of 128, every sixth global: 52 local layers and 10 global ones.
  const auto big =
      plan_cache(layers(62, 6, layer(16, 128, window1024), layer(16, 128, causal())), DType::kBF16, 16, 16)
          .value();
  ASSERT_EQ(big.groups.size(), 2U);
  EXPECT_EQ(big.groups[0].layers.size(), 52U);
  EXPECT_EQ(big.groups[0].block_tokens, 16);
  EXPECT_EQ(big.groups[1].block_tokens, 80);
  // Llama 4 Scout: 36 chunked layers, 12 global: no padding.
  const auto scout = plan_cache(layers(48, 4, layer(8, 128, causal() & chunk(8192)), layer(8, 128, causal())),
                                DType::kBF16, 16, 16)
                         .value();
  EXPECT_EQ(scout.groups[1].block_tokens, 48);
  EXPECT_EQ(scout.page_bytes, scout.groups[1].token_bytes * 48);
}

TEST(CacheSpec, layers_of_unequal_shape_or_mask_do_not_share_a_group) {
  const std::vector<KvSpec> all = {layer(2, 64, causal()), layer(2, 64, causal() & window(8)),
                                   layer(1, 64, causal()), layer(2, 64, causal())};
  const CacheLayout layout = plan_cache(all, DType::kF32, 16, 16).value();
  EXPECT_EQ(layout.groups.size(), 3U);
  EXPECT_EQ(layout.group_of_layer, (std::vector<int>{0, 1, 2, 0}));
  EXPECT_EQ(bytes_per_token(layout), (2 + 2 + 1 + 2) * 64 * 2 * 4);
}

TEST(CacheSpec, layers_that_keep_nothing_or_read_another_s_keys_take_no_room) {
  KvSpec shared = layer(2, 64, causal());
  shared.source = 1;
  const std::vector<KvSpec> all = {{}, layer(2, 64, causal()), {}, shared};
  const CacheLayout layout = plan_cache(all, DType::kF32, 16, 16).value();
  ASSERT_EQ(layout.groups.size(), 1U);
  EXPECT_EQ(layout.groups[0].layers, (std::vector<int>{1}));
  EXPECT_EQ(layout.group_of_layer, (std::vector<int>{-1, 0, -1, 0}));
  EXPECT_EQ(layout.source_of_layer[3], 1);
  EXPECT_EQ(bytes_per_token(layout), 2 * 64 * 2 * 4);

  const CacheLayout none = plan_cache(std::vector<KvSpec>(3), DType::kF32, 16, 16).value();
  EXPECT_EQ(most_pages(none, 1000, 10), 0);
  EXPECT_EQ(bytes_per_token(none), 0);
}

TEST(CacheSpec, values_that_lie_in_keys_take_no_room) {
  const std::vector<KvSpec> all = {{.kv_heads = 1, .k_dim = 576, .v_dim = 512, .v_in_k = true}};
  EXPECT_EQ(bytes_per_token(plan_cache(all, DType::kBF16, 16, 16).value()), 576 * 2);
}

TEST(CacheSpec, a_block_size_that_kernels_cannot_divide_is_refused) {
  const std::vector<KvSpec> all = {layer(2, 64, causal())};
  EXPECT_NE(plan_cache(all, DType::kF32, 16, 24).error().message.find("24"), std::string::npos);
  EXPECT_FALSE(plan_cache(all, DType::kF32, 16, 0).ok());
}

TEST(CacheSpec, no_sequence_needs_more_pages_than_planned) {
  const Mask masks[] = {causal() & window(40), causal() & chunk(24, 1),
                        (causal() & window(20)).with_sinks(4)};
  for (const Mask& mask : masks) {
    const CacheLayout layout =
        plan_cache(layers(6, 3, layer(2, 16, mask), layer(2, 16, causal())), DType::kBF16, 16, 32).value();
    for (const int step : {1, 7, 64, 300}) {
      const int length = 300;
      const int64_t planned = most_pages(layout, length, step);
      for (int offset = 0; offset < step; ++offset) {  // steps may begin anywhere
        for (int q = offset; q < length; q += step) {
          int64_t held = 0;
          for (const CacheGroup& group : layout.groups) {
            const RowMask row = row_of(group.kv.mask, {.length = length}, q);
            const int end = std::min(q + step, length);
            for (int b = 0; b * group.block_tokens < end; ++b) {
              const bool sink = b * group.block_tokens < group.kv.mask.sinks;
              held += sink || (b + 1) * group.block_tokens > row.lo ? 1 : 0;
            }
          }
          ASSERT_LE(held, planned) << describe(mask) << " step " << step << " at " << q;
        }
      }
    }
  }
}

TEST(Rope, linear_and_yarn_stretch_what_they_should) {
  const RopeSpec plain{.theta = 10000, .dims = 8};
  RopeSpec linear = plain;
  linear.scaling = RopeSpec::kLinear;
  linear.factor = 4;
  RopeSpec yarn = plain;
  yarn.scaling = RopeSpec::kYarn;
  yarn.factor = 4;
  yarn.original_positions = 512;
  const auto a = inverse_frequencies(plain), b = inverse_frequencies(linear), c = inverse_frequencies(yarn);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_FLOAT_EQ(a[i], static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / 8)));
    EXPECT_FLOAT_EQ(b[i], a[i] / 4);
  }
  EXPECT_EQ(c.front(), a.front()) << "the fastest pair keeps its frequency";
  EXPECT_FLOAT_EQ(c.back(), a.back() / 4) << "the slowest is divided by the factor";
}

}  // namespace
}  // namespace heed
