// When the steps of an accelerator ran, there and on the host: who waited for whom.
#pragma once
#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "tensor/device.h"

namespace heed {

// Times are seconds since the trace began. Two steps may overlap on the host, and one may be begun there
// while the one before runs.
struct TracedStep {
  int64_t number = 0;
  bool replayed = false;
  double begun = 0, sent = 0, launched = 0;  // the host: plans and copies; then ops, or the recording
  double waiting = 0, read = 0;              // and waits for what the step came to
  double device_begun = 0, device_done = 0;  // the device: from its first copy to its last
};

class StepTrace {
 public:
  explicit StepTrace(Device& device);

  // In this order for each step; wait and read as late as behind the next one's launched, not later.
  void begin(int64_t number);
  void sent(int64_t number);
  void launched(int64_t number, bool replayed);
  void wait(int64_t number);
  void read(int64_t number);

  // The steps that were read since the last call. From any thread.
  std::vector<TracedStep> take();

 private:
  struct UnderWay {
    TracedStep step;
    std::unique_ptr<Fence> begun, done;
  };
  UnderWay& of(int64_t number) { return under_way_[static_cast<size_t>(number) % under_way_.size()]; }
  double now() const;

  std::unique_ptr<Fence> start_;
  std::chrono::steady_clock::time_point started_;
  std::array<UnderWay, 2> under_way_;
  std::mutex mutex_;
  std::vector<TracedStep> steps_;  // guarded by mutex_
};

}  // namespace heed
