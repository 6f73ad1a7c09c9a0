#include "cli/timeline.h"

#include "cli/bench_model.h"

namespace heed {
namespace {

enum Row { kHost = 1, kDevice = 2 };

OrderedJson name_event(const char* what, int process, int row, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", process}, {"tid", row}, {"args", {{"name", name}}}};
}

OrderedJson span_event(const std::string& name, int process, int row, double begin, double end) {
  return {{"name", name}, {"ph", "X"},         {"pid", process},
          {"tid", row},   {"ts", 1e6 * begin}, {"dur", 1e6 * (end - begin)}};
}

void add_step(const TracedStep& step, int process, OrderedJson& events) {
  const std::string number = std::to_string(step.number);
  events.push_back(span_event("send " + number, process, kHost, step.begun, step.sent));
  events.push_back(
      span_event((step.replayed ? "replay " : "launch ") + number, process, kHost, step.sent, step.launched));
  events.push_back(span_event("wait " + number, process, kHost, step.waiting, step.read));
  events.push_back(span_event("step " + number, process, kDevice, step.device_begun, step.device_done));
}

}  // namespace

OrderedJson summary_of(const std::vector<TracedStep>& steps) {
  std::vector<double> busy, idle, host;
  for (size_t i = 1; i < steps.size(); ++i) {
    if (steps[i].number != steps[i - 1].number + 1) continue;
    busy.push_back(1e6 * (steps[i].device_done - steps[i].device_begun));
    idle.push_back(1e6 * (steps[i].device_begun - steps[i - 1].device_done));
    const double waited = steps[i].read - steps[i].waiting;
    host.push_back(1e6 * (steps[i].read - steps[i - 1].read - waited));
  }
  if (busy.empty()) return {{"steps", 0}};
  return {{"steps", busy.size()},
          {"device_us", median(busy)},
          {"device_idle_us", median(idle)},
          {"host_us", median(host)}};
}

OrderedJson trace_events(const std::vector<Timeline>& timelines) {
  OrderedJson events = OrderedJson::array();
  int process = 0;
  for (const Timeline& timeline : timelines) {
    ++process;
    events.push_back(name_event("process_name", process, kHost, timeline.name));
    events.push_back(name_event("thread_name", process, kHost, "host"));
    events.push_back(name_event("thread_name", process, kDevice, "device"));
    for (const TracedStep& step : timeline.steps) add_step(step, process, events);
  }
  return {{"traceEvents", events}, {"displayTimeUnit", "ms"}};
}

}  // namespace heed
