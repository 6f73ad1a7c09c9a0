// Counters, gauges and histograms, and their text for Prometheus (exposition format 0.0.4).
//
// Updating is lock-free and safe from any thread. Metrics live as long as their registry; names and label
// sets are fixed when they are made, so their number cannot grow with requests.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace heed {

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
  void observe(double value, uint64_t times = 1);
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

  std::string expose() const;

 private:
  struct Family;
  Labels common_;
  std::vector<std::unique_ptr<Family>> families_;
};

}  // namespace heed
