// heed bench latency: how fast a model answers in this process, without a server: time to the first token and
// tokens a second, for one or more numbers of sequences at a time, beside what the machine could do at best.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/file.h"
#include "cli/bench_model.h"
#include "cli/timeline.h"

namespace heed {
namespace {

struct LatencyOptions : BenchModelOptions {
  std::vector<int> batches = {1};
  int repeats = 3;
  std::string timeline;  // a file
};

// Of the guesses between two readings: how many tokens a step with guesses came to, and which share of such
// steps had guesses right up to each place.
OrderedJson guesses_between(const EngineStats& before, const EngineStats& after, int most) {
  const auto steps = static_cast<double>(std::max<uint64_t>(after.drafts - before.drafts, 1));
  OrderedJson shares = OrderedJson::array();
  for (int i = 0; i < most; ++i)
    shares.push_back(static_cast<double>(after.accepted_at[i] - before.accepted_at[i]) / steps);
  const uint64_t accepted = after.accepted_tokens - before.accepted_tokens;
  return {{"steps", after.drafts - before.drafts},
          {"drafted_tokens", after.draft_tokens - before.draft_tokens},
          {"accepted_tokens", accepted},
          {"mean_acceptance_length", 1 + static_cast<double>(accepted) / steps},
          {"accepted_per_position", shares}};
}

// Where the host's time went in the steps of an accelerator between two readings, each, in microseconds.
OrderedJson steps_between(const EngineStats& stats_before, const EngineStats& stats_after) {
  const DeviceTimes& before = stats_before.device;
  const DeviceTimes& after = stats_after.device;
  const auto steps = static_cast<double>(std::max<int64_t>(after.steps - before.steps, 1));
  const auto each = [&](double DeviceTimes::*field) { return 1e6 * (after.*field - before.*field) / steps; };
  return {{"steps", after.steps - before.steps},
          {"replayed", after.replayed - before.replayed},
          {"ahead", stats_after.steps_ahead - stats_before.steps_ahead},
          {"send_us", each(&DeviceTimes::send_seconds)},
          {"launch_us", each(&DeviceTimes::launch_seconds)},
          {"wait_us", each(&DeviceTimes::wait_seconds)}};
}

// A prompt of the mean length.
int mean_length(const Prompts& prompts) {
  size_t tokens = 0;
  for (const std::vector<int>& ids : prompts) tokens += ids.size();
  return static_cast<int>(tokens / prompts.size());
}

// One repeat, and what the machine could do around it: shared machines change within seconds, so a share of
// the limit is taken of each by itself.
struct Repeat {
  double first = 0;  // seconds
  double rate = 0;   // tokens a second after the first ones
  Ceilings ceilings;
};

double median_of(const std::vector<Repeat>& repeats, double Repeat::*field) {
  std::vector<double> values;
  for (const Repeat& repeat : repeats) values.push_back(repeat.*field);
  return median(std::move(values));
}

// The same work in each repeat, where one took seconds_of(repeat): medians, of the shares too.
template <class SecondsOf>
OrderedJson work_of_repeats(const StepWork& work, const std::vector<Repeat>& repeats, SecondsOf seconds_of) {
  std::vector<double> seconds;
  std::vector<double> shares;
  Ceilings sum;
  for (const Repeat& repeat : repeats) {
    seconds.push_back(seconds_of(repeat));
    const OrderedJson line = work_line(work, seconds.back(), repeat.ceilings);
    if (line.contains("share_of_limit")) shares.push_back(line["share_of_limit"]);
    sum = {sum.bytes + repeat.ceilings.bytes, sum.flops + repeat.ceilings.flops};
  }
  const auto count = static_cast<double>(repeats.size());
  OrderedJson line = work_line(work, median(std::move(seconds)), {sum.bytes / count, sum.flops / count});
  if (shares.empty()) return line;
  line["shares"] = shares;
  line["share_of_limit"] = median(std::move(shares));
  return line;
}

// What the first tokens and a later step have to do, beside the times.
void add_work(const Engine& engine, const LatencyOptions& o, const Prompts& prompts,
              const std::vector<Repeat>& repeats, OrderedJson& line) {
  const int size = line["batch"];
  const int length = mean_length(prompts);
  const std::vector<SequenceStep> prefill(static_cast<size_t>(size), {0, length});
  line["prompt_tokens_per_second"] = size * length / line["first_token_seconds"].get<double>();
  line["prefill"] = work_of_repeats(work_of(engine.runner(), prefill), repeats,
                                    [](const Repeat& repeat) { return repeat.first; });
  if (engine.plan().drafts > 0 || line["decode_tokens_per_second"] == 0) return;
  const std::vector<SequenceStep> step(static_cast<size_t>(size), {length + o.sampling.max_tokens / 2, 1});
  line["decode_step"] = work_of_repeats(work_of(engine.runner(), step), repeats, [&](const Repeat& repeat) {
    return repeat.rate > 0 ? size / repeat.rate : 0;
  });
}

// timeline: gets the steps of the last repeat, where the engine notes them.
Result<OrderedJson> measure(Engine& engine, const LatencyOptions& o, const Prompts& prompts, int size,
                            Timeline& timeline) {
  const bool on_host = engine.plan().run.place.on_host();
  for (int i = 0; i < (on_host ? 0 : 2); ++i) {  // what a device sets up on first use, and records
    engine.forget_prefixes();
    TRY(run_batch(engine, o, prompts, size, 0));
  }
  engine.drain();
  std::vector<Repeat> repeats;
  Ceilings before = measure_ceilings(engine);
  const EngineStats stats = engine.stats();
  for (int i = 0; i < o.repeats; ++i) {
    engine.forget_prefixes();
    engine.take_traced();
    const BatchRun run = TRY(run_batch(engine, o, prompts, size, static_cast<size_t>(i) * size));
    engine.drain();
    const Ceilings after = measure_ceilings(engine);
    repeats.push_back(
        {.first = run.first, .rate = run.rate, .ceilings = mean(std::exchange(before, after), after)});
  }
  OrderedJson line = {{"batch", size},
                      {"first_token_seconds", median_of(repeats, &Repeat::first)},
                      {"decode_tokens_per_second", median_of(repeats, &Repeat::rate)}};
  line["device"] = engine.plan().run.place.description();
  add_work(engine, o, prompts, repeats, line);
  if (!on_host) line["each_step"] = steps_between(stats, engine.stats());
  timeline = {.name = "batch " + std::to_string(size), .steps = engine.take_traced()};
  if (!o.timeline.empty()) line["timeline"] = summary_of(timeline.steps);
  const int most = engine.plan().drafts;
  if (most > 0) line["speculation"] = guesses_between(stats, engine.stats(), most);
  return line;
}

void print(const OrderedJson& line) {
  std::printf("batch %4d   first token %8.2f ms, %.0f prompt tokens/s   decode %9.1f tok/s\n",
              line["batch"].get<int>(), 1e3 * line["first_token_seconds"].get<double>(),
              line["prompt_tokens_per_second"].get<double>(), line["decode_tokens_per_second"].get<double>());
  for (const char* part : {"prefill", "decode_step"}) {
    const std::string text = line.contains(part) ? describe_work(line[part]) : "";
    if (!text.empty())
      std::printf("  %-11s %s\n", part == std::string("prefill") ? "first token" : "decode", text.c_str());
  }
  if (line.contains("timeline") && line["timeline"]["steps"] > 0) {
    const OrderedJson& t = line["timeline"];
    std::printf("  each step   device %.0f us, idle before the next %.0f us; host at work %.0f us\n",
                t["device_us"].get<double>(), t["device_idle_us"].get<double>(), t["host_us"].get<double>());
  }
  if (line.contains("speculation")) {
    const OrderedJson& s = line["speculation"];
    std::printf("  %.2f tokens a step, right up to place 1, 2, ...:",
                s["mean_acceptance_length"].get<double>());
    for (const OrderedJson& share : s["accepted_per_position"]) std::printf(" %.2f", share.get<double>());
    std::printf("\n");
  }
  std::fflush(stdout);
}

Status bench_latency(const LatencyOptions& o) {
  const int largest = *std::max_element(o.batches.begin(), o.batches.end());
  BenchModel model = TRY(open_bench_model(o, largest * o.repeats));
  const auto engine = TRY(start_bench_engine(model, o, largest));
  if (!o.timeline.empty() && engine->plan().run.place.on_host())
    return invalid("--timeline shows the steps of a device, and the model runs on the host: see --device");
  TRY(run_batch(*engine, o, model.prompts, 1, 0));  // pages are touched, threads awake
  OrderedJson lines = OrderedJson::array();
  std::vector<Timeline> timelines;
  for (const int size : o.batches) {
    lines.push_back(TRY(measure(*engine, o, model.prompts, size, timelines.emplace_back())));
    if (!o.json) print(lines.back());
  }
  if (!o.timeline.empty()) TRY(write_file(o.timeline, to_text(trace_events(timelines))));
  if (o.json) std::printf("%s\n", to_text(lines).c_str());
  return {};
}

}  // namespace

Command add_bench_latency(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("latency", "Time a model in this process: first token, and tokens a second");
  auto o = std::make_shared<LatencyOptions>();
  add_bench_options(*command, *o);
  command->add_option("--batch", o->batches, "Sequences at a time: one number or several, with commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option(
      "--timeline", o->timeline,
      "Write to this file when each step of the last repeat ran on the device and when the host "
      "worked for it, for Perfetto or chrome://tracing");
  command->add_option("--repeats", o->repeats, "Times that each is measured; medians are printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  return {command, [o] {
            o->engine.trace_steps = !o->timeline.empty();
            return bench_latency(*o);
          }};
}

}  // namespace heed
