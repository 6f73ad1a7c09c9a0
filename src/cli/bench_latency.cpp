// heed bench latency: how fast a model answers in this process, without a server: time to the first token and
// tokens a second, for one or more numbers of sequences at a time.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <random>

#include "cli/commands.h"
#include "model/synthetic.h"

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

struct LatencyOptions {
  ModelOptions model;
  std::string shape;
  EngineOptions engine;
  SamplingOptions sampling;
  std::string prompts;
  std::vector<int> batches = {1};
  int input_len = 128, repeats = 3;
  bool json = false;
};

using Prompts = std::vector<std::vector<int>>;

Result<Prompts> read_prompts(const std::string& path) {
  const Json document = TRY(read_json(path));
  Prompts prompts;
  for (const Json& list : document.is_array() ? document : Json::array()) {
    if (!list.is_array() || list.empty()) break;
    std::vector<int>& ids = prompts.emplace_back();
    for (const Json& id : list) {
      if (!id.is_number_unsigned() || id > INT32_MAX)
        return invalid(path + ": prompt " + std::to_string(prompts.size() - 1) +
                       " holds what is no token id");
      ids.push_back(id.get<int>());
    }
  }
  if (prompts.empty()) return invalid(path + ": a JSON array of arrays of token ids is expected");
  return prompts;
}

// Always the same ones.
Prompts random_prompts(int count, int length, int vocab) {
  std::mt19937 random(1);
  Prompts prompts(static_cast<size_t>(count));
  for (std::vector<int>& ids : prompts) {
    for (int i = 0; i < length; ++i) ids.push_back(static_cast<int>(random() % static_cast<unsigned>(vocab)));
  }
  return prompts;
}

// One batch, from its submission to its last token.
struct Run {
  double first = 0;   // seconds until each sequence had its first token
  double decode = 0;  // and from then to the last token of all
  int tokens = 0;     // after the first ones
};

class Batch {
 public:
  explicit Batch(size_t sequences) : left_(sequences), no_first_(sequences) {}

  void hear(const Event& event, bool is_first) {
    const double now = std::chrono::duration<double>(Clock::now() - start_).count();
    if (is_first && --no_first_ == 0) run_.first = now;
    run_.tokens += event.id >= 0 && !is_first ? 1 : 0;
    if (!event.finish) return;
    if (--left_ > 0) return;
    run_.decode = now - run_.first;
    done_.set_value(run_);
  }
  Run result() { return done_.get_future().get(); }

 private:  // on the engine's thread
  Clock::time_point start_ = Clock::now();
  size_t left_, no_first_;
  Run run_;
  std::promise<Run> done_;
};

