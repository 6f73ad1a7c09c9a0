#include "metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <sstream>
#include <thread>

namespace heed {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Only the samples.
std::string samples(const Registry& registry) {
  std::string out;
  std::istringstream lines(registry.expose());
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('#')) out += line + '\n';
  }
  return out;
}

std::string exposed_gauge(double value) {
  Registry registry;
  registry.gauge("g", "").set(value);
  return samples(registry).substr(2);
}

TEST(Metrics, a_family_says_its_help_and_type_once) {
  Registry registry(Labels{{"model", "bard"}});
  registry.counter("requests_total", "Requests.", {{"code", "200"}}).add(3);
  registry.gauge("load", "Load.").set(0.5);
  registry.counter("requests_total", "Requests.", {{"code", "400"}}).add();
  EXPECT_EQ(registry.expose(),
            "# HELP requests_total Requests.\n"
            "# TYPE requests_total counter\n"
            "requests_total{model=\"bard\",code=\"200\"} 3\n"
            "requests_total{model=\"bard\",code=\"400\"} 1\n"
            "# HELP load Load.\n"
            "# TYPE load gauge\n"
            "load{model=\"bard\"} 0.5\n");
}

TEST(Metrics, buckets_are_cumulative_and_hold_what_equals_their_bound) {
  Registry registry;
  Histogram& histogram = registry.histogram("t_seconds", "Time.", {0.5, 1, 2.5}, {{"a", "b"}});
  histogram.observe(0.5);
  histogram.observe(0.75, 2);
  histogram.observe(2.5);
  histogram.observe(3);
  histogram.observe(9, 0);
  EXPECT_THAT(histogram.counts(), ElementsAre(1, 2, 1, 1));
  EXPECT_EQ(samples(registry),
            "t_seconds_bucket{a=\"b\",le=\"0.5\"} 1\n"
            "t_seconds_bucket{a=\"b\",le=\"1\"} 3\n"
            "t_seconds_bucket{a=\"b\",le=\"2.5\"} 4\n"
            "t_seconds_bucket{a=\"b\",le=\"+Inf\"} 5\n"
            "t_seconds_sum{a=\"b\"} 7.5\n"
            "t_seconds_count{a=\"b\"} 5\n");
}

TEST(Metrics, a_histogram_without_bounds_or_labels_has_one_bucket) {
  Registry registry;
  registry.histogram("h", "", {}).observe(-1);
  EXPECT_EQ(samples(registry), "h_bucket{le=\"+Inf\"} 1\nh_sum -1\nh_count 1\n");
}

TEST(Metrics, what_is_not_a_number_falls_into_the_last_bucket) {
  Histogram histogram({1});
  histogram.observe(kInfinity);
  histogram.observe(std::nan(""));
  histogram.observe(-kInfinity);
  EXPECT_THAT(histogram.counts(), ElementsAre(1, 2));
  EXPECT_TRUE(std::isnan(histogram.sum()));
}

TEST(Metrics, numbers_are_the_shortest_that_read_back) {
  EXPECT_EQ(exposed_gauge(0.1), "0.1\n");
  EXPECT_EQ(exposed_gauge(0.1 + 0.2), "0.30000000000000004\n");
  EXPECT_EQ(exposed_gauge(-12345678), "-12345678\n");
  EXPECT_EQ(exposed_gauge(1e300), "1e+300\n");
  EXPECT_EQ(exposed_gauge(5e-324), "5e-324\n");
  EXPECT_EQ(exposed_gauge(kInfinity), "+Inf\n");
  EXPECT_EQ(exposed_gauge(-kInfinity), "-Inf\n");
  EXPECT_EQ(exposed_gauge(std::nan("")), "NaN\n");
}

TEST(Metrics, text_is_escaped_and_always_utf8) {
  Registry registry;
  registry.gauge("g", "one\ntwo \"three\" \\n", {{"path", "C:\\x\n\"y\" \xff\xC3\xA9"}});
  EXPECT_EQ(registry.expose(),
            "# HELP g one\\ntwo \"three\" \\\\n\n"
            "# TYPE g gauge\n"
            "g{path=\"C:\\\\x\\n\\\"y\\\" \xEF\xBF\xBD\xC3\xA9\"} 0\n");
}

TEST(Metrics, a_counter_never_goes_down) {
  Registry registry;
  Counter& counter = registry.counter("c_total", "");
  counter.add(0);
  EXPECT_DEATH(counter.add(-1), "amount");
  EXPECT_DEATH(counter.add(std::nan("")), "amount");
}

TEST(Metrics, names_types_and_series_do_not_clash) {
  Registry registry(Labels{{"model", "m"}});
  registry.counter("a", "Help.", {{"x", "1"}});
  EXPECT_DEATH(registry.counter("a", "Help.", {{"x", "1"}}), "CHECK failed");
  EXPECT_DEATH(registry.gauge("a", "Help."), "CHECK failed");
  EXPECT_DEATH(registry.counter("a", "Other help."), "CHECK failed");
  EXPECT_DEATH(registry.counter("b", "", {{"model", "2"}}), "CHECK failed");
  EXPECT_DEATH(registry.counter("0b", ""), "CHECK failed");
  EXPECT_DEATH(registry.counter("b", "", {{"a:b", ""}}), "CHECK failed");
  EXPECT_DEATH(registry.histogram("b", "", {1}, {{"le", ""}}), "CHECK failed");
  EXPECT_DEATH(registry.histogram("b", "", {2, 1}), "CHECK failed");
  EXPECT_DEATH(registry.histogram("b", "", {kInfinity}), "CHECK failed");
}

TEST(Metrics, nothing_is_lost_when_many_threads_update) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  Registry registry;
  Counter& counter = registry.counter("c_total", "");
  Gauge& gauge = registry.gauge("g", "");
  Histogram& histogram = registry.histogram("h", "", {0, 1, 2});
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        counter.add(0.5);
        gauge.add(i % 2 == 0 ? 3 : -2);
        histogram.observe(t);
      }
      --running;
    });
  }
  // Whatever moment it is exposed at, the count is that of its buckets.
  do {
    const std::string text = samples(registry);
    const size_t last_bucket = text.find("le=\"+Inf\"} ") + 11;
    const std::string count = text.substr(last_bucket, text.find('\n', last_bucket) - last_bucket);
    EXPECT_THAT(text, HasSubstr("\nh_count " + count + "\n"));
  } while (running > 0);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), kThreads * kRounds * 0.5);
  EXPECT_EQ(gauge.value(), kThreads * kRounds * 0.5);
  EXPECT_THAT(histogram.counts(), ElementsAre(kRounds, kRounds, kRounds, kRounds));
  EXPECT_EQ(histogram.sum(), kRounds * 6.0);
}

}  // namespace
}  // namespace heed
