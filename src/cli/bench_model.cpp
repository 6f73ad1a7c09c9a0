#include "cli/bench_model.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <random>

#include "model/synthetic.h"

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

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

Prompts random_prompts(int count, int length, int vocab) {
  std::mt19937 random(1);
  Prompts prompts(static_cast<size_t>(count));
  for (std::vector<int>& ids : prompts) {
    for (int i = 0; i < length; ++i) ids.push_back(static_cast<int>(random() % static_cast<unsigned>(vocab)));
  }
  return prompts;
}

// Hears the events of some requests.
class BatchTimes {
 public:
  explicit BatchTimes(size_t sequences) : sequences_(sequences), left_(sequences) {}

  void hear(const Event& event, bool is_first) {
    const double now = std::chrono::duration<double>(Clock::now() - start_).count();
    if (is_first) run_.firsts.push_back(now);
    const int token = event.id >= 0 && !is_first ? 1 : 0;
    run_.tokens += token;
    if (run_.firsts.size() == sequences_ && left_ == sequences_) {  // all of them are running
      together_ += token;
      together_until_ = now;
    }
    if (!event.finish) return;
    if (--left_ > 0) return;
    run_.first = run_.firsts.back();
    run_.all = now;
    run_.rate = rate();
    done_.set_value(run_);
  }
  BatchRun result() { return done_.get_future().get(); }

 private:  // on the engine's thread
  // While all sequences were running; where they never were, all tokens since the first one of any.
  double rate() const {
    if (together_ > 0 && together_until_ > run_.first) return together_ / (together_until_ - run_.first);
    return run_.all > run_.firsts.front() ? run_.tokens / (run_.all - run_.firsts.front()) : 0;
  }

  Clock::time_point start_ = Clock::now();
  size_t sequences_, left_;
  int together_ = 0;
  double together_until_ = 0;
  BatchRun run_;
  std::promise<BatchRun> done_;
};

}  // namespace

void add_bench_options(CLI::App& command, BenchModelOptions& o) {
  command.add_option("MODEL", o.model.model, "Folder of a Hugging Face checkpoint, or a GGUF file");
  std::string shapes;
  for (const std::string& name : synthetic_shapes()) shapes += (shapes.empty() ? "" : ", ") + name;
  command.add_option("--synthetic", o.shape, "Random weights of a published shape instead: " + shapes);
  add_runner_options(command, o.model.runner);
  add_engine_options(command, o.engine);
  add_sampling_options(command, o.sampling, 128);
  command.add_option("--prompts", o.prompts, "File with prompts, a JSON array of arrays of token ids");
  command.add_option("--input-len", o.input_len, "Tokens of each random prompt, where there is no file")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_flag("--json", o.json, "Print JSON");
}

Result<BenchModel> open_bench_model(const BenchModelOptions& o, int random) {
  if (o.model.model.empty() == o.shape.empty())
    return invalid("either a MODEL or --synthetic is expected, and not both");
  BenchModel model = {TRY(o.shape.empty() ? open_checkpoint(o.model.model) : synthetic_checkpoint(o.shape)),
                      {}};
  model.prompts = o.prompts.empty() ? random_prompts(random, o.input_len, model.checkpoint.spec.vocab)
                                    : TRY(read_prompts(o.prompts));
  return model;
}

Result<std::unique_ptr<Engine>> start_bench_engine(BenchModel& model, const BenchModelOptions& o,
                                                   int sequences) {
  EngineOptions options = o.engine;
  options.runner = o.model.runner;
  options.max_sequences = sequences;
  if (options.runner.max_len == 0) {
    size_t longest = 0;
    for (const std::vector<int>& ids : model.prompts) longest = std::max(longest, ids.size());
    options.runner.max_len =
        std::min(static_cast<int>(longest) + o.sampling.max_tokens, model.checkpoint.spec.max_positions);
  }
  return Engine::start(std::move(model.checkpoint), options, progress_bar());
}

Result<BatchRun> run_batch(Engine& engine, const BenchModelOptions& o, const Prompts& prompts, int size,
                           size_t from) {
  std::vector<Request> requests;
  for (int i = 0; i < size; ++i) {
    Request r = TRY(resolve(o.sampling, engine.checkpoint().generation));
    r.prompt = prompts[(from + static_cast<size_t>(i)) % prompts.size()];
    r.sampling.seed += from + static_cast<size_t>(i);
    requests.push_back(std::move(r));
  }
  BatchTimes times(requests.size());
  for (Request& request : requests) {
    request.on_event = [&times, heard = false](const Event& event) mutable {
      times.hear(event, !std::exchange(heard, true));
    };
    TRY(engine.submit(std::move(request)));
  }
  return times.result();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

Ceilings measure_ceilings(const Engine& engine) {
  const RunPlan& plan = engine.plan().run;
  if (!plan.place.on_host()) return {};
  ThreadPool pool(plan.workers);
  pool.place_caller();
  const Peak peak = plan.block_weights             ? Peak::kInt8
                    : plan.compute == DType::kBF16 ? Peak::kBfloat16
                                                   : Peak::kFloat32;
  return measure_ceilings(pool, plan.choice.kernels->isa, peak);
}

Ceilings measure_ceilings(ThreadPool& pool, std::string_view isa, Peak peak) {
  return {read_bandwidth(pool), peak_rate(pool, isa, peak)};
}

Ceilings mean(const Ceilings& a, const Ceilings& b) {
  return {(a.bytes + b.bytes) / 2, (a.flops + b.flops) / 2};
}

OrderedJson work_line(const StepWork& work, double seconds, const Ceilings& ceilings) {
  OrderedJson line = {{"gigabytes", work.bytes / 1e9}, {"gigaflops", work.flops / 1e9}};
  if (ceilings.bytes == 0 || seconds <= 0) return line;
  line["read_gb_per_second"] = ceilings.bytes / 1e9;
  line["peak_gflop_per_second"] = ceilings.flops / 1e9;
  line["bound"] = work.bytes / ceilings.bytes > work.flops / ceilings.flops ? "memory" : "compute";
  line["share_of_limit"] = std::max(work.bytes / ceilings.bytes, work.flops / ceilings.flops) / seconds;
  return line;
}

std::string describe_work(const OrderedJson& line) {
  if (!line.contains("share_of_limit")) return "";
  char text[160];
  const bool memory = line["bound"] == "memory";
  std::snprintf(text, sizeof text, "%.2f of the limit (%.2f %s at %.4g %s)",
                line["share_of_limit"].get<double>(), line[memory ? "gigabytes" : "gigaflops"].get<double>(),
                memory ? "GB" : "GFLOP",
                line[memory ? "read_gb_per_second" : "peak_gflop_per_second"].get<double>(),
                memory ? "GB/s" : "GFLOP/s");
  return text;
}

}  // namespace heed
