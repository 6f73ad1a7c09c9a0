// How prefill and decoding grow with the context where every layer is recurrent: the first layers of small
// checkpoints of the tests, without those that attend. Prints a table: milliseconds a prompt, microseconds a
// token, and microseconds of the token behind it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "engine/runner.h"

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(Runner& runner, const char* model, int context) {
  std::vector<double> prefill;
  std::vector<double> decode;
  for (int repeat = 0; repeat < 3; ++repeat) {
    Sequence sequence;
    for (int i = 0; i < context; ++i)
      sequence.tokens.push_back(static_cast<int>(int64_t{i} * 7919 % runner.spec().vocab));
    const auto start = Clock::now();
    (void)runner.prefill(sequence, 1).value();
    prefill.push_back(milliseconds_since(start));
    for (int i = 0; i < 15; ++i) {
      sequence.tokens.push_back(i);
      const auto token = Clock::now();
      (void)runner.prefill(sequence, 1).value();
      decode.push_back(1000 * milliseconds_since(token));
    }
    runner.cache().release(sequence);
  }
  std::printf("%-12s %8d %10.1f ms %8.2f us a token %8.0f us the next\n", model, context, median(prefill),
              1000 * median(prefill) / context, median(decode));
}

void run(const char* model, int layers) {
  Checkpoint checkpoint = open_checkpoint(std::string(HEED_SOURCE_DIR) + "/tests/golden/" + model).value();
  for (size_t i = layers; i < checkpoint.spec.layers.size(); ++i)
    checkpoint.spec.ignored.push_back("model.layers." + std::to_string(i) + ".*");
  checkpoint.spec.layers.resize(layers);
  const auto runner =
      Runner::load(std::move(checkpoint), {.dtype = "float32", .max_len = (1 << 15) + 16}).value();
  for (int context = 1 << 10; context <= 1 << 15; context *= 2) measure(*runner, model, context);
}

}  // namespace
}  // namespace heed

int main() {
  heed::run("qwen3_next", 3);  // gated delta nets
  heed::run("minimax", 1);     // linear attention
}
