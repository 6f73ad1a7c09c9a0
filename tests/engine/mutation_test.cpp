// Would the goldens notice? Each test breaks one thing in the spec and demands that the logits move far.
#include <functional>

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

// ---- Other architectures: something is left out of the spec, or of one op. ----

const Kernels* right = nullptr;  // what a broken op falls back on

double difference_of(const char* model, const std::function<void(ModelSpec&)>& break_spec,
                     const std::function<void(Kernels&)>& break_kernels = nullptr, int step = 1 << 20) {
  const Golden golden = read_golden(model);
  Checkpoint checkpoint = open_checkpoint(golden_folder(model)).value();
  if (break_spec) break_spec(checkpoint.spec);
  RunPlan plan = plan_run(checkpoint, {.dtype = "float32", .backend = "cpu"}).value();
  right = plan.choice.kernels;
  Kernels broken = *right;
  if (break_kernels) break_kernels(broken);
  plan.choice.kernels = &broken;
  const auto runner = Runner::load(std::move(checkpoint), plan, {}).value();
  const double difference = largest_difference(
      logits_of(*runner, golden.input, static_cast<int>(golden.logits.size()), step), golden.logits);
  std::printf("%s: largest logit difference %.3g\n", model, difference);
  return difference;
}

constexpr double kNoticed = 0.1;  // a hundred times what is tolerated, and more

template <class Spec, class Change>
auto each(Change change) {
  return [change](ModelSpec& model) {
    int number = 0;
    for (LayerSpec& layer : model.layers) {
      if (auto* spec = std::get_if<Spec>(&layer.mixer)) change(*spec, number);
      ++number;
    }
  };
}

TEST(Mutation, nothing_broken_in_the_other_architectures_either) {
  for (const char* model : {"qwen3_next", "minimax", "gpt_oss", "gemma4_text"})
    EXPECT_LE(difference_of(model, nullptr, nullptr, 7), 2e-3) << model;
}

TEST(Mutation, linear_attention_without_decay_is_noticed) {
  EXPECT_GT(difference_of("minimax", each<LinearAttentionSpec>([](LinearAttentionSpec& a, int) {
                            std::fill(a.slopes.begin(), a.slopes.end(), 0.0F);
                          })),
            kNoticed);
}

TEST(Mutation, slopes_without_the_layer_s_factor_are_noticed) {
  std::vector<float> first;
  EXPECT_GT(difference_of("minimax", each<LinearAttentionSpec>([&first](LinearAttentionSpec& a, int) {
                            if (first.empty()) first = a.slopes;
                            a.slopes = first;
                          })),
            kNoticed);
}

TEST(Mutation, the_delta_rule_without_decay_or_beta_is_noticed) {
  EXPECT_GT(difference_of("qwen3_next", nullptr,
                          [](Kernels& k) {
                            k.delta_gates = [](Stream& stream, const DeltaGatesArgs& args) {
                              right->delta_gates(stream, args);
                              std::fill_n(args.a.as<float>(), args.a.elements(), 0.0F);
                            };
                          }),
            kNoticed);
  EXPECT_GT(difference_of("qwen3_next", nullptr,
                          [](Kernels& k) {
                            k.delta_gates = [](Stream& stream, const DeltaGatesArgs& args) {
                              right->delta_gates(stream, args);
                              std::fill_n(args.b.as<float>(), args.b.elements(), 1.0F);
                            };
                          }),
            kNoticed);
}

TEST(Mutation, a_convolution_that_forgets_between_steps_is_noticed) {
  EXPECT_GT(difference_of(
                "qwen3_next", nullptr,
                [](Kernels& k) {
                  k.short_conv = [](Stream& stream, const ShortConvArgs& args) {
                    const Tensor& slots = args.state.slots;
                    for (int s = 0; s < args.state.sequences; ++s)
                      std::fill_n(slots.as<float>() + args.state.slot[s] * slots.stride[0],
                                  slots.stride[1] * slots.size[1], 0.0F);
                    right->short_conv(stream, args);
                  };
                },
                7),
            kNoticed);
}

TEST(Mutation, output_gates_left_open_are_noticed) {
  const auto open = [](Kernels& k) {
    k.gated_act = [](Stream& stream, const GatedActArgs& args) {
      const bool is_gate = args.act == Act::kSigmoid && args.gate.data != args.up.data;
      if (!is_gate) return right->gated_act(stream, args);
      right->copy(stream, {.x = args.up, .out = args.out});
    };
  };
  for (const char* model : {"qwen3_next", "qwen3_5", "minimax"})
    EXPECT_GT(difference_of(model, nullptr, open), kNoticed);
}

TEST(Mutation, a_softmax_without_its_sink_is_noticed) {
  EXPECT_GT(difference_of("gpt_oss",
                          [](ModelSpec& model) {
                            each<AttentionSpec>([](AttentionSpec& a, int) { a.sink_logits = false; })(model);
                            model.ignored.emplace_back("*.sinks");
                          }),
            kNoticed);
}

TEST(Mutation, keys_shared_from_another_layer_are_noticed) {
  EXPECT_GT(difference_of("gemma4_text", each<AttentionSpec>([](AttentionSpec& a, int) {
                            if (a.kv_source >= 0) a.kv_source = a.head_dim == 24 ? 0 : 2;
                          })),
            kNoticed);
}

}  // namespace
}  // namespace heed
