// heed bench throughput: many requests at once in this process, without a server: tokens a second in and out
// while the engine batches them as it likes.
#include <algorithm>
#include <cstdio>

#include "cli/bench_model.h"

namespace heed {
namespace {

struct ThroughputOptions : BenchModelOptions {
  int requests = 64;
};

Status bench_throughput(const ThroughputOptions& o) {
  BenchModel model = TRY(open_bench_model(o, o.requests));
  const auto engine = TRY(start_bench_engine(model, o, std::min(o.requests, o.engine.max_sequences)));
  TRY(run_batch(*engine, o, model.prompts, 1, 0));  // pages are touched, threads awake
  engine->forget_prefixes();
  engine->drain();
  const EngineStats before = engine->stats();
  BatchRun run = TRY(run_batch(*engine, o, model.prompts, o.requests, 0));
  engine->drain();
  const EngineStats after = engine->stats();
  const auto in = static_cast<double>(after.prompt_tokens - before.prompt_tokens);
  const auto out = static_cast<double>(after.generated_tokens - before.generated_tokens);
  std::sort(run.firsts.begin(), run.firsts.end());
  const auto first_of = [&](double share) {
    return run.firsts[static_cast<size_t>(share * static_cast<double>(run.firsts.size() - 1))];
  };
  const OrderedJson line = {{"requests", o.requests},
                            {"seconds", run.all},
                            {"prompt_tokens", in},
                            {"output_tokens", out},
                            {"requests_per_second", o.requests / run.all},
                            {"output_tokens_per_second", out / run.all},
                            {"total_tokens_per_second", (in + out) / run.all},
                            {"first_token_seconds_p50", first_of(0.5)},
                            {"first_token_seconds_p99", first_of(0.99)},
                            {"steps", after.steps - before.steps},
                            {"preemptions", after.preemptions - before.preemptions},
                            {"device", engine->plan().run.place.description()}};
  if (o.json) {
    std::printf("%s\n", to_text(line).c_str());
    return {};
  }
  std::printf("%d requests in %.2f s: %.2f requests/s, %.0f tokens/s in and out, %.0f out\n", o.requests,
              run.all, o.requests / run.all, (in + out) / run.all, out / run.all);
  std::printf("first token: half of them within %.2f s, 99 %% within %.2f s\n", first_of(0.5),
              first_of(0.99));
  return {};
}

}  // namespace

Command add_bench_throughput(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("throughput", "Run many requests at once in this process: tokens a second");
  auto o = std::make_shared<ThroughputOptions>();
  add_bench_options(*command, *o);
  command->add_option("--num-prompts", o->requests, "Requests")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  return {command, [o] { return bench_throughput(*o); }};
}

}  // namespace heed
