#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <vector>

namespace heed {
namespace {

TEST(ThreadPool, every_index_is_run_exactly_once) {
  ThreadPool pool(4);
  for (const int64_t count : {0, 1, 3, 4, 5, 1000}) {
    for (const int64_t grain : {1, 7, 5000}) {
      std::vector<int> runs(static_cast<size_t>(count), 0);
      pool.parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++runs[static_cast<size_t>(i)];
      });
      EXPECT_EQ(runs, std::vector<int>(static_cast<size_t>(count), 1)) << count << " by " << grain;
    }
  }
}

TEST(ThreadPool, tasks_are_run_exactly_once_by_whoever_is_free) {
  ThreadPool pool(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<int> runs(17, 0);
    pool.parallel_tasks(17, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
    EXPECT_EQ(runs, std::vector<int>(17, 1));
  }
}

TEST(ThreadPool, sleeping_workers_wake_for_the_next_loop) {
  ThreadPool pool(2);
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> sum{0};
    pool.parallel_for(100, 1, [&](int64_t begin, int64_t end) { sum += static_cast<int>(end - begin); });
    EXPECT_EQ(sum, 100);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace
}  // namespace heed
