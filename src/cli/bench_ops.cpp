// heed bench ops: each op of a backend by itself, at sizes of real models, beside what the machine could do.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "cli/bench_model.h"
#include "cli/op_cases.h"
#include "text/regex.h"

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLeastRepeats = 3;
constexpr double kMostSeconds = 3;  // of an op, once it ran that often

struct OpsOptions {
  std::string backend, filter;
  int threads = 0, repeats = 25;
  std::vector<int> cpus;
  bool json = false;
};

Result<std::vector<OpCase>> wanted_cases(const Kernels& kernels, const std::string& filter) {
  const Regex regex = TRY(Regex::compile(filter));
  std::vector<OpCase> wanted;
  for (OpCase& one : op_cases(kernels)) {
    std::vector<ByteSpan> matches;
    TRY(regex.find_all(one.name, matches));
    if (!matches.empty()) wanted.push_back(std::move(one));
  }
  if (wanted.empty())
    return invalid("--filter " + filter + ": no op's name matches; names are such as \"" +
                   op_cases(kernels).front().name + "\"");
  return wanted;
}

// Seconds of a call: the median.
double time_of(const ReadyOp& op, Stream& stream, int repeats) {
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const Clock::time_point begin = Clock::now();
  int64_t calls = 0;
  op.run(stream, calls++);  // pages are touched, threads awake
  std::vector<double> times;
  while (static_cast<int>(times.size()) < repeats) {
    if (static_cast<int>(times.size()) >= kLeastRepeats && seconds_since(begin) > kMostSeconds) break;
    const Clock::time_point start = Clock::now();
    op.run(stream, calls++);
    times.push_back(seconds_since(start));
  }
  return median(std::move(times));
}

void print_op(const OrderedJson& line) {
  const auto number = [&](const char* name) { return line[name].get<double>(); };
  std::printf("%-58s %9.4f ms %9.2f MB %9.4f GFLOP  %5.2f of the limit (%s: %.1f GB/s, %.0f GFLOP/s)\n",
              line["op"].get<std::string>().c_str(), number("milliseconds"), 1e3 * number("gigabytes"),
              number("gigaflops"), number("share_of_limit"), line["bound"].get<std::string>().c_str(),
              number("read_gb_per_second"), number("peak_gflop_per_second"));
  std::fflush(stdout);
}

Status bench_ops(const OpsOptions& o) {
  const DeviceChoice place = TRY(find_device(o.backend.empty() ? "cpu" : "", o.backend));
  if (!place.on_host())
    return unsupported("bench ops runs what the host does: --backend cpu, cpu.avx2 and the like, or ref");
  const Kernels& kernels = *place.kernels;
  const std::vector<OpCase> cases = TRY(wanted_cases(kernels, o.filter));
  ThreadPool pool(TRY(plan_workers(o.threads, o.cpus)));
  pool.place_caller();
  Stream stream = {&pool};
  OrderedJson lines = OrderedJson::array();
  Ceilings before;
  for (size_t i = 0; i < cases.size(); ++i) {
    const OpCase& one = cases[i];
    const ReadyOp op = one.prepare();
    if (i == 0 || one.peak != cases[i - 1].peak) before = measure_ceilings(pool, kernels.isa, one.peak);
    const double seconds = time_of(op, stream, o.repeats);
    const Ceilings after = measure_ceilings(pool, kernels.isa, one.peak);
    OrderedJson line = {{"op", one.name},
                        {"backend", kernels.name},
                        {"device", place.description()},
                        {"threads", pool.size()},
                        {"milliseconds", 1e3 * seconds}};
    line.update(work_line(op.work, seconds, mean(before, after)));
    if (!o.json) print_op(line);
    lines.push_back(std::move(line));
    before = after;
  }
  if (o.json) std::printf("%s\n", to_text(lines).c_str());
  return {};
}

}  // namespace

Command add_bench_ops(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("ops", "Time op by op in this process, beside what the machine could do");
  auto o = std::make_shared<OpsOptions>();
  command->add_option("--backend", o->backend,
                      "Backend: cpu, one instruction set such as cpu.avx2, or ref (default: cpu)");
  command->add_option("--filter", o->filter, "Regular expression: only ops whose name it matches");
  add_thread_options(*command, o->threads, o->cpus);
  command->add_option("--repeats", o->repeats, "Times that each is measured; medians are printed")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_flag("--json", o->json, "Print JSON");
  return {command, [o] { return bench_ops(*o); }};
}

}  // namespace heed
