#include "engine/step_trace.h"

#include <utility>

namespace heed {

StepTrace::StepTrace(Device& device) : start_(device.make_timed_fence()) {
  for (UnderWay& each : under_way_) {
    each.begun = device.make_timed_fence();
    each.done = device.make_timed_fence();
  }
  device.wait();  // then both clocks start at once
  start_->set();
  start_->wait();
  started_ = std::chrono::steady_clock::now();
}

double StepTrace::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

void StepTrace::begin(int64_t number) {
  UnderWay& each = of(number);
  each.step = {.number = number, .begun = now()};
  each.begun->set();
}

void StepTrace::sent(int64_t number) { of(number).step.sent = now(); }

void StepTrace::launched(int64_t number, bool replayed) {
  UnderWay& each = of(number);
  each.done->set();
  each.step.replayed = replayed;
  each.step.launched = now();
}

void StepTrace::wait(int64_t number) { of(number).step.waiting = now(); }

void StepTrace::read(int64_t number) {
  UnderWay& each = of(number);
  each.step.read = now();
  each.done->wait();
  each.step.device_begun = each.begun->seconds_since(*start_);
  each.step.device_done = each.done->seconds_since(*start_);
  const std::lock_guard lock(mutex_);
  steps_.push_back(each.step);
}

std::vector<TracedStep> StepTrace::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(steps_, {});
}

}  // namespace heed
