// A pool that runs one loop at a time over all its threads, with a fixed partition.
//
// The partition depends on the loop's length and the number of threads only, never on timing, and every
// iteration is run exactly once by one thread: a loop whose iterations are independent gives the same bits
// every time. One caller at a time; the caller is one of the workers. Loops do not nest.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace heed {

class ThreadPool {
 public:
  // threads: 1 and up, the caller included; 0: as many as this process may run on.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs body(begin, end) on contiguous parts of [0, count), one part a thread. `grain`: a thread gets at
  // least so many iterations, so that a short loop does not wake threads for nothing.
  void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

  // Runs body(i) for i in [0, count); threads take the next index when free. For iterations of unequal cost.
  void parallel_tasks(int64_t count, const std::function<void(int64_t)>& body);

 private:
  void run_on(int parts, const std::function<void(int)>& part);
  void work(int index);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  const std::function<void(int)>* part_ = nullptr;  // written before generation_ rises, read after
  int parts_ = 0;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> busy_{0};
  bool stopping_ = false;  // guarded by mutex_
};

// The number of processors this process may run on.
int available_processors();

}  // namespace heed
