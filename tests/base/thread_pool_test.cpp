#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>
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

TEST(ThreadPool, pieces_are_run_exactly_once_and_what_a_slow_thread_leaves_is_taken) {
  ThreadPool pool(3);
  for (const int64_t count : {0, 1, 2, 3, 50, 1000}) {
    for (const int64_t grain : {1, 7, 5000}) {
      std::vector<int> runs(static_cast<size_t>(count), 0);
      pool.parallel_pieces(count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++runs[static_cast<size_t>(i)];
      });
      EXPECT_EQ(runs, std::vector<int>(static_cast<size_t>(count), 1)) << count << " by " << grain;
    }
  }
  // The thread that has iteration 0 waits until all that is not in its piece has been done.
  constexpr int kCount = 600;
  constexpr int kOwn = kCount / 3 * 3 / 4;
  std::atomic<int> done{0};
  pool.parallel_pieces(kCount, 1, [&](int64_t begin, int64_t end) {
    while (begin == 0 && done < kCount - kOwn) std::this_thread::yield();
    done += static_cast<int>(end - begin);
  });
  EXPECT_EQ(done, kCount);
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

TEST(ThreadPool, the_caller_does_what_a_worker_without_a_processor_would) {
  static constexpr int kLoops = 1000;
  const int cpu = allowed_processors().front();
  std::thread elsewhere([cpu] {  // a thread of its own, for it stays on that processor
    ThreadPool pool(Workers{.count = 2, .cpus = {{cpu}, {cpu}}});
    pool.place_caller();
    int by_caller = 0;
    int all = 0;
    std::mutex mutex;
    for (int loop = 0; loop < kLoops; ++loop) {
      pool.parallel_for(2, 1, [&, caller = std::this_thread::get_id()](int64_t, int64_t) {
        const std::lock_guard lock(mutex);
        ++all;
        if (std::this_thread::get_id() == caller) ++by_caller;
      });
    }
    EXPECT_EQ(all, 2 * kLoops);
    EXPECT_GT(by_caller, kLoops) << "its own, and some of the other's: how many is the system's choice";
  });
  elsewhere.join();
}

}  // namespace
}  // namespace heed
