// Mixture of experts and the linear layers of heads on the cuda backend, against ref over the common cases.
#include "tests/kernels/cases_moe.h"
#include "tests/kernels/cuda/gpu.h"

namespace heed {
namespace {

using namespace cases;

class CudaMoe : public Gpu {};

TEST_F(CudaMoe, route_equals_ref) {
  for (const RouteCase& c : route_cases()) {
    SCOPED_TRACE(c.name);
    RouteProblem want(c, 7), got(c, 7);
    ref.moe_route(host, want.args);
    MoeRouteArgs args = got.args;
    args.logits = put(got.logits);
    if (c.bias) args.bias = put(got.bias);
    if (c.expert_scale) args.expert_scale = put(got.expert_scale);
    args.experts = put(got.experts);
    args.weights = put(got.weights);
    cuda.moe_route(stream, args);
    EXPECT_EQ(get(args.experts, got.experts.size()), want.experts);
    expect_close(get(args.weights, got.weights.size()), want.weights, "moe_route");
    forget();
  }
}

TEST_F(CudaMoe, sort_and_sum_equal_ref) {
  for (const auto& [tokens, top_k, experts] :
       {std::tuple{1, 1, 1}, {5, 2, 3}, {0, 2, 4}, {700, 8, 128}, {33, 10, 512}}) {
    SCOPED_TRACE(tokens);
    Random random(3);
    const std::vector<int32_t> choice = random_choice(random, tokens, top_k, experts);
    std::vector<int32_t> start(static_cast<size_t>(experts) + 1), rows(choice.size()), place(choice.size());
    ref.moe_sort(host, {.experts = choice.data(),
                        .tokens = tokens,
                        .top_k = top_k,
                        .expert_count = experts,
                        .expert_start = start.data(),
                        .rows = rows.data(),
                        .place = place.data()});
    MoeSortArgs args = {.experts = put(choice),
                        .tokens = tokens,
                        .top_k = top_k,
                        .expert_count = experts,
                        .expert_start = put(std::vector<int32_t>(start.size(), -1)),
                        .rows = put(std::vector<int32_t>(rows.size(), -1)),
                        .place = put(std::vector<int32_t>(place.size(), -1))};
    cuda.moe_sort(stream, args);
    EXPECT_EQ(get(args.expert_start, start.size()), start);
    EXPECT_EQ(get(args.rows, rows.size()), rows);
    EXPECT_EQ(get(args.place, place.size()), place);

    Array x(DType::kF32, {static_cast<int64_t>(choice.size()), 37}, 3);
    x.fill(random);
    std::vector<float> weights(choice.size());
    for (float& w : weights) w = random.uniform(0, 1);
    for (const auto& [accumulate, weighed] : {std::pair{false, true}, {true, true}, {false, false}}) {
      Array want(DType::kF32, {tokens, 37}, 2);
      if (accumulate) want.fill(random);
      Array got = want;
      got.t.data = got.memory.data();
      ref.expert_sum(host, {.x = x.t,
                            .place = place.data(),
                            .weights = weighed ? weights.data() : nullptr,
                            .top_k = top_k,
                            .accumulate = accumulate,
                            .out = want.t});
      const Tensor out = put(got);
      cuda.expert_sum(stream, {.x = put(x),
                               .place = args.place,
                               .weights = weighed ? put(weights) : nullptr,
                               .top_k = top_k,
                               .accumulate = accumulate,
                               .out = out});
      get(got, out);
      expect_close(got.values(), want.values(), "expert_sum");
    }
    forget();
  }
}

TEST_F(CudaMoe, expert_linear_equals_ref) {
  for (const ExpertCase& c : expert_cases()) {
    SCOPED_TRACE(c.name + " " + std::string(name_of(c.weight)));
    ExpertProblem want(c, 5), got(c, 5);
    ref.expert_linear(host, want.args);
    ExpertLinearArgs args = got.args;
    args.x = put(got.x);
    if (args.rows != nullptr) args.rows = put(got.rows);
    args.expert_start = put(got.starts);
    std::vector<Tensor> weights;
    for (size_t e = 0; e < got.weights.size(); ++e) {
      weights.push_back(put(got.arrays[e]));
      if (got.weights[e].data == nullptr) weights.back().data = nullptr;
    }
    args.weights = weights;
    if (c.bias) args.bias = put(got.bias);
    args.out = put(got.out);
    cuda.expert_linear(stream, args);
    get(got.out, args.out);
    forget();
    expect_close(got.out.values(), want.out.values(), "linear");
  }
}

TEST_F(CudaMoe, head_linear_equals_ref) {
  for (const HeadLinearCase& c : head_linear_cases()) {
    SCOPED_TRACE(std::to_string(c.tokens) + "x" + std::to_string(c.heads) + " " +
                 std::string(name_of(c.weight)));
    HeadLinearProblem want(c, 5), got(c, 5);
    ref.head_linear(host, want.args);
    HeadLinearArgs args = {.x = put(got.x), .weight = put(got.weight), .out = put(got.out)};
    cuda.head_linear(stream, args);
    get(got.out, args.out);
    forget();
    expect_close(got.out.values(), want.out.values(), "linear");
  }
}

}  // namespace
}  // namespace heed
