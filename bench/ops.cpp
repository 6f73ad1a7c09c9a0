// Times the ops of the cpu backend over cases as in tests/kernels/cases.h, at sizes of real models, and
// prints for each the share of its floor: the longer of its bytes at the bandwidth and its operations at the
// peak, both measured here at the start and again at the end. JSON lines: first the machine, then one line an
// op.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "base/json.h"
#include "bench/peak.h"
#include "kernels/cpu/cpu.h"
#include "tests/kernels/cases.h"

namespace heed::bench {
namespace {

using namespace cases;

constexpr int64_t kColdBytes = int64_t{512} << 20;  // read in turn, so that no cache holds the next

struct Options {
  std::string isa, filter;
  int threads = 0, repeats = 25;
};

struct Work {
  std::string name;
  double bytes = 0, flops = 0;
  bool bf16_pairs = false;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        pool_(options.threads),
        kernels_(options.isa.empty() ? &cpu_kernels() : cpu_kernels_for(options.isa)) {}

  bool usable() const { return kernels_ != nullptr; }
  const Kernels& kernels() const { return *kernels_; }
  Stream stream() { return {&pool_}; }
  bool wants(const std::string& name) const { return name.find(options_.filter) != std::string::npos; }

  void measure_machine() {
    bandwidth_ = read_bandwidth(pool_);
    peak_ = peak_flops(pool_, kernels_->isa, false);
    pair_peak_ = peak_flops(pool_, kernels_->isa, true);
    print({{"machine", processor()},
           {"isa", kernels_->isa},
           {"threads", pool_.size()},
           {"read_gb_s", bandwidth_ / 1e9},
           {"f32_gflop_s", peak_ / 1e9},
           {"bf16_gflop_s", pair_peak_ / 1e9}});
  }

  // body(i) runs the op once; i counts the calls.
  void time(const Work& work, const std::function<void(int)>& body) {
    for (int i = 0; i < 3; ++i) body(i);
    std::vector<double> times;
    for (int i = 0; i < options_.repeats; ++i) {
      const double start = seconds();
      body(i + 3);
      times.push_back(seconds() - start);
    }
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    const double floor =
        std::max(work.bytes / bandwidth_, work.flops / (work.bf16_pairs ? pair_peak_ : peak_));
    print({{"op", work.name},
           {"ms", median * 1e3},
           {"ms_p10", times[times.size() / 10] * 1e3},
           {"ms_p90", times[times.size() * 9 / 10] * 1e3},
           {"gb_s", work.bytes / median / 1e9},
           {"gflop_s", work.flops / median / 1e9},
           {"share_of_floor", floor / median}});
  }

 private:
  static void print(const OrderedJson& line) {
    std::printf("%s\n", to_text(line).c_str());
    std::fflush(stdout);
  }
  static std::string processor() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    }
    return "unknown";
  }

  Options options_;
  ThreadPool pool_;
  const Kernels* kernels_;
  double bandwidth_ = 0, peak_ = 0, pair_peak_ = 0;
};

void bench_linear(Bench& bench, const LinearCase& c) {
  const std::string name = "linear " + std::string(name_of(c.x)) + " x " + std::string(name_of(c.weight)) +
                           " " + std::to_string(c.tokens) + " x " + std::to_string(c.in) + " x " +
                           std::to_string(c.out);
  if (!bench.wants(name)) return;
  LinearProblem problem(c, 1);
  const int64_t bytes = problem.weight.t.bytes();
  const int64_t copies = std::max<int64_t>(kColdBytes / bytes, 1);
  const Buffer cold(copies * bytes);
  for (int64_t i = 0; i < copies; ++i) {
    std::memcpy(static_cast<char*>(cold.data()) + i * bytes, problem.weight.t.data,
                static_cast<size_t>(bytes));
  }
  const Work work = {.name = name,
                     .bytes = static_cast<double>(bytes + problem.x.t.bytes() + problem.out.t.bytes()),
                     .flops = 2.0 * static_cast<double>(c.tokens * c.in * c.out),
                     .bf16_pairs = c.x == DType::kBF16};
  Stream stream = bench.stream();
  bench.time(work, [&](int i) {
    LinearArgs args = problem.args;
    args.weight.data = static_cast<char*>(cold.data()) + i % copies * bytes;
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
      .bytes = keys * c.kv_heads * (c.head_dim + c.v_dim) * static_cast<double>(size_of(c.kv)),
      .flops = 2 * pairs * c.heads * (c.head_dim + c.v_dim),
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
  for (const DType kv : {DType::kBF16, DType::kF32}) {
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
