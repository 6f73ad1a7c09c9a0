// What a server says of itself once it is ready: what it serves, on what, within which memory, and where the
// time of starting went.
#pragma once
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "serving/service.h"

namespace heed {

class StartUpReport {
 public:
  StartUpReport() : last_(Clock::now()) {}
  // What was done since the last call took this long.
  void phase(std::string name);
  void print(const Service& service, const std::string& url) const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_;
  std::vector<std::pair<std::string, double>> phases_;  // seconds
};

}  // namespace heed
