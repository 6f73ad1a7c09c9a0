#include "metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

namespace heed {
namespace {

double clock_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Field 22 of /proc/self/stat: when the process started, in seconds since the machine did.
std::optional<double> started_after_boot() {
  std::string line;
  std::getline(std::ifstream("/proc/self/stat"), line);
  const size_t name_end = line.rfind(')');  // the name in field 2 may hold anything, spaces too
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  if (!(fields >> ticks)) return std::nullopt;
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// /proc/stat, which has the time of boot, is hidden from services that see only their own processes.
std::optional<double> start_time() {
  const std::optional<double> after_boot = started_after_boot();
  if (!after_boot) return std::nullopt;
  return clock_seconds(CLOCK_REALTIME) - clock_seconds(CLOCK_BOOTTIME) + *after_boot;
}

std::optional<int> count_open_files() {
  std::error_code error;
  int count = 0;
  std::filesystem::directory_iterator entry("/proc/self/fd", error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) ++count;
  if (error) return std::nullopt;
  return count - 1;  // without the one that reads the directory
}

}  // namespace

ProcessMetrics::ProcessMetrics(Registry& registry)
    : cpu_seconds_(
          registry.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")),
      resident_bytes_(registry.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")),
      virtual_bytes_(registry.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")),
      start_time_seconds_(registry.gauge("process_start_time_seconds",
                                         "Start time of the process since unix epoch in seconds.")),
      open_fds_(registry.gauge("process_open_fds", "Number of open file descriptors.")),
      max_fds_(registry.gauge("process_max_fds", "Maximum number of open file descriptors.")) {
  if (const std::optional<double> time = start_time()) start_time_seconds_.set(*time);
  update();
}

void ProcessMetrics::update() {
  const std::scoped_lock lock(mutex_);  // or two updates would both add the same time
  cpu_seconds_.add(std::max(0.0, clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_seconds_.value()));
  double virtual_pages = 0;
  double resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> virtual_pages >> resident_pages) {
    const auto page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
    virtual_bytes_.set(virtual_pages * page_bytes);
    resident_bytes_.set(resident_pages * page_bytes);
  }
  if (const std::optional<int> files = count_open_files()) open_fds_.set(*files);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    max_fds_.set(limit.rlim_cur == RLIM_INFINITY ? std::numeric_limits<double>::infinity()
                                                 : static_cast<double>(limit.rlim_cur));
  }
}

}  // namespace heed
