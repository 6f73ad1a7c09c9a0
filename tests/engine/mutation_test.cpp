// Would the goldens notice? Each test breaks one thing in the spec and demands that the logits move far.
#include "tests/engine/goldens.h"

namespace heed {
namespace {

template <class Break>
double difference_after(Break break_layer) {
  const Golden golden = read_golden("rnj1");
  Checkpoint checkpoint = open_checkpoint(golden_folder("rnj1")).value();
  for (LayerSpec& layer : checkpoint.spec.layers) break_layer(std::get<AttentionSpec>(layer.mixer));
  const auto runner = Runner::load(std::move(checkpoint), {.dtype = "float32", .backend = "cpu"}).value();
  const int last = static_cast<int>(golden.logits.size());
  const double difference =
      largest_difference(logits_of(*runner, golden.input, last, 1 << 20), golden.logits);
  std::printf("largest logit difference %.2f\n", difference);
  return difference;
}

constexpr int kReach = 48;  // sliding_window of the checkpoint: two chunks of 24

TEST(Mutation, nothing_broken_nothing_moves) {
  EXPECT_LE(difference_after([](AttentionSpec&) {}), 1e-3);
}

TEST(Mutation, a_sliding_mask_in_place_of_the_chunked_one_is_noticed) {
  EXPECT_GT(difference_after([](AttentionSpec& a) {
              if (a.mask == (causal() & chunk(kReach / 2, 1))) a.mask = causal() & window(kReach);
            }),
            1.0);
}

TEST(Mutation, a_lookback_of_zero_is_noticed) {
  EXPECT_GT(difference_after([](AttentionSpec& a) {
              if (a.mask == (causal() & chunk(kReach / 2, 1))) a.mask = causal() & chunk(kReach / 2, 0);
            }),
            1.0);
}

TEST(Mutation, plain_rope_in_place_of_yarn_is_noticed) {
  EXPECT_GT(difference_after(
                [](AttentionSpec& a) { a.rope.scaling = RopeSpec::kDefault, a.rope.attention_factor = 1; }),
            1.0);
}

}  // namespace
}  // namespace heed
