// A mixture of 128 experts, 8 for each token, of 768 x 2048; and MLA's products of each head.
#include "bench/bench.h"
#include "tests/kernels/cases_moe.h"

namespace heed::bench {
namespace {

using namespace cases;

constexpr int kExperts = 128;
constexpr int kTopK = 8;

// Sorted assignments of random choices.
struct Route {
  Route(const Kernels& kernels, Stream& stream, int64_t tokens, unsigned seed)
      : start(kExperts + 1), rows(tokens * kTopK), place(tokens * kTopK) {
    Random random(seed);
    experts = random_choice(random, tokens, kTopK, kExperts);
    kernels.moe_sort(stream, {.experts = experts.data(),
                              .tokens = tokens,
                              .top_k = kTopK,
                              .expert_count = kExperts,
                              .expert_start = start.data(),
                              .rows = rows.data(),
                              .place = place.data()});
    for (int e = 0; e < kExperts; ++e) used += start[e + 1] > start[e] ? 1 : 0;
  }
  std::vector<int32_t> experts, start, rows, place;
  int used = 0;
};

void bench_expert_linear(Bench& bench, int64_t tokens, DType x_type, int64_t in, int64_t out_width) {
  const std::string name = "expert_linear " + std::string(name_of(x_type)) + " x bfloat16 " +
                           std::to_string(tokens) + " x " + std::to_string(in) + " x " +
                           std::to_string(out_width);
  if (!bench.wants(name)) return;
  Random random(1);
  Array weight(DType::kBF16, {out_width, in});
  weight.fill(random);
  const int64_t bytes = weight.t.bytes();
  const Buffer memory(kExperts * bytes);
  std::vector<Tensor> weights;
  for (int e = 0; e < kExperts; ++e) {
    char* own = static_cast<char*>(memory.data()) + e * bytes;
    std::memcpy(own, weight.t.data, static_cast<size_t>(bytes));
    weights.emplace_back(own, DType::kBF16, std::initializer_list<int64_t>{out_width, in});
  }
  Array x(x_type, {tokens, in});
  Array out(DType::kF32, {tokens * kTopK, out_width});
  x.fill(random);
  Stream stream = bench.stream();
  std::vector<Route> routes;  // whose experts differ, so that no cache holds the next
  for (unsigned seed = 0; seed < 16; ++seed) routes.emplace_back(bench.kernels(), stream, tokens, seed);
  double used = 0;
  for (const Route& route : routes) used += route.used / 16.0;
  const Work work = {
      .name = name,
      .bytes = used * static_cast<double>(bytes) + static_cast<double>(x.t.bytes() + out.t.bytes()),
      .flops = 2.0 * static_cast<double>(tokens * kTopK * in * out_width),
      .peak = x_type == DType::kBF16 ? Peak::kBfloat16 : Peak::kFloat32};
  bench.time(work, [&](int i) {
    const Route& route = routes[static_cast<size_t>(i) % routes.size()];
    bench.kernels().expert_linear(stream, {.x = x.t,
                                           .rows = route.rows.data(),
                                           .expert_start = route.start.data(),
                                           .weights = weights,
                                           .out = out.t});
  });
}

void bench_head_linear(Bench& bench, int64_t tokens) {
  const HeadLinearCase c = {tokens, 32, 128, 512, DType::kBF16};
  const std::string name = "head_linear " + std::to_string(tokens) + " x 32 heads x 128 x 512 bfloat16";
  if (!bench.wants(name)) return;
  HeadLinearProblem problem(c, 1);
  const Cold cold(problem.weight.t.data, problem.weight.t.bytes());
  const Work work = {
      .name = name,
      .bytes = static_cast<double>(problem.weight.t.bytes() + problem.x.t.bytes() + problem.out.t.bytes()),
      .flops = 2.0 * static_cast<double>(tokens * c.heads * c.in * c.out)};
  Stream stream = bench.stream();
  bench.time(work, [&](int i) {
    HeadLinearArgs args = problem.args;
    args.weight.data = cold[i];
    bench.kernels().head_linear(stream, args);
  });
}

void bench_routing(Bench& bench, int64_t tokens) {
  const std::string size = " " + std::to_string(tokens) + " x 128, top 8";
  Stream stream = bench.stream();
  RouteProblem problem({"", tokens, kExperts, kTopK, MoeRouteArgs::Score::kSoftmax, false, 1, 1, true}, 1);
  const auto logits = static_cast<double>(problem.logits.t.bytes());
  if (bench.wants("moe_route" + size)) {
    bench.time({.name = "moe_route" + size, .bytes = logits},
               [&](int) { bench.kernels().moe_route(stream, problem.args); });
  }
  if (bench.wants("moe_sort" + size)) {
    bench.time({.name = "moe_sort" + size, .bytes = 12.0 * kTopK * static_cast<double>(tokens)},
               [&](int) { const Route route(bench.kernels(), stream, tokens, 1); });
  }
  const Route route(bench.kernels(), stream, tokens, 1);
  Array x(DType::kF32, {tokens * kTopK, 2048});
  Array out(DType::kF32, {tokens, 2048});
  Random random(1);
  x.fill(random);
  const std::string name = "expert_sum " + std::to_string(tokens) + " x 8 x 2048";
  if (!bench.wants(name)) return;
  bench.time({.name = name, .bytes = static_cast<double>(x.t.bytes() + out.t.bytes())}, [&](int) {
    bench.kernels().expert_sum(stream, {.x = x.t,
                                        .place = route.place.data(),
                                        .weights = problem.weights.data(),
                                        .top_k = kTopK,
                                        .out = out.t});
  });
}

}  // namespace

void bench_moe(Bench& bench) {
  for (const DType x : {DType::kBF16, DType::kF32}) {
    for (const int64_t tokens : {1, 16, 512}) {
      bench_expert_linear(bench, tokens, x, 2048, 768);
      bench_expert_linear(bench, tokens, x, 768, 2048);
    }
  }
  for (const int64_t tokens : {1, 16, 512}) bench_head_linear(bench, tokens);
  for (const int64_t tokens : {1, 512}) bench_routing(bench, tokens);
}

}  // namespace heed::bench
