// What the commands that time a model in this process share: the model, prompts, a batch of them, and what
// the machine could do at best.
#pragma once
#include <string>
#include <vector>

#include "cli/commands.h"
#include "engine/work.h"
#include "kernels/cpu/peak.h"

namespace heed {

struct BenchModelOptions {
  ModelOptions model;
  std::string shape;  // random weights instead
  EngineOptions engine;
  SamplingOptions sampling;
  std::string prompts;  // a file
  int input_len = 128;
  bool json = false;
};
void add_bench_options(CLI::App& command, BenchModelOptions& options);

using Prompts = std::vector<std::vector<int>>;

// The checkpoint or the shape, and the prompts: from the file, or `random` ones, always the same.
struct BenchModel {
  Checkpoint checkpoint;
  Prompts prompts;
};
Result<BenchModel> open_bench_model(const BenchModelOptions& options, int random);
// An engine for `sequences` of the longest prompt's size at a time.
Result<std::unique_ptr<Engine>> start_bench_engine(BenchModel& model, const BenchModelOptions& options,
                                                   int sequences);

// Requests that are submitted at once, from their submission to the last token of all.
struct BatchRun {
  double first = 0;            // seconds until each sequence had its first token
  double all = 0;              // until the last token of all
  int tokens = 0;              // after the first ones
  double rate = 0;             // of these, a second, while all sequences were running
  std::vector<double> firsts;  // of each sequence
};
Result<BatchRun> run_batch(Engine& engine, const BenchModelOptions& options, const Prompts& prompts, int size,
                           size_t from);

double median(std::vector<double> values);

// The host's reading speed and rate of computing with the engine's threads, measured; nothing where the model
// runs elsewhere.
struct Ceilings {
  double bytes = 0, flops = 0;  // a second
};
Ceilings measure_ceilings(const Engine& engine);
Ceilings measure_ceilings(ThreadPool& pool, std::string_view isa, Peak peak);
Ceilings mean(const Ceilings& a, const Ceilings& b);

// {"gigabytes", "gigaflops", "seconds", ..., "share_of_limit"}: work that took so long, beside the ceilings.
OrderedJson work_line(const StepWork& work, double seconds, const Ceilings& ceilings);
// "0.93 of the limit (1.09 GB at 21.3 GB/s)", for people; "" without ceilings.
std::string describe_work(const OrderedJson& line);

}  // namespace heed
