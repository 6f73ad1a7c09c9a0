#include "base/memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "base/cgroup.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace heed {
namespace {

std::optional<int64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? std::optional<int64_t>(value) : std::nullopt;  // "max" is no number
}

// The number after a word at the beginning of a line, as in meminfo and memory.stat.
std::optional<int64_t> number_after(const std::string& path, const std::string& word) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t value = 0;
    if (words >> name >> value && name == word) return value;
  }
  return std::nullopt;
}

void take_less(MemoryLimit& limit, int64_t bytes, const std::string& source) {
  if (bytes < limit.bytes) limit = {std::max<int64_t>(bytes, 0), source};
}

void ask_cgroup(MemoryLimit& limit, const Cgroup& cgroup) {
  const char* const limit_file = cgroup.unified ? "memory.max" : "memory.limit_in_bytes";
  const auto most = number_in(cgroup.folder + limit_file);
  const auto used = number_in(cgroup.folder + (cgroup.unified ? "memory.current" : "memory.usage_in_bytes"));
  if (!most || !used) return;
  const std::string stat = cgroup.folder + "memory.stat";
  const std::string prefix = cgroup.unified ? "" : "total_";
  const int64_t droppable = number_after(stat, prefix + "inactive_file").value_or(0) +
                            number_after(stat, prefix + "active_file").value_or(0);
  take_less(limit, *most - std::max<int64_t>(*used - droppable, 0),
            std::string(limit_file) + " of the cgroup " + cgroup.name);
}

}  // namespace

MemoryLimit memory_limit(const std::string& root) {
  MemoryLimit limit{std::numeric_limits<int64_t>::max(), "nothing"};
  const auto available = number_after(root + "/proc/meminfo", "MemAvailable:");
  if (available) {
    take_less(limit, *available * 1024, "MemAvailable of /proc/meminfo");
  } else {
    take_less(limit, int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE), "the machine's memory");
  }
  for (const Cgroup& cgroup : own_cgroups(root, "memory")) ask_cgroup(limit, cgroup);
  rlimit address_space{};
  if (getrlimit(RLIMIT_AS, &address_space) == 0 && address_space.rlim_cur != RLIM_INFINITY) {
    const int64_t used = number_in(root + "/proc/self/statm").value_or(0) * sysconf(_SC_PAGESIZE);
    take_less(limit, static_cast<int64_t>(address_space.rlim_cur) - used, "RLIMIT_AS");
  }
  return limit;
}

void populate(void* data, int64_t bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / page * page;
  if (bytes <= 0 || begin >= end) return;
  auto* memory = reinterpret_cast<char*>(begin);  // NOLINT(performance-no-int-to-ptr)
  madvise(memory, end - begin, MADV_POPULATE_WRITE);
}

std::string size_text(int64_t bytes) {
  char text[32];
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && unit < 4) value /= 1024, ++unit;
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
  return text;
}

}  // namespace heed
