// Checks of the ops that carry a state from token to token.
#include "kernels/checks.h"

namespace heed {
namespace {

void check_slots(std::string_view op, const StateArgs& state) {
  const Tensor& slots = state.slots;
  CHECK(slots.dtype == DType::kF32 || slots.dtype == DType::kBF16, op, describe(slots));
  CHECK(slots.size[0] == 0 || slots.slice(0, 1).contiguous(), op, describe(slots), "within a slot");
}

void check_state(std::string_view op, const StateArgs& state, int64_t tokens) {
  const Tensor& slots = state.slots;
  CHECK(state.sequences == 0 || state.seq_start[state.sequences] == tokens, op, state.sequences, tokens);
  for (int s = 0; s < state.sequences; ++s) {
    CHECK(state.slot[s] >= 0 && state.slot[s] < slots.size[0], op, state.slot[s], slots.size[0]);
    CHECK(state.seq_start[s] <= state.seq_start[s + 1], op, s, state.seq_start[s], state.seq_start[s + 1]);
  }
  int32_t least = 0;
  for (const StateSave& save : state.saves) {
    CHECK(save.token >= least && save.token < tokens, op, save.token, least, tokens);
    CHECK(save.slot >= 0 && save.slot < slots.size[0], op, save.slot, slots.size[0]);
    least = save.token;
  }
}

}  // namespace

Shapes check_shapes(const ShortConvArgs& args) {
  check_f32("short_conv", {args.x, args.weight, args.out});
  if (args.bias.defined()) check_f32("short_conv", {args.bias});
  Shapes shapes("short_conv");
  shapes.match(args.x, "x", {"tokens", "channels"})
      .match(args.weight, "weight", {"channels", "width"})
      .match_if(args.bias, "bias", {"channels"})
      .match(args.state.slots, "state.slots", {"slots", "width - 1", "channels"})
      .match(args.out, "out", {"tokens", "channels"});
  CHECK(shapes["width - 1"] == shapes["width"] - 1, shapes["width - 1"], shapes["width"]);
  check_slots("short_conv", args.state);
  return shapes;
}

Shapes check_shapes(const LinearAttentionArgs& args) {
  check_f32("linear_attention", {args.q, args.k, args.v, args.out});
  Shapes shapes("linear_attention");
  shapes.match(args.q, "q", {"tokens", "heads", "k_dim"})
      .match(args.k, "k", {"tokens", "heads", "k_dim"})
      .match(args.v, "v", {"tokens", "heads", "v_dim"})
      .match(args.state.slots, "state.slots", {"slots", "heads", "k_dim", "v_dim"})
      .match(args.out, "out", {"tokens", "heads", "v_dim"});
  check_slots("linear_attention", args.state);
  return shapes;
}

Shapes check_shapes(const GatedDeltaArgs& args) {
  check_f32("gated_delta", {args.q, args.k, args.v, args.decay, args.beta, args.out});
  Shapes shapes("gated_delta");
  shapes.match(args.q, "q", {"tokens", "k_heads", "k_dim"})
      .match(args.k, "k", {"tokens", "k_heads", "k_dim"})
      .match(args.v, "v", {"tokens", "v_heads", "v_dim"})
      .match(args.decay, "decay", {"tokens", "v_heads"})
      .match(args.beta, "beta", {"tokens", "v_heads"})
      .match(args.state.slots, "state.slots", {"slots", "v_heads", "k_dim", "v_dim"})
      .match(args.out, "out", {"tokens", "v_heads", "v_dim"});
  CHECK(shapes["v_heads"] % shapes["k_heads"] == 0, shapes["v_heads"], shapes["k_heads"]);
  check_slots("gated_delta", args.state);
  return shapes;
}

Shapes check(const ShortConvArgs& args) {
  const Shapes shapes = check_shapes(args);
  check_state("short_conv", args.state, shapes["tokens"]);
  return shapes;
}

Shapes check(const LinearAttentionArgs& args) {
  const Shapes shapes = check_shapes(args);
  check_state("linear_attention", args.state, shapes["tokens"]);
  return shapes;
}

Shapes check(const GatedDeltaArgs& args) {
  const Shapes shapes = check_shapes(args);
  check_state("gated_delta", args.state, shapes["tokens"]);
  return shapes;
}

Shapes check(const DeltaGatesArgs& args) {
  check_f32("delta_gates", {args.a_log, args.dt_bias, args.a, args.b});
  return Shapes("delta_gates")
      .match(args.a_log, "a_log", {"heads"})
      .match(args.dt_bias, "dt_bias", {"heads"})
      .match(args.a, "a", {"tokens", "heads"})
      .match(args.b, "b", {"tokens", "heads"});
}

}  // namespace heed
