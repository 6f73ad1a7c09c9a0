// Timelines of an accelerator's steps: their medians, and the file for people.
#include "cli/timeline.h"

#include <gtest/gtest.h>

#include "tests/cli/running.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

// Steps of 10 us, begun by the host while the one before runs; the device idles 1 us before each, the host is
// at work for 3.
std::vector<TracedStep> three_steps() {
  std::vector<TracedStep> steps;
  for (int64_t i = 1; i <= 3; ++i) {
    const double at = 11e-6 * static_cast<double>(i);
    steps.push_back({.number = i,
                     .replayed = i > 1,
                     .begun = at - 8e-6,
                     .sent = at - 7e-6,
                     .launched = at - 6e-6,
                     .waiting = at + 3e-6,
                     .read = at + 11e-6,
                     .device_begun = at,
                     .device_done = at + 10e-6});
  }
  return steps;
}

TEST(Timeline, medians_are_of_steps_that_follow_one_another) {
  std::vector<TracedStep> steps = three_steps();
  const OrderedJson summary = summary_of(steps);
  EXPECT_EQ(summary["steps"], 2);
  EXPECT_NEAR(summary["device_us"].get<double>(), 10, 1e-6);
  EXPECT_NEAR(summary["device_idle_us"].get<double>(), 1, 1e-6);
  EXPECT_NEAR(summary["host_us"].get<double>(), 3, 1e-6);
  steps.erase(steps.begin() + 1);
  EXPECT_EQ(summary_of(steps)["steps"], 0);
  EXPECT_EQ(summary_of({})["steps"], 0);
}

TEST(Timeline, events_are_spans_of_host_and_device) {
  const OrderedJson trace = trace_events({{"batch 1", three_steps()}, {"batch 8", three_steps()}});
  int spans = 0;
  for (const OrderedJson& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    ++spans;
    EXPECT_GE(event["dur"].get<double>(), 0);
  }
  EXPECT_EQ(spans, 2 * 3 * 4);
  EXPECT_EQ(trace["traceEvents"][0]["args"]["name"], "batch 1");
}

TEST(Timeline, there_is_none_of_the_host) {
  const Ran ran =
      heed("bench latency " + golden_folder("qwen3") + " --input-len 4 --max-tokens 1 --timeline never.json");
  EXPECT_NE(ran.status, 0);
  EXPECT_NE(ran.err.find("--timeline shows the steps of a device"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace heed