Result<Run> run_batch(Engine& engine, const LatencyOptions& o, const Prompts& prompts, int size,
                      size_t from) {
  std::vector<Request> requests;
  for (int i = 0; i < size; ++i) {
    Request r = TRY(resolve(o.sampling, engine.checkpoint().generation));
    r.prompt = prompts[(from + static_cast<size_t>(i)) % prompts.size()];
    r.sampling.seed += from + static_cast<size_t>(i);
    requests.push_back(std::move(r));
  }
  Batch batch(requests.size());
  for (Request& request : requests) {
    request.on_event = [&batch, heard = false](const Event& event) mutable {
      batch.hear(event, !std::exchange(heard, true));
    };
    TRY(engine.submit(std::move(request)));
  }
  return batch.result();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

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
OrderedJson steps_between(const DeviceTimes& before, const DeviceTimes& after) {
  const auto steps = static_cast<double>(std::max<int64_t>(after.steps - before.steps, 1));
  const auto each = [&](double DeviceTimes::*field) { return 1e6 * (after.*field - before.*field) / steps; };
  return {{"steps", after.steps - before.steps},
          {"replayed", after.replayed - before.replayed},
          {"send_us", each(&DeviceTimes::send_seconds)},
          {"launch_us", each(&DeviceTimes::launch_seconds)},
          {"wait_us", each(&DeviceTimes::wait_seconds)}};
}

Result<OrderedJson> measure(Engine& engine, const LatencyOptions& o, const Prompts& prompts, int size) {
  std::vector<double> first;
  std::vector<double> rate;
  const bool on_host = engine.plan().run.place.on_host();
  for (int i = 0; i < (on_host ? 0 : 2); ++i) {  // what a device sets up on first use, and records
    engine.forget_prefixes();
    TRY(run_batch(engine, o, prompts, size, 0));
  }
  engine.drain();
  const EngineStats before = engine.stats();
  for (int repeat = 0; repeat < o.repeats; ++repeat) {
    engine.forget_prefixes();
    const Run run = TRY(run_batch(engine, o, prompts, size, static_cast<size_t>(repeat) * size));
    first.push_back(run.first);
    rate.push_back(run.decode > 0 ? run.tokens / run.decode : 0);
  }
  engine.drain();
  OrderedJson line = {
      {"batch", size}, {"first_token_seconds", median(first)}, {"decode_tokens_per_second", median(rate)}};
  line["device"] = engine.plan().run.place.description();
  if (!on_host) line["each_step"] = steps_between(before.device, engine.stats().device);
  const int most = engine.plan().drafts;
  if (most > 0) line["speculation"] = guesses_between(before, engine.stats(), most);
  return line;
}

void print(const OrderedJson& line) {
  std::printf("batch %4d   first token %8.2f ms   decode %9.1f tok/s", line["batch"].get<int>(),
              1e3 * line["first_token_seconds"].get<double>(),
              line["decode_tokens_per_second"].get<double>());
  if (line.contains("speculation")) {
    const OrderedJson& s = line["speculation"];
    std::printf("   %.2f tokens a step, right up to place 1, 2, ...:",
                s["mean_acceptance_length"].get<double>());
    for (const OrderedJson& share : s["accepted_per_position"]) std::printf(" %.2f", share.get<double>());
  }
  std::printf("\n");
  std::fflush(stdout);
}

Status bench_latency(const LatencyOptions& o) {
  if (o.model.model.empty() == o.shape.empty())
    return invalid("either a MODEL or --synthetic is expected, and not both");
  Checkpoint checkpoint =
      TRY(o.shape.empty() ? open_checkpoint(o.model.model) : synthetic_checkpoint(o.shape));
  const int largest = *std::max_element(o.batches.begin(), o.batches.end());
  const Prompts prompts = o.prompts.empty()
                              ? random_prompts(largest * o.repeats, o.input_len, checkpoint.spec.vocab)
                              : TRY(read_prompts(o.prompts));
  EngineOptions options = o.engine;
  options.runner = o.model.runner;
  options.max_sequences = largest;
  if (options.runner.max_len == 0) {
    size_t longest = 0;
    for (const std::vector<int>& ids : prompts) longest = std::max(longest, ids.size());
    options.runner.max_len =
        std::min(static_cast<int>(longest) + o.sampling.max_tokens, checkpoint.spec.max_positions);
  }
  const auto engine = TRY(Engine::start(std::move(checkpoint), options, progress_bar()));
  TRY(run_batch(*engine, o, prompts, 1, 0));  // pages are touched, threads awake
  OrderedJson lines = OrderedJson::array();
  for (const int size : o.batches) {
    lines.push_back(TRY(measure(*engine, o, prompts, size)));
    if (!o.json) print(lines.back());
  }
  if (o.json) std::printf("%s\n", to_text(lines).c_str());
  return {};
}

}  // namespace

Command add_bench_latency(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("latency", "Time a model in this process: first token, and tokens a second");
  auto o = std::make_shared<LatencyOptions>();
  command->add_option("MODEL", o->model.model, "Folder of a Hugging Face checkpoint");
  std::string shapes;
  for (const std::string& name : synthetic_shapes()) shapes += (shapes.empty() ? "" : ", ") + name;
  command->add_option("--synthetic", o->shape, "Random weights of a published shape instead: " + shapes);
  add_runner_options(*command, o->model.runner);
  add_engine_options(*command, o->engine);
  add_sampling_options(*command, o->sampling, 128);
  command->add_option("--prompts", o->prompts, "File with prompts, a JSON array of arrays of token ids");
  command->add_option("--input-len", o->input_len, "Tokens of each random prompt, where there is no file")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--batch", o->batches, "Sequences at a time: one number or several, with commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--repeats", o->repeats, "Times that each is measured; medians are printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", o->json, "Print one JSON array");
  return {command, [o] { return bench_latency(*o); }};
}

}  // namespace heed
