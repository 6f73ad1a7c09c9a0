// Figures of a load on a server, computed and laid out as `vllm bench serve` does, so that outputs can be
// compared line by line. Source: vLLM, vllm/benchmarks/serve.py (2026).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace heed {

enum class OutcomeKind {
  kCompleted,
  kFailed,
  kDisconnected,  // we hung up on purpose
  kRefused,       // it was malformed on purpose, and refused as it should
};

// One request, as the client saw it. Times in seconds.
struct Outcome {
  OutcomeKind kind = OutcomeKind::kFailed;
  double start = 0;          // since the load began
  double ttft = 0;           // from start to the first piece of text
  std::vector<double> itls;  // between pieces of text
  double latency = 0;        // from start to the last piece
  int prompt_tokens = 0;
  int output_tokens = 0;
  std::string text;   // if kept
  std::string error;  // of a failed one
};

// The p-th percentile, 0 to 100, linear between neighbours, as numpy.percentile; 0 of nothing. Sorts.
double percentile(std::vector<double> values, double p);

struct Spread {  // milliseconds
  double mean = 0, median = 0, standard_deviation = 0;
  std::vector<std::pair<double, double>> percentiles;  // p, value
};

struct LoadSummary {
  int completed = 0, failed = 0, disconnected = 0, refused = 0;
  double duration = 0;
  int64_t input_tokens = 0, output_tokens = 0;                                 // of completed requests
  double request_throughput = 0, output_throughput = 0, total_throughput = 0;  // per second
  std::optional<double> goodput;          // requests per second within the limits
  double peak_output_throughput = 0;      // tokens in the best second
  int peak_concurrent = 0;                // requests in the fullest second
  std::map<std::string, Spread> spreads;  // ttft, tpot, itl, e2el
};

// `goodput`: longest ttft, tpot and e2el in milliseconds, any of them; empty: not asked for.
LoadSummary summarise(const std::vector<Outcome>& outcomes, double duration,
                      const std::vector<double>& percentiles, const std::map<std::string, double>& goodput);

struct ReportOptions {
  std::vector<std::string> metrics = {"ttft", "tpot", "itl"};  // which to show, of ttft, tpot, itl, e2el
  int max_concurrency = 0;                                     // 0: unbounded
  std::optional<double> request_rate;                          // absent: infinite
  bool abuse = false;                                          // tell of disconnected and refused ones
};
std::string report_text(const LoadSummary& summary, const ReportOptions& options);

// With vLLM's names. `detailed`: each request's figures too.
OrderedJson report_json(const LoadSummary& summary, const ReportOptions& options,
                        const std::vector<Outcome>& outcomes, bool detailed);

}  // namespace heed
