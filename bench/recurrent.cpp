// Recurrent layers at the sizes of Qwen3-Next (delta rule, convolution) and MiniMax-M1 (linear attention).
#include "bench/bench.h"
#include "tests/kernels/cases_recurrent.h"

namespace heed::bench {
namespace {

using namespace cases;

// flops: of an element of the state and a token (of a weight, for the convolution).
template <class Problem>
void bench_op(Bench& bench, const RecurrentCase& c, double flops) {
  const std::string name = std::string(Problem::kName) + " " + c.name + " " + std::string(name_of(c.state));
  if (!bench.wants(name)) return;
  Problem problem(c, 1);
  const auto& state = problem.state;
  const Cold cold(state.memory.t.data, state.memory.t.bytes());
  const auto elements = static_cast<double>(state.memory.t.size[1]);
  const auto sequences = static_cast<double>(c.tokens.size());
  const auto tokens = static_cast<double>(state.tokens());
  const double weights = std::is_same_v<Problem, ShortConvProblem> ? 4.0 / 3 : 1;  // to an element of state
  // The state once in and once out; what the tokens bring is counted as the output and as much again.
  const double bytes = 2 * sequences * elements * static_cast<double>(size_of(c.state)) +
                       2 * static_cast<double>(problem.out.t.bytes());
  const Work work = {.name = name, .bytes = bytes, .flops = flops * tokens * elements * weights};
  Stream stream = bench.stream();
  bench.time(work, [&](int i) {
    problem.args.state.slots.data = cold[i];
    problem.run(bench.kernels(), stream);
  });
}

}  // namespace

void bench_recurrent(Bench& bench) {
  const std::pair<const char*, std::vector<int>> batches[] = {
      {"decode", {1}}, {"decode of 16", std::vector<int>(16, 1)}, {"prefill 512", {512}}};
  for (const auto& [name, tokens] : batches) {
    for (const DType state : {DType::kF32, DType::kBF16}) {
      bench_op<GatedDeltaProblem>(bench, {name, tokens, 16, 32, 128, 128, state}, 7);
      bench_op<LinearAttentionProblem>(bench, {name, tokens, 64, 64, 128, 128, state}, 5);
    }
    bench_op<ShortConvProblem>(bench, {name, tokens, 64, 64, 4, 128}, 2);  // 8192 channels, width 4
  }
  Random random(1);
  Array a_log(DType::kF32, {32});
  Array a(DType::kF32, {512, 32});
  Array b(DType::kF32, {512, 32});
  a_log.fill(random);
  a.fill(random);
  b.fill(random);
  Stream stream = bench.stream();
  if (!bench.wants("delta_gates 512 x 32")) return;
  bench.time({.name = "delta_gates 512 x 32", .bytes = 4 * static_cast<double>(a.t.bytes())}, [&](int) {
    bench.kernels().delta_gates(stream, {.a_log = a_log.t, .dt_bias = a_log.t, .a = a.t, .b = b.t});
  });
}

}  // namespace heed::bench
