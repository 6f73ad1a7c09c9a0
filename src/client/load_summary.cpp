#include "client/load_summary.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace heed {
namespace {

double at_percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  const double position = p / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = std::min(static_cast<size_t>(position), sorted.size() - 1);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - static_cast<double>(below));
}

Spread spread_of(std::vector<double> seconds, const std::vector<double>& percentiles) {
  Spread spread;
  std::sort(seconds.begin(), seconds.end());
  const double count = std::max(1.0, static_cast<double>(seconds.size()));
  const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / count;
  double squares = 0;
  for (const double value : seconds) squares += (value - mean) * (value - mean);
  spread.mean = mean * 1000;
  spread.standard_deviation = std::sqrt(squares / count) * 1000;
  spread.median = at_percentile(seconds, 50) * 1000;
  for (const double p : percentiles) spread.percentiles.emplace_back(p, at_percentile(seconds, p) * 1000);
  return spread;
}

// Seconds per token after the first; 0 where there is none.
double tpot_of(const Outcome& outcome) {
  return outcome.output_tokens > 1 ? (outcome.latency - outcome.ttft) / (outcome.output_tokens - 1) : 0;
}

bool is_good(const Outcome& outcome, const std::map<std::string, double>& limits) {
  const std::pair<const char*, double> values[] = {
      {"ttft", outcome.ttft}, {"tpot", tpot_of(outcome)}, {"e2el", outcome.latency}};
  return std::all_of(std::begin(values), std::end(values), [&](const auto& value) {
    const auto limit = limits.find(value.first);
    return limit == limits.end() || value.second * 1000 <= limit->second;
  });
}

// Counts in seconds from the first request's start. A piece of text stands for as many tokens as the
// request's tokens over its pieces: for one unless the server joins tokens.
void find_peaks(const std::vector<Outcome>& outcomes, LoadSummary& summary) {
  double begin = INFINITY, end = 0;
  for (const Outcome& o : outcomes) {
    if (o.kind != OutcomeKind::kCompleted) continue;
    begin = std::min(begin, o.start);
    end = std::max(end, o.start + o.latency);
  }
  if (end < begin) return;
  std::vector<double> tokens(static_cast<size_t>(end - begin) + 2);
  std::vector<int> concurrent(tokens.size());
  for (const Outcome& o : outcomes) {
    if (o.kind != OutcomeKind::kCompleted) continue;
    const double weight = o.output_tokens / (1 + static_cast<double>(o.itls.size()));
    double time = o.start - begin + o.ttft;
    tokens[static_cast<size_t>(time)] += weight;
    for (const double itl : o.itls) {
      time += itl;
      tokens[std::min(static_cast<size_t>(time), tokens.size() - 1)] += weight;
    }
    const auto last = static_cast<size_t>(o.start - begin + o.latency);
    for (auto second = static_cast<size_t>(o.start - begin); second <= last; ++second) ++concurrent[second];
  }
  summary.peak_output_throughput = *std::max_element(tokens.begin(), tokens.end());
  summary.peak_concurrent = *std::max_element(concurrent.begin(), concurrent.end());
}

void count(const std::vector<Outcome>& outcomes, LoadSummary& summary) {
  for (const Outcome& o : outcomes) {
    switch (o.kind) {
      case OutcomeKind::kCompleted:
        ++summary.completed;
        summary.input_tokens += o.prompt_tokens;
        summary.output_tokens += o.output_tokens;
        break;
      case OutcomeKind::kFailed:
        ++summary.failed;
        break;
      case OutcomeKind::kDisconnected:
        ++summary.disconnected;
        break;
      case OutcomeKind::kRefused:
        ++summary.refused;
        break;
    }
  }
}

struct MetricName {
  const char *key, *name, *title;
};
constexpr MetricName kMetrics[] = {{"ttft", "TTFT", "Time to First Token"},
                                   {"tpot", "TPOT", "Time per Output Token (excl. 1st token)"},
                                   {"itl", "ITL", "Inter-token Latency"},
                                   {"e2el", "E2EL", "End-to-end Latency"}};

// A title in the middle of a line of 50.
std::string headline(const std::string& title, char fill) {
  const size_t room = 50 - std::min<size_t>(50, title.size());
  return std::string(room / 2, fill) + title + std::string(room - room / 2, fill) + "\n";
}

std::string line(const std::string& label, const std::string& value) {
  char text[128];
  std::snprintf(text, sizeof text, "%-40s %-10s\n", label.c_str(), value.c_str());
  return text;
}
std::string line(const std::string& label, int64_t value) { return line(label, std::to_string(value)); }
std::string line(const std::string& label, double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  return line(label, std::string(text));
}

std::string percentile_name(double p) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", p);
  return text;
}

bool is_shown(const ReportOptions& options, const char* metric) {
  return std::find(options.metrics.begin(), options.metrics.end(), metric) != options.metrics.end();
}

std::string spread_text(const MetricName& metric, const Spread& spread) {
  const std::string unit = std::string(" ") + metric.name + " (ms):";
  std::string text = headline(metric.title, '-');
  text += line("Mean" + unit, spread.mean) + line("Median" + unit, spread.median);
  for (const auto& [p, value] : spread.percentiles) text += line("P" + percentile_name(p) + unit, value);
  return text;
}

