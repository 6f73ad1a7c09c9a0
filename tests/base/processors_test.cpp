// Lists of processors, quotas and nodes of memory, read from a made-up /proc and /sys; and threads on this
// machine's.
#include "base/processors.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/thread_pool.h"

namespace heed {
namespace {

using List = std::vector<int>;

class Processors : public testing::Test {
 protected:
  ~Processors() override { std::filesystem::remove_all(root_); }
  void file(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    ASSERT_TRUE(write_file(root_ + path, text).ok());
  }
  void node(int number, const std::string& cpus) const {
    file("/sys/devices/system/node/node" + std::to_string(number) + "/cpulist", cpus + "\n");
  }
  std::string root_ =
      (std::filesystem::temp_directory_path() / ("heed_processors_" + std::to_string(getpid()))).string();
};

TEST_F(Processors, lists_are_those_of_taskset) {
  EXPECT_EQ(parse_cpu_list("0-3,8").value(), (List{0, 1, 2, 3, 8}));
  EXPECT_EQ(parse_cpu_list("7,0-6:3,3").value(), (List{0, 3, 6, 7}));
  EXPECT_EQ(parse_cpu_list("1023").value(), List{1023});
  for (const char* wrong : {"", ",", "1,", "a", "1-", "-1", "3-1", "0-4:0", "0-4:", "1 ", "0x1", "1024",
                            "0-99999999", "99999999999999999999", "1--2"}) {
    const auto list = parse_cpu_list(wrong);
    ASSERT_FALSE(list.ok()) << wrong;
    EXPECT_NE(list.error().message.find("such as 0-3,8"), std::string::npos) << list.error().message;
  }
  EXPECT_EQ(cpu_list_text({0, 1, 2, 4, 6, 7}), "0-2,4,6-7");
}

TEST_F(Processors, a_quota_of_a_cgroup_bounds_the_threads) {
  const int all = available_processors(root_);  // no such files
  EXPECT_EQ(all, std::ssize(allowed_processors()));
  file("/proc/self/cgroup", "0::/pod/container\n");
  file("/sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  EXPECT_EQ(available_processors(root_), all);
  file("/sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
  EXPECT_EQ(available_processors(root_), 1);
  file("/sys/fs/cgroup/pod/cpu.max", "20000 100000\n");  // a fifth
  EXPECT_EQ(available_processors(root_), 1);
  file("/sys/fs/cgroup/pod/cpu.max", "nonsense\n");
  EXPECT_EQ(available_processors(root_), all);
  file("/proc/self/cgroup", "3:cpu,cpuacct:/job\n");
  file("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
  file("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(available_processors(root_), all);
  file("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "100000\n");
  EXPECT_EQ(available_processors(root_), 1);
}

TEST_F(Processors, nodes_are_read_from_sysfs) {
  EXPECT_TRUE(numa_nodes(root_).value().empty());  // a machine that does not tell
  file("/sys/devices/system/node/online", "0-1,4\n");
  node(0, "0-1,4-5");
  node(1, "");  // memory alone
  node(4, "2-3,6-7");
  const auto nodes = numa_nodes(root_).value();
  ASSERT_EQ(nodes.size(), 2);
  EXPECT_EQ(nodes[0].cpus, (List{0, 1, 4, 5}));
  EXPECT_EQ(nodes[1].number, 4);
  EXPECT_EQ(nodes[1].cpus, (List{2, 3, 6, 7}));
}

TEST_F(Processors, nodes_that_are_told_wrongly_are_an_error_that_names_the_file) {
  file("/sys/devices/system/node/online", "0-1\n");
  node(0, "0-1");
  EXPECT_NE(numa_nodes(root_).error().message.find("node1/cpulist"), std::string::npos);
  for (const char* wrong : {"1-0", "two", "0-5000"}) {
    node(1, wrong);
    const auto nodes = numa_nodes(root_);
    ASSERT_FALSE(nodes.ok()) << wrong;
    EXPECT_NE(nodes.error().message.find("node1/cpulist"), std::string::npos) << nodes.error().message;
  }
  file("/sys/devices/system/node/online", "\n1\n");
  EXPECT_NE(numa_nodes(root_).error().message.find("online"), std::string::npos);
}

const std::vector<NumaNode> kTwoNodes = {{0, {0, 1, 4, 5}}, {3, {2, 3, 6, 7}}};
const List kEight = {0, 1, 2, 3, 4, 5, 6, 7};

TEST(PlaceWorkers, one_node_is_as_if_nothing_was_known_of_nodes) {
  for (const auto& nodes : {std::vector<NumaNode>{}, {{0, kEight}}}) {
    const Workers workers = place_workers(3, {}, kEight, nodes);
    EXPECT_EQ(workers.count, 3);
    EXPECT_TRUE(workers.cpus.empty());
    EXPECT_TRUE(workers.nodes.empty());
  }
  // Of two nodes, this process may run on one.
  const Workers workers = place_workers(0, {}, {0, 1, 5}, kTwoNodes);
  EXPECT_EQ(workers.count, 3);
  EXPECT_TRUE(workers.cpus.empty());
}

TEST(PlaceWorkers, workers_are_spread_over_nodes_in_proportion_and_those_of_a_node_lie_together) {
  const Workers workers = place_workers(0, {}, {0, 1, 2, 3, 4, 5}, kTwoNodes);
  EXPECT_EQ(workers.count, 6);
  EXPECT_EQ(workers.nodes, (List{0, 0, 0, 0, 3, 3}));
  EXPECT_EQ(workers.cpus[0], (List{0, 1, 4, 5}));
  EXPECT_EQ(workers.cpus[5], (List{2, 3}));
  EXPECT_EQ(place_workers(2, {}, kEight, kTwoNodes).nodes, (List{0, 3}));
  EXPECT_EQ(place_workers(3, {}, kEight, kTwoNodes).nodes, (List{0, 0, 3}));
  EXPECT_TRUE(place_workers(1, {}, kEight, kTwoNodes).nodes.empty());
}

TEST(PlaceWorkers, each_runs_on_the_processor_that_was_listed_for_it) {
  const Workers workers = place_workers(0, {1, 2, 6}, kEight, kTwoNodes);
  EXPECT_EQ(workers.count, 3);
  EXPECT_EQ(workers.cpus, (std::vector<List>{{1}, {2}, {6}}));
  EXPECT_EQ(workers.nodes, (List{0, 3, 3}));
  EXPECT_EQ(place_workers(2, {1, 2, 6}, kEight, kTwoNodes).cpus, (std::vector<List>{{1}, {2}}));
  EXPECT_TRUE(place_workers(0, {1, 4}, kEight, kTwoNodes).nodes.empty());
}

TEST(PlaceWorkers, what_this_process_cannot_have_is_an_error) {
  const List allowed = allowed_processors();
  const auto forbidden = plan_workers(0, {allowed.back() + 1});
  ASSERT_FALSE(forbidden.ok());
  EXPECT_NE(forbidden.error().message.find("only on " + cpu_list_text(allowed)), std::string::npos)
      << forbidden.error().message;
  EXPECT_FALSE(plan_workers(2, {allowed.front()}).ok());
  EXPECT_EQ(plan_workers(0, {allowed.front()}).value().count, 1);
  EXPECT_EQ(plan_workers(0, {}).value().count, available_processors());
}

TEST(PlaceWorkers, a_pools_threads_run_where_they_are_told) {
  const List allowed = allowed_processors();
  const Workers workers = {.count = 2, .cpus = {{allowed.front()}, {allowed.back()}}, .nodes = {}};
  List seen(2, -1);
  std::thread([&] {  // the test's own thread stays free
    ThreadPool pool(workers);
    pool.place_caller();
    pool.parallel_for(2, 1, [&](int64_t i, int64_t) {
      const List own = allowed_processors();
      seen[static_cast<size_t>(i)] = own.size() == 1 ? own.front() : -2;
    });
  })
      .join();
  EXPECT_EQ(seen, (List{allowed.front(), allowed.back()}));
}

// What the kernel says of the memory at an address: {mode, mask of nodes}, or {-1, 0} if it says nothing.
std::pair<int, unsigned long> policy_at(const char* address) {
  constexpr unsigned kOfAddress = 2;  // MPOL_F_ADDR
  int mode = -1;
  unsigned long mask[16] = {};
  if (syscall(SYS_get_mempolicy, &mode, mask, 1024, address, kOfAddress) != 0) return {-1, 0};
  return {mode, mask[0]};
}

TEST(PlaceParts, parts_are_bound_to_their_workers_nodes_and_keep_what_they_hold) {
  const int64_t bytes = 64 << 12;
  auto* memory = static_cast<char*>(std::aligned_alloc(1 << 12, static_cast<size_t>(bytes)));
  std::fill_n(memory, bytes, 'x');
  const auto untouched = policy_at(memory);
  place_parts(memory, bytes, {.count = 2, .cpus = {}, .nodes = {}});
  EXPECT_EQ(policy_at(memory), untouched);
  place_parts(memory, bytes, {.count = 2, .cpus = {}, .nodes = {0, 0}});
  const auto bound = policy_at(memory + bytes / 2);
  interleave(memory, bytes / 2, {.count = 2, .cpus = {}, .nodes = {0, 0}});
  const auto in_turn = policy_at(memory);
  EXPECT_EQ(std::count(memory, memory + bytes, 'x'), bytes);
  std::free(memory);
  if (bound == untouched) GTEST_SKIP() << "this system takes no policies of memory";
  EXPECT_EQ(bound, (std::pair<int, unsigned long>{1, 1}));    // MPOL_PREFERRED
  EXPECT_EQ(in_turn, (std::pair<int, unsigned long>{3, 1}));  // MPOL_INTERLEAVE
}

}  // namespace
}  // namespace heed
