// The sub-commands and the options they share. Each add_* declares one on the application and, if it was the
// one given, run() of the result executes it.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/engine.h"

namespace heed {

struct Command {
  CLI::App* app = nullptr;
  std::function<Status()> run;
};

Command add_chat(CLI::App& app);
Command add_complete(CLI::App& app);
Command add_score(CLI::App& app);
Command add_tokenize(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_quantize(CLI::App& app);
std::vector<Command> add_bench(CLI::App& app);
Command add_bench_serve(CLI::App& bench);
Command add_bench_latency(CLI::App& bench);
Command add_bench_throughput(CLI::App& bench);
Command add_bench_ops(CLI::App& bench);
Command add_serve(CLI::App& app);
Command add_run_batch(CLI::App& app);

// MODEL and how to run it: what every command that reads a checkpoint takes.
struct ModelOptions {
  std::string model;
  RunnerOptions runner;
};
void add_model_options(CLI::App& app, ModelOptions& options);
// The same without MODEL.
void add_runner_options(CLI::App& app, RunnerOptions& options);

// --threads and --cpu-affinity.
void add_thread_options(CLI::App& app, int& threads, std::vector<int>& cpus);

// --speculative-config.
void add_speculation(CLI::App& app, SpeculativeOptions& options);

// Speculation, how many sequences and how much cache: what planning and serving take.
void add_engine_options(CLI::App& app, EngineOptions& options);

// Sampling as given on the command line; what was not given comes from generation_config.json.
struct SamplingOptions {
  Sampling given;
  std::vector<CLI::Option*> options;  // in the order of the fields of Sampling
  int max_tokens = 0;
  std::vector<std::string> stops;
  bool ignore_eos = false;
};
void add_sampling_options(CLI::App& app, SamplingOptions& options, int default_max_tokens);
// A request without a prompt.
Result<Request> resolve(const SamplingOptions& options, const GenerationConfig& defaults);

// Shows how far loading is, or what the word says, on a terminal.
Progress progress_bar(const char* word = "loading");

// An engine for one conversation. `max_len`: its longest sequence; 0: as the options say.
Result<std::unique_ptr<Engine>> start_engine(Checkpoint checkpoint, RunnerOptions options,
                                             SpeculativeOptions speculative, int max_len = 0);

// Token ids from a file that holds a JSON array of them.
Result<std::vector<int>> read_token_ids(const std::string& path);

// All of standard input.
std::string read_stdin();

}  // namespace heed
