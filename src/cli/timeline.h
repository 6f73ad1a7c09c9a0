// Steps of an accelerator beside the host that prepares them, for people to look at.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/step_trace.h"

namespace heed {

// Medians over steps that follow one another, in microseconds: of the device at work, of it idle before the
// next, and of the host at work (all but waiting).
OrderedJson summary_of(const std::vector<TracedStep>& steps);

// What `steps` are steps of: "batch 8".
struct Timeline {
  std::string name;
  std::vector<TracedStep> steps;
};
// The Trace Event format, which Perfetto and chrome://tracing show: a process for each, with the rows "host"
// and "device".
OrderedJson trace_events(const std::vector<Timeline>& timelines);

}  // namespace heed