void add_details(OrderedJson& json, const std::vector<Outcome>& outcomes) {
  for (const char* name : {"input_lens", "output_lens", "ttfts", "itls", "generated_texts", "errors"}) {
    json[name] = OrderedJson::array();
  }
  for (const Outcome& o : outcomes) {
    json["input_lens"].push_back(o.prompt_tokens);
    json["output_lens"].push_back(o.output_tokens);
    json["ttfts"].push_back(o.ttft);
    json["itls"].push_back(o.itls);
    json["generated_texts"].push_back(o.text);
    json["errors"].push_back(o.error);
  }
}

}  // namespace

double percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  return at_percentile(values, p);
}

LoadSummary summarise(const std::vector<Outcome>& outcomes, double duration,
                      const std::vector<double>& percentiles, const std::map<std::string, double>& goodput) {
  LoadSummary summary;
  summary.duration = duration;
  count(outcomes, summary);
  std::map<std::string, std::vector<double>> values = {{"ttft", {}}, {"tpot", {}}, {"itl", {}}, {"e2el", {}}};
  int good = 0;
  for (const Outcome& o : outcomes) {
    if (o.kind != OutcomeKind::kCompleted) continue;
    values["ttft"].push_back(o.ttft);
    if (o.output_tokens > 1) values["tpot"].push_back(tpot_of(o));
    values["itl"].insert(values["itl"].end(), o.itls.begin(), o.itls.end());
    values["e2el"].push_back(o.latency);
    good += is_good(o, goodput) ? 1 : 0;
  }
  for (auto& [name, seconds] : values) summary.spreads[name] = spread_of(std::move(seconds), percentiles);
  if (duration > 0) {
    summary.request_throughput = summary.completed / duration;
    summary.output_throughput = static_cast<double>(summary.output_tokens) / duration;
    summary.total_throughput = static_cast<double>(summary.input_tokens + summary.output_tokens) / duration;
    if (!goodput.empty()) summary.goodput = good / duration;
  }
  find_peaks(outcomes, summary);
  return summary;
}

std::string report_text(const LoadSummary& summary, const ReportOptions& options) {
  std::string text = headline(" Serving Benchmark Result ", '=');
  text += line("Successful requests:", int64_t{summary.completed});
  text += line("Failed requests:", int64_t{summary.failed});
  if (options.max_concurrency > 0) {
    text += line("Maximum request concurrency:", int64_t{options.max_concurrency});
  }
  if (options.request_rate) text += line("Request rate configured (RPS):", *options.request_rate);
  text += line("Benchmark duration (s):", summary.duration);
  text += line("Total input tokens:", summary.input_tokens);
  text += line("Total generated tokens:", summary.output_tokens);
  text += line("Request throughput (req/s):", summary.request_throughput);
  if (summary.goodput) text += line("Request goodput (req/s):", *summary.goodput);
  text += line("Output token throughput (tok/s):", summary.output_throughput);
  text += line("Peak output token throughput (tok/s):", summary.peak_output_throughput);
  text += line("Peak concurrent requests:", static_cast<double>(summary.peak_concurrent));
  text += line("Total token throughput (tok/s):", summary.total_throughput);
  for (const MetricName& metric : kMetrics) {
    if (is_shown(options, metric.key)) text += spread_text(metric, summary.spreads.at(metric.key));
  }
  if (options.abuse) {
    text += headline("Abuse", '-');
    text += line("Disconnected on purpose:", int64_t{summary.disconnected});
    text += line("Malformed on purpose, refused:", int64_t{summary.refused});
  }
  return text + std::string(50, '=') + "\n";
}

OrderedJson report_json(const LoadSummary& summary, const ReportOptions& options,
                        const std::vector<Outcome>& outcomes, bool detailed) {
  OrderedJson json = {{"duration", summary.duration},
                      {"completed", summary.completed},
                      {"failed", summary.failed},
                      {"total_input_tokens", summary.input_tokens},
                      {"total_output_tokens", summary.output_tokens},
                      {"request_throughput", summary.request_throughput},
                      {"request_goodput", nullptr},
                      {"output_throughput", summary.output_throughput},
                      {"total_token_throughput", summary.total_throughput},
                      {"max_output_tokens_per_s", summary.peak_output_throughput},
                      {"max_concurrent_requests", summary.peak_concurrent}};
  if (summary.goodput) json["request_goodput"] = *summary.goodput;
  for (const MetricName& metric : kMetrics) {
    if (!is_shown(options, metric.key)) continue;
    const std::string unit = std::string("_") + metric.key + "_ms";
    const Spread& spread = summary.spreads.at(metric.key);
    json["mean" + unit] = spread.mean;
    json["median" + unit] = spread.median;
    json["std" + unit] = spread.standard_deviation;
    for (const auto& [p, value] : spread.percentiles) json["p" + percentile_name(p) + unit] = value;
  }
  if (options.abuse) {
    json["disconnected"] = summary.disconnected;
    json["refused"] = summary.refused;
  }
  if (detailed) add_details(json, outcomes);
  return json;
}

}  // namespace heed
