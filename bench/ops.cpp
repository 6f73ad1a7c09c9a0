// Times the ops of the cpu backend over cases as in tests/kernels/cases.h, at sizes of real models, and
// prints for each the share of its floor: the longer of its bytes at the bandwidth and its operations at the
// peak, both measured here at the start and again at the end. JSON lines: first the machine, then one line an
// op.
#include <CLI/CLI.hpp>

#include "bench/bench.h"
#include "tests/kernels/cases.h"

namespace heed::bench {
namespace {

using namespace cases;

void bench_linear(Bench& bench, const LinearCase& c) {
  const std::string name = "linear " + std::string(name_of(c.x)) + " x " + std::string(name_of(c.weight)) +
                           " " + std::to_string(c.tokens) + " x " + std::to_string(c.in) + " x " +
                           std::to_string(c.out);
  if (!bench.wants(name)) return;
  LinearProblem problem(c, 1);
  const int64_t bytes = problem.weight.t.bytes();
  const Cold cold(problem.weight.t.data, bytes);
  const Work work = {.name = name,
                     .bytes = static_cast<double>(bytes + problem.x.t.bytes() + problem.out.t.bytes()),
                     .flops = 2.0 * static_cast<double>(c.tokens * c.in * c.out),
                     .peak = c.x == DType::kBF16 ? Peak::kBfloat16 : Peak::kFloat32};
  Stream stream = bench.stream();
  bench.time(work, [&](int i) {
    LinearArgs args = problem.args;
    args.weight.data = cold[i];
    bench.kernels().linear(stream, args);
  });
}

void bench_attention(Bench& bench, const AttentionCase& c) {
  const std::string name = "attention " + c.name + " " + std::string(name_of(c.kv));
  if (!bench.wants(name)) return;
  AttentionProblem problem(c, 1);
  double pairs = 0;
  for (const RowMask& row : problem.rows) pairs += row.hi - row.lo + row.sinks;
  double keys = 0;
  for (const SequenceCase& s : c.sequences) keys += s.past + s.tokens;
  const Work work = {
      .name = name,
      .bytes = keys * c.kv_heads *
               (static_cast<double>((c.head_dim + c.v_dim) * size_of(c.kv)) + (c.kv == DType::kI8 ? 8 : 0)),
      .flops = 2 * pairs * c.heads * (c.head_dim + c.v_dim),
      .peak = c.kv == DType::kBF16 &&
                      (bench.kernels().isa == "avx512-bf16" || bench.kernels().isa == "avx512-amx")
                  ? Peak::kBfloat16
                  : Peak::kFloat32,
  };
  // Caches that take turns, so that decoding reads memory.
  const int64_t k_bytes = problem.k.t.bytes();
  const int64_t v_bytes = problem.v.t.bytes();
  const int64_t copies = std::max<int64_t>(kColdBytes / (k_bytes + v_bytes), 1);
  const Buffer cold(copies * (k_bytes + v_bytes));
  auto* memory = static_cast<char*>(cold.data());
  for (int64_t i = 0; i < copies; ++i) {
    std::memcpy(memory + i * (k_bytes + v_bytes), problem.k.t.data, static_cast<size_t>(k_bytes));
    std::memcpy(memory + i * (k_bytes + v_bytes) + k_bytes, problem.v.t.data, static_cast<size_t>(v_bytes));
  }
  Stream stream = bench.stream();
  bench.time(work, [&](int i) {
    AttentionArgs args = problem.args;
    args.kv.k.data = memory + i % copies * (k_bytes + v_bytes);
    args.kv.v.data = static_cast<char*>(args.kv.k.data) + k_bytes;
    bench.kernels().attention[0].run(stream, args);
  });
}

void bench_rows(Bench& bench) {
  const int64_t rows = 512;
  const int64_t dim = 3072;
  Random random(1);
  Array x(DType::kF32, {rows, dim});
  Array up(DType::kF32, {rows, dim});
  Array out(DType::kF32, {rows, dim});
  Array weight(DType::kF32, {dim});
  x.fill(random);
  up.fill(random);
  weight.fill(random);
  const auto bytes = static_cast<double>(x.t.bytes());
  Stream stream = bench.stream();
  const auto run = [&](const std::string& name, double tensors, const std::function<void(int)>& body) {
    if (bench.wants(name)) bench.time({.name = name + " 512 x 3072", .bytes = tensors * bytes}, body);
  };
  run("rms_norm", 2, [&](int) {
    bench.kernels().rms_norm(stream, {.x = x.t, .weight = weight.t, .eps = 1e-6F, .out = out.t});
  });
  for (const auto& [act, name] :
       {std::pair{Act::kSilu, "silu"}, {Act::kGelu, "gelu"}, {Act::kGeluTanh, "gelu_tanh"}}) {
    run(std::string("gated_act ") + name, 3, [&, a = act](int) {
      bench.kernels().gated_act(stream, {.act = a, .gate = x.t, .up = up.t, .out = out.t});
    });
  }
  run("add", 3, [&](int) { bench.kernels().add(stream, {.x = x.t, .out = out.t}); });
  run("softcap", 2, [&](int) { bench.kernels().softcap(stream, {.cap = 30, .x = x.t}); });
}

std::vector<AttentionCase> model_sized_attention() {
  std::vector<AttentionCase> all;
  for (const DType kv : {DType::kBF16, DType::kF32, DType::kI8}) {
    all.push_back({"decode at 4096", causal(), {{4095, 1}}, 16, 8, 128, 128, 16, kv});
    all.push_back({"decode at 4096, 8 sequences", causal(), std::vector<SequenceCase>(8, {4095, 1}), 16, 8,
                   128, 128, 16, kv});
    all.push_back(
        {"decode at 4096, window 256", causal() & window(256), {{4095, 1}}, 16, 8, 128, 128, 16, kv});
    all.push_back({"prefill 2048 causal", causal(), {{0, 2048}}, 16, 8, 128, 128, 16, kv});
    all.push_back({"prefill 2048 window 256", causal() & window(256), {{0, 2048}}, 16, 8, 128, 128, 16, kv});
    all.push_back({"prefill 2048 full", full(), {{0, 2048}}, 16, 8, 128, 128, 16, kv});
  }
  return all;
}

int run(const Options& options) {
  Bench bench(options);
  if (!bench.usable()) {
    std::fprintf(stderr, "this machine cannot run \"%s\"\n", options.isa.c_str());
    return 1;
  }
  bench.measure_machine();
  const std::pair<DType, DType> types[] = {{DType::kBF16, DType::kBF16},
                                           {DType::kF32, DType::kBF16},
                                           {DType::kF32, DType::kF16},
                                           {DType::kF32, DType::kF32}};
  for (const auto& [x, w] : types) {
    for (const int64_t tokens : {1, 4, 16, 64, 512}) bench_linear(bench, {tokens, 1024, 4096, x, w});
  }
  for (const AttentionCase& c : model_sized_attention()) bench_attention(bench, c);
  bench_rows(bench);
  bench_moe(bench);
  bench_blocks(bench);
  bench_recurrent(bench);
  bench.measure_machine();
  return 0;
}

}  // namespace
}  // namespace heed::bench

int main(int argc, char** argv) {
  heed::bench::Options options;
  CLI::App app("Times the ops of the cpu backend against what the machine can do");
  app.add_option("--isa", options.isa, "instruction set; the machine's best unless given");
  app.add_option("--filter", options.filter, "only ops whose name contains this");
  app.add_option("--threads", options.threads, "0: all processors");
  app.add_option("--repeats", options.repeats, "timed runs of each op")->check(CLI::Range(1, 100000));
  CLI11_PARSE(app, argc, argv);
  return heed::bench::run(options);
}
