// What the operating system says of this process, under the names that all official Prometheus clients use:
// processor time, memory, file descriptors, start time. Linux only (/proc/self).
#pragma once
#include <mutex>

#include "metrics/metrics.h"

namespace heed {

class ProcessMetrics {
 public:
  explicit ProcessMetrics(Registry& registry);
  // Reads them anew; before exposing. From any thread. What cannot be read stays as it was.
  void update();

 private:
  std::mutex mutex_;
  Counter& cpu_seconds_;
  Gauge& resident_bytes_;
  Gauge& virtual_bytes_;
  Gauge& start_time_seconds_;
  Gauge& open_fds_;
  Gauge& max_fds_;
};

}  // namespace heed
