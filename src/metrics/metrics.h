// Counters, gauges and histograms, and their text for Prometheus (exposition format 0.0.4).
//
// Updating is lock-free and safe from any thread; so is exposing, beside updates. Metrics live as long as
// their registry; names and label sets are fixed when they are made, so their number cannot grow with
// requests.
//
// Written here because Debian 12 has no prometheus-cpp. Source:
// prometheus.io/docs/instrumenting/exposition_formats; prometheus_client, the Python package, is the oracle
// (tools/metrics_diff.py).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace heed {

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  void add(double amount = 1);  // 0 and up
  double value() const;

 private:
  std::atomic<double> value_{0};
};

class Gauge {
 public:
  void set(double value);
  void add(double amount);
  double value() const;

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  // Upper bounds of the buckets, ascending; the one to infinity is added.
  explicit Histogram(std::vector<double> bounds);
  void observe(double value, uint64_t times = 1);  // a bound holds what equals it; NaN counts as infinite
  const std::vector<double>& bounds() const { return bounds_; }
  std::vector<uint64_t> counts() const;  // per bucket, not cumulative; one more than bounds()
  double sum() const;

 private:
  std::vector<double> bounds_;
  std::vector<std::atomic<uint64_t>> counts_;
  std::atomic<double> sum_{0};
};

class Registry {
 public:
  explicit Registry(Labels common = {});  // of every metric, such as model_name
  ~Registry();

  // Series of one name share its help; a name has one type, a label set occurs once. (CHECKed.)
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& histogram(const std::string& name, const std::string& help, std::vector<double> bounds,
                       const Labels& labels = {});

  // Families in the order they were made; a histogram's count is that of its buckets at one moment.
  std::string expose() const;

 private:
  struct Family;
  template <class Metric, class... Arguments>
  Metric& make(const std::string& name, const std::string& help, const Labels& labels,
               Arguments... arguments);

  Labels common_;
  mutable std::mutex mutex_;  // making and exposing; updates do not take it
  std::vector<std::unique_ptr<Family>> families_;
};

}  // namespace heed
