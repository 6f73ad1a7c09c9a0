// What a decode step costs on the engine's thread besides the model and sampling: who runs, pages, the batch,
// and what is kept of it afterwards. A null model: nothing is computed, every sequence gets a token a step.
//
//   warm   steps one after another
//   cold   64 MiB are written between steps, as a model's own memory traffic would push everything out
//
// Contexts begin between 1,000 and 4,000 tokens. median_us is the median over the steps of a repetition,
// which a busy machine disturbs least.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "base/check.h"
#include "engine/scheduler.h"

namespace heed {
namespace {

constexpr int kBlock = 16;
constexpr int kSteps = 512;  // a repetition
constexpr int kLongest = 4000 + kSteps + 1;

// As many layers of each kind as the model has; heads of one element, because only page counts matter here.
CacheLayout layout_of(int local_layers, const Mask& local, int global_layers) {
  std::vector<KvSpec> layers;
  for (int i = 0; i < local_layers + global_layers; ++i) {
    layers.push_back(
        {.kv_heads = 1, .k_dim = 1, .v_dim = 1, .mask = i < local_layers ? local : Mask(causal())});
  }
  return plan_cache(layers, DType::kBF16, kBlock, kBlock).value();
}

CacheLayout layout_named(int index) {
  if (index == 0) return layout_of(0, causal(), 16);                // one group, as Llama
  if (index == 1) return layout_of(4, causal() & chunk(64, 1), 2);  // bard
  return layout_of(52, causal() & window(1024), 10);                // as Gemma 3 27B
}
const char* const kLayouts[] = {"one group", "chunked + full", "sliding + full"};

class NullEngine {
 public:
  NullEngine(const CacheLayout& layout, int sequences)
      : cache_(layout, {.pages = static_cast<int>(most_pages(layout, kLongest, kLongest) * sequences),
                        .max_len = kLongest,
                        .sequences = sequences,
                        .prefix_caching = true}),
        scheduler_(cache_, {.step_tokens = 1 << 28, .sequences = sequences}) {
    for (int i = 0; i < sequences; ++i) {
      auto job = std::make_unique<Job>();
      job->arrival = static_cast<uint64_t>(i);
      job->prompt = 1000 + static_cast<int>((i * int64_t{733}) % 3000);
      job->sequence.tokens.resize(job->prompt);
      for (int& token : job->sequence.tokens)
        token = static_cast<int>(random_ = random_ * 1103515245U + 12345U) & 4095;
      scheduler_.add(job.get());
      jobs_.push_back(std::move(job));
    }
    const std::vector<Scheduler::Item>& prefill = scheduler_.next();
    CHECK(static_cast<int>(prefill.size()) == sequences, prefill.size());
    take_in(prefill);
  }

  int64_t step() {
    const std::vector<Scheduler::Item>& items = scheduler_.next();
    scheduled_.clear();
    for (const Scheduler::Item& item : items) {
      scheduled_.push_back(
          {.sequence = &item.job->sequence, .count = item.count, .logit_count = item.logit_count});
    }
    build_batch(cache_, scheduled_, batch_);
    benchmark::DoNotOptimize(batch_.groups.front().slots.data());
    take_in(items);
    return static_cast<int64_t>(items.size());
  }

 private:
  void take_in(const std::vector<Scheduler::Item>& items) {
    for (const Scheduler::Item& item : items) {
      Sequence& sequence = item.job->sequence;
      sequence.computed += item.count;
      cache_.commit(sequence);
      sequence.tokens.push_back(7);
    }
  }

  Cache cache_;
  Scheduler scheduler_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::vector<Scheduled> scheduled_;
  Batch batch_;
  uint32_t random_ = 1;
};

void decode(benchmark::State& state, bool cold) {
  const auto sequences = static_cast<int>(state.range(0));
  NullEngine engine(layout_named(static_cast<int>(state.range(1))), sequences);
  std::vector<char> other(cold ? 64 << 20 : 0);
  std::vector<double> times;
  for (auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores): the library's own idiom
    for (size_t i = 0; i < other.size(); i += 64) ++other[i];
    const auto start = std::chrono::steady_clock::now();
    const int64_t ran = engine.step();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    state.SetIterationTime(times.back());
    CHECK(ran == sequences, ran, sequences);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  state.counters["median_us"] = times[times.size() / 2] * 1e6;
  state.SetLabel(kLayouts[state.range(1)]);
}

void warm(benchmark::State& state) { decode(state, false); }
void cold(benchmark::State& state) { decode(state, true); }

BENCHMARK(warm)
    ->ArgsProduct({{1, 16, 64, 256, 1024, 4096}, {0, 1, 2}})
    ->ArgNames({"sequences", "layout"})
    ->Iterations(kSteps)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(cold)
    ->ArgsProduct({{1, 256, 4096}, {0, 1, 2}})
    ->ArgNames({"sequences", "layout"})
    ->Iterations(kSteps / 8)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace heed

BENCHMARK_MAIN();
