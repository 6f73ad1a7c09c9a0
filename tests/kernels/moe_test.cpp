// Mixture of experts: ref by hand and by other formulas, then the cpu backend against ref on every
// instruction set.
#include <gtest/gtest.h>

#include <set>

#include "tests/kernels/cases_moe.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/on_isa.h"

namespace heed {
namespace {

using namespace cases;
using Score = MoeRouteArgs::Score;

struct Ref {
  ThreadPool pool{1};
  Stream stream{&pool};
  const Kernels& kernels = ref_kernels();
};

struct Routed {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

// One token's route.
Routed route(std::vector<float> logits, MoeRouteArgs args, std::vector<float> bias = {},
             std::vector<float> expert_scale = {}) {
  Ref ref;
  const auto n = static_cast<int64_t>(logits.size());
  Routed out = {std::vector<int32_t>(static_cast<size_t>(args.top_k)),
                std::vector<float>(static_cast<size_t>(args.top_k))};
  args.logits = Tensor(logits.data(), DType::kF32, {1, n});
  if (!bias.empty()) args.bias = Tensor(bias.data(), DType::kF32, {n});
  if (!expert_scale.empty()) args.expert_scale = Tensor(expert_scale.data(), DType::kF32, {n});
  args.experts = out.experts.data();
  args.weights = out.weights.data();
  ref.kernels.moe_route(ref.stream, args);
  return out;
}

void expect_route(const Routed& got, const std::vector<int32_t>& experts,
                  const std::vector<double>& weights) {
  EXPECT_EQ(got.experts, experts);
  for (size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(got.weights[i], weights[i], 1e-6) << i;
}

TEST(RefMoe, softmax_scores_are_of_all_experts) {
  const double total = 1 + std::exp(1) + std::exp(2);
  expect_route(route({0, 2, 1}, {.top_k = 2}), {1, 2}, {std::exp(2) / total, std::exp(1) / total});
  expect_route(route({0, 2, 1}, {.renormalise = true, .scale = 3, .top_k = 2}, {}, {7, 1, 2}), {1, 2},
               {3 * std::exp(1) / (1 + std::exp(1)), 2 * 3 / (1 + std::exp(1))});
}

TEST(RefMoe, softmax_of_chosen_leaves_the_others_out) {
  expect_route(route({0, 2, 1}, {.score = Score::kSoftmaxOfChosen, .top_k = 2}), {1, 2},
               {std::exp(1) / (1 + std::exp(1)), 1 / (1 + std::exp(1))});
}

TEST(RefMoe, a_bias_chooses_and_does_not_weigh) {
  const double half = 0.5;
  const double most = 1 / (1 + std::exp(-2));
  expect_route(route({0, 2, 0}, {.score = Score::kSigmoid, .top_k = 2}, {0, 0, 3}), {2, 1}, {half, most});
}

TEST(RefMoe, experts_outside_the_best_groups_are_not_chosen) {
  // Groups {0, 1}, {2, 3}, {4, 5}: the second has the best expert, the third the best two.
  const std::vector<float> bias = {0.1F, 0, 1, -1, 0.6F, 0.5F};
  const std::vector<float> zero(6, 0);
  MoeRouteArgs args = {.score = Score::kSigmoid, .groups = 3, .top_groups = 1, .top_k = 2};
  EXPECT_EQ(route(zero, args, bias).experts, (std::vector<int32_t>{4, 5}));
  args.top_groups = 2;
  EXPECT_EQ(route(zero, args, bias).experts, (std::vector<int32_t>{4, 5}));  // {0, 1} beats {2, 3}
  args.top_k = 3;
  EXPECT_EQ(route(zero, args, bias).experts, (std::vector<int32_t>{4, 5, 0}));
  args.top_groups = 3;
  EXPECT_EQ(route(zero, args, bias).experts, (std::vector<int32_t>{2, 4, 5}));
}

TEST(RefMoe, the_smaller_id_wins_a_tie_and_nan_loses_to_everything) {
  EXPECT_EQ(route({1, 1, 1, 1}, {.top_k = 3}).experts, (std::vector<int32_t>{0, 1, 2}));
  const MoeRouteArgs sigmoid = {.score = Score::kSigmoid, .top_k = 3};
  EXPECT_EQ(route({NAN, -INFINITY, NAN, 5}, sigmoid).experts, (std::vector<int32_t>{3, 1, 0}));
  EXPECT_EQ(route({NAN, 1, 2, 3}, {.top_k = 3}).experts, (std::vector<int32_t>{0, 1, 2}));  // all are NaN
}

TEST(RefMoe, assignments_are_sorted_by_expert_then_token_then_choice) {
  Ref ref;
  const int32_t experts[] = {2, 0, 0, 2, 3, 0};
  int32_t start[5];
  int32_t rows[6];
  int32_t place[6];
  ref.kernels.moe_sort(ref.stream, {.experts = experts,
                                    .tokens = 3,
                                    .top_k = 2,
                                    .expert_count = 4,
                                    .expert_start = start,
                                    .rows = rows,
                                    .place = place});
  EXPECT_EQ(std::vector<int32_t>(start, start + 5), (std::vector<int32_t>{0, 3, 3, 5, 6}));
  EXPECT_EQ(std::vector<int32_t>(rows, rows + 6), (std::vector<int32_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(std::vector<int32_t>(place, place + 6), (std::vector<int32_t>{3, 0, 1, 4, 5, 2}));
}

TEST(RefMoe, experts_and_heads_have_products_of_their_own_and_choices_are_summed) {
  Ref ref;
  std::vector<float> x = {1, 2, 3, 4};
  std::vector<float> first = {1, 1};
  std::vector<float> second = {1, -1};
  std::vector<float> bias = {10, 20};
  std::vector<float> out(3);
  const auto view = [](std::vector<float>& v, std::initializer_list<int64_t> sizes) {
    return Tensor(v.data(), DType::kF32, sizes);
  };
  const Tensor weights[] = {view(first, {1, 2}), view(second, {1, 2})};
  const int32_t rows[] = {1, 0, 1};
  const int32_t start[] = {0, 1, 3};
  ref.kernels.expert_linear(ref.stream, {.x = view(x, {2, 2}),
                                         .rows = rows,
                                         .expert_start = start,
                                         .weights = weights,
                                         .bias = view(bias, {2, 1}),
                                         .out = view(out, {3, 1})});
  EXPECT_EQ(out, (std::vector<float>{17, 19, 19}));
  const int32_t place[] = {2, 0};
  const float share[] = {2, 0.5F};
  std::vector<float> sum = {1};
  ExpertSumArgs args = {
      .x = view(out, {3, 1}), .place = place, .weights = share, .top_k = 2, .out = view(sum, {1, 1})};
  ref.kernels.expert_sum(ref.stream, args);
  EXPECT_EQ(sum[0], 46.5F);
  args.accumulate = true;
  ref.kernels.expert_sum(ref.stream, args);
  EXPECT_EQ(sum[0], 93);
  std::vector<float> heads = {1, 2, 3, 4};
  std::vector<float> heads_out(2);
  ref.kernels.head_linear(
      ref.stream,
      {.x = view(x, {1, 2, 2}), .weight = view(heads, {2, 1, 2}), .out = view(heads_out, {1, 2, 1})});
  EXPECT_EQ(heads_out, (std::vector<float>{5, 25}));
}

class CpuMoe : public OnIsa {};
INSTANTIATE_ON_ISA(CpuMoe);

TEST_P(CpuMoe, route_equals_ref) {
  for (const RouteCase& c : route_cases()) {
    SCOPED_TRACE(c.name);
    RouteProblem want(c, 3);
    RouteProblem got(c, 3);
    ref.moe_route(stream, want.args);
    kernels->moe_route(stream, got.args);
    ASSERT_EQ(got.experts, want.experts);
    expect_close(got.weights, want.weights, "moe_route");
  }
}

TEST_P(CpuMoe, a_token_has_the_same_route_in_every_batch) {
  for (const RouteCase& c : route_cases()) {
    SCOPED_TRACE(c.name);
    RouteProblem whole(c, 5);
    RouteProblem alone(c, 5);
    ThreadPool three(3);
    Stream three_stream{&three};
    kernels->moe_route(three_stream, whole.args);
    for (int64_t t = 0; t < c.tokens; ++t) {
      MoeRouteArgs args = alone.args;
      args.logits = alone.logits.t.slice(t, t + 1);
      args.experts += t * c.top_k;
      args.weights += t * c.top_k;
      kernels->moe_route(stream, args);
    }
    ASSERT_EQ(alone.experts, whole.experts);
    ASSERT_TRUE(same_bits(alone.weights, whole.weights));
  }
}

TEST_P(CpuMoe, whatever_the_logits_the_chosen_are_different_experts_that_exist) {
  const float odd[] = {NAN, INFINITY, -INFINITY, 0, -0.0F, 1e38F, -1e38F, NAN};
  Random random(7);
  for (const RouteCase& c : route_cases()) {
    SCOPED_TRACE(c.name);
    RouteProblem want(c, 7);
    for_each(want.logits.t, [&](int64_t at) { write(want.logits.t, at, odd[random.below(8)]); });
    RouteProblem got(c, 7);
    got.args.logits = want.logits.t;
    ref.moe_route(stream, want.args);
    kernels->moe_route(stream, got.args);
    ASSERT_EQ(got.experts, want.experts);
    for (int64_t t = 0; t < c.tokens; ++t) {
      const std::set<int32_t> ids(got.experts.begin() + t * c.top_k, got.experts.begin() + (t + 1) * c.top_k);
      ASSERT_EQ(static_cast<int>(ids.size()), c.top_k);
      ASSERT_TRUE(*ids.begin() >= 0 && *ids.rbegin() < c.experts);
    }
  }
}

TEST_P(CpuMoe, sort_equals_ref) {
  Random random(9);
  for (const auto& [tokens, top_k, experts] :
       {std::tuple{0, 2, 4}, {1, 1, 1}, {1, 8, 128}, {7, 3, 5}, {50, 4, 4}, {300, 8, 64}}) {
    const std::vector<int32_t> choice = random_choice(random, tokens, top_k, experts);
    std::vector<int32_t> out[2];
    const Kernels* both[] = {&ref, kernels};
    for (int i = 0; i < 2; ++i) {
      out[i].resize(2 * choice.size() + static_cast<size_t>(experts) + 1, -1);
      int32_t* rows = out[i].data() + experts + 1;
      both[i]->moe_sort(stream, {.experts = choice.data(),
                                 .tokens = tokens,
                                 .top_k = top_k,
                                 .expert_count = experts,
                                 .expert_start = out[i].data(),
                                 .rows = rows,
                                 .place = rows + choice.size()});
    }
    EXPECT_EQ(out[1], out[0]) << tokens << " tokens";
  }
}

TEST_P(CpuMoe, expert_linear_equals_ref) {
  for (const ExpertCase& c : expert_cases()) {
    SCOPED_TRACE(c.name + " " + std::string(name_of(c.x)) + " " + std::string(name_of(c.weight)));
    ExpertProblem want(c, 11);
    ExpertProblem got(c, 11);
    ref.expert_linear(stream, want.args);
    kernels->expert_linear(stream, got.args);
    expect_close(got.out.values(), want.out.values(), suffixed("linear", c.x));
  }
}

TEST_P(CpuMoe, an_assignment_has_the_bits_of_a_linear_layer_on_its_row_alone) {
  for (const ExpertCase& c : expert_cases()) {
    SCOPED_TRACE(c.name + " " + std::string(name_of(c.x)) + " " + std::string(name_of(c.weight)));
    ExpertProblem p(c, 13);
    std::vector<float> want;
    for (size_t e = 0; e < c.rows.size(); ++e) {
      for (int32_t i = p.starts[e]; i < p.starts[e + 1]; ++i) {
        const int64_t row = c.gathered ? p.rows[static_cast<size_t>(i)] : i;
        Tensor bias = p.bias.t.slice(static_cast<int64_t>(e), static_cast<int64_t>(e) + 1);
        bias.rank = 1;
        bias.size[0] = c.out;
        bias.stride[0] = 1;
        Array out(DType::kF32, {1, c.out});
        kernels->linear(stream, {.x = p.x.t.slice(row, row + 1),
                                 .weight = p.weights[e],
                                 .bias = c.bias ? bias : Tensor(),
                                 .out = out.t});
        for (const float value : out.values()) want.push_back(value);
      }
    }
    for (int threads = 1; threads <= 3; ++threads) {
      ThreadPool other(threads);
      Stream other_stream{&other};
      p.out.fill(p.random);
      kernels->expert_linear(other_stream, p.args);
      ASSERT_TRUE(same_bits(p.out.values(), want)) << threads << " threads";
    }
  }
}

TEST_P(CpuMoe, expert_sum_equals_ref) {
  Random random(15);
  for (const auto& [tokens, top_k, dim] : {std::tuple{1, 1, 1}, {3, 2, 33}, {70, 8, 257}, {0, 2, 8}}) {
    Array x(DType::kF32, {tokens * top_k, dim}, 3);
    x.fill(random);
    const std::vector<int32_t> place = random_choice(random, 1, tokens * top_k, tokens * top_k);
    std::vector<float> weights;
    for (size_t i = 0; i < place.size(); ++i) weights.push_back(random.uniform(0, 1));
    Array want(DType::kF32, {tokens, dim}, 2);
    Array got(DType::kF32, {tokens, dim}, 2);
    for (const bool accumulate : {false, true}) {
      ExpertSumArgs args = {.x = x.t,
                            .place = place.data(),
                            .weights = weights.data(),
                            .top_k = top_k,
                            .accumulate = accumulate,
                            .out = want.t};
      ref.expert_sum(stream, args);
      args.out = got.t;
      kernels->expert_sum(stream, args);
      expect_close(got.values(), want.values(), "expert_sum");
    }
  }
}

TEST_P(CpuMoe, head_linear_equals_ref_and_has_the_bits_of_a_linear_layer_for_each_row_and_head) {
  for (const HeadLinearCase& c : head_linear_cases()) {
    SCOPED_TRACE(std::to_string(c.tokens) + " tokens " + std::string(name_of(c.weight)));
    HeadLinearProblem want(c, 17);
    HeadLinearProblem got(c, 17);
    ref.head_linear(stream, want.args);
    kernels->head_linear(stream, got.args);
    expect_close(got.out.values(), want.out.values(), "linear");
    std::vector<float> alone;
    for (int64_t t = 0; t < c.tokens; ++t) {
      for (int64_t h = 0; h < c.heads; ++h) {
        Tensor x = got.x.t.slice(t, t + 1);
        x.data = x.as<float>() + h * x.stride[1];
        x.rank = 2;
        x.size[1] = c.in;
        x.stride[1] = 1;
        Tensor weight = got.weight.t.slice(h, h + 1);
        weight.rank = 2;
        weight.size = {c.out, c.in};
        weight.stride = {weight.stride[1], 1};
        Array out(DType::kF32, {1, c.out});
        kernels->linear(stream, {.x = x, .weight = weight, .out = out.t});
        for (const float value : out.values()) alone.push_back(value);
      }
    }
    for (int threads = 1; threads <= 3; ++threads) {
      ThreadPool other(threads);
      Stream other_stream{&other};
      kernels->head_linear(other_stream, got.args);
      ASSERT_TRUE(same_bits(got.out.values(), alone)) << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace heed
