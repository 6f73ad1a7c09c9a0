// Limits on memory, read from a made-up /proc and /sys.
#include "base/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/file.h"

namespace heed {
namespace {

class MemoryLimits : public testing::Test {
 protected:
  ~MemoryLimits() override { std::filesystem::remove_all(root_); }
  void file(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    ASSERT_TRUE(write_file(root_ + path, text).ok());
  }
  std::string root_ =
      (std::filesystem::temp_directory_path() / ("heed_memory_" + std::to_string(getpid()))).string();
};

TEST_F(MemoryLimits, the_machines_available_memory) {
  file("/proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    2000 kB\n");
  EXPECT_EQ(memory_limit(root_).bytes, 2000 * 1024);
  EXPECT_NE(memory_limit(root_).source.find("MemAvailable"), std::string::npos);
}

TEST_F(MemoryLimits, the_tightest_cgroup_of_version_2_counts_and_its_file_pages_do_not) {
  file("/proc/meminfo", "MemAvailable: 1000000 kB\n");
  file("/proc/self/cgroup", "0::/pod/container\n");
  file("/sys/fs/cgroup/pod/container/memory.max", "max\n");
  file("/sys/fs/cgroup/pod/container/memory.current", "5000\n");
  file("/sys/fs/cgroup/pod/memory.max", "100000\n");
  file("/sys/fs/cgroup/pod/memory.current", "50000\n");
  file("/sys/fs/cgroup/pod/memory.stat", "anon 1\ninactive_file 20000\nactive_file 10000\n");
  EXPECT_EQ(memory_limit(root_).bytes, 100000 - (50000 - 30000));
  EXPECT_EQ(memory_limit(root_).source, "memory.max of the cgroup /pod");
}

TEST_F(MemoryLimits, a_cgroup_of_version_1_counts) {
  file("/proc/meminfo", "MemAvailable: 1000000 kB\n");
  file("/proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/job\n0::/\n");
  file("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "70000\n");
  file("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "30000\n");
  EXPECT_EQ(memory_limit(root_).bytes, 40000);
}

TEST_F(MemoryLimits, more_used_than_allowed_is_nothing_left) {
  file("/proc/meminfo", "MemAvailable: 1000000 kB\n");
  file("/proc/self/cgroup", "0::/\n");
  file("/sys/fs/cgroup/memory.max", "100\n");
  file("/sys/fs/cgroup/memory.current", "300\n");
  EXPECT_EQ(memory_limit(root_).bytes, 0);
}

TEST(Populate, keeps_what_is_there) {
  std::vector<char> memory(100'000, 'x');
  populate(memory.data(), 100'000);
  EXPECT_EQ(std::count(memory.begin(), memory.end(), 'x'), 100'000);
  populate(memory.data() + 1, 10);
}

}  // namespace
}  // namespace heed
