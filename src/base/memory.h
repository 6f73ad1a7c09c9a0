// How much memory this process may still take, and making sure that memory is really there.
#pragma once
#include <cstdint>
#include <string>

namespace heed {

// What bounds this process's memory most.
struct MemoryLimit {
  int64_t bytes = 0;   // that can be taken besides what is taken now
  std::string source;  // what says so: "MemAvailable of /proc/meminfo", "memory.max of the cgroup", ...
};

// The least of the machine's available memory, the limits of the cgroups (version 2 or 1) that this process
// is in, less what they use and cannot drop, and RLIMIT_AS. `root`: where the file system is mounted.
MemoryLimit memory_limit(const std::string& root = "");

// Has the operating system put memory behind [data, data + bytes) now; contents stay, and others may read and
// write them meanwhile. Whole pages only: up to one page at each end is left as it was. Nothing happens on
// Linux before 5.14.
void populate(void* data, int64_t bytes);

// "512 B", "1.50 GiB".
std::string size_text(int64_t bytes);

}  // namespace heed
