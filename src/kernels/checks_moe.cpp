// Checks of the ops of a mixture of experts.
#include <limits>

#include "kernels/checks.h"

namespace heed {

Shapes check(const MoeRouteArgs& args) {
  check_f32("moe_route", {args.logits});
  if (args.bias.defined()) check_f32("moe_route", {args.bias});
  if (args.expert_scale.defined()) check_f32("moe_route", {args.expert_scale});
  Shapes shapes("moe_route");
  shapes.match(args.logits, "logits", {"tokens", "experts"})
      .match_if(args.bias, "bias", {"experts"})
      .match_if(args.expert_scale, "expert_scale", {"experts"});
  const int64_t experts = shapes["experts"];
  CHECK(args.groups >= 1 && experts % args.groups == 0, experts, args.groups);
  CHECK(args.top_groups >= 1 && args.top_groups <= args.groups, args.groups, args.top_groups);
  CHECK(args.top_k >= 1 && args.top_k <= experts / args.groups * args.top_groups, args.top_k, experts,
        args.groups, args.top_groups);
  return shapes;
}

void check(const MoeSortArgs& args) {
  CHECK(args.tokens >= 0 && args.top_k >= 1 && args.expert_count >= 1, args.tokens, args.top_k,
        args.expert_count);
  CHECK(args.tokens <= std::numeric_limits<int32_t>::max() / args.top_k, args.tokens, args.top_k);
}

Shapes check_shapes(const ExpertLinearArgs& args) {
  CHECK(!args.weights.empty(), "expert_linear");
  const Tensor& weight = args.weights[0];
  check_f32("expert_linear", {args.out});
  check_weight("expert_linear", weight);
  check_input("expert_linear", args.x, weight);
  if (args.bias.defined()) check_f32("expert_linear", {args.bias});
  Shapes shapes("expert_linear");
  shapes.match(args.x, "x", {"rows", "in"})
      .match(weight, "weights[0]", {"out", "in"})
      .match_if(args.bias, "bias", {"experts", "out"})
      .match(args.out, "out", {"assignments", "out"});
  const auto experts = std::ssize(args.weights);
  CHECK(!args.bias.defined() || shapes["experts"] == experts, describe(args.bias), experts);
  CHECK(args.rows != nullptr || shapes["rows"] >= shapes["assignments"], shapes["rows"],
        shapes["assignments"]);
  return shapes;
}

Shapes check(const ExpertLinearArgs& args) {
  const Shapes shapes = check_shapes(args);
  const auto experts = std::ssize(args.weights);
  CHECK(args.expert_start[0] == 0 && args.expert_start[experts] == shapes["assignments"], experts,
        args.expert_start[experts], shapes["assignments"]);
  return shapes;
}

const Tensor& expert_weight(const ExpertLinearArgs& args, int64_t expert) {
  const Tensor& first = args.weights[0];
  const Tensor& weight = args.weights[expert];
  CHECK(weight.rank == 2 && weight.dtype == first.dtype && weight.size == first.size &&
            (weight.stride[1] == 1 || weight.size[1] <= 1),
        "expert_linear", expert, describe(weight), describe(first));
  return weight;
}

Shapes check(const ExpertSumArgs& args) {
  check_f32("expert_sum", {args.x, args.out});
  CHECK(args.top_k >= 1, args.top_k);
  return Shapes("expert_sum")
      .match(args.x, "x", {"assignments", "dim"})
      .match(args.out, "out", {"tokens", "dim"});
}

}  // namespace heed
