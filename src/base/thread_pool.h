// A pool that runs one loop at a time over all its threads.
//
// Every iteration is run exactly once by one thread: a loop whose iterations are independent gives the same
// bits every time, whoever runs which. One caller at a time; the caller is one of the workers. Loops do not
// nest, and iterations do not wait for each other: a worker that has no processor when a loop begins would be
// waited for until it gets one, so the caller does its part when its own is done.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/processors.h"

namespace heed {

class ThreadPool {
 public:
  // threads: 1 and up, the caller included; 0: as many as this process may run on.
  explicit ThreadPool(int threads);
  explicit ThreadPool(Workers workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The calling thread runs from now on where the first worker does: loops are called from it.
  void place_caller() const { run_on_cpus(cpus_of(0)); }

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs body(begin, end) on contiguous parts of [0, count), one part a thread. `grain`: a thread gets at
  // least so many iterations, so that a short loop does not wake threads for nothing.
  void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

  // The same for loops that take long enough for one thread to fall behind, and whose pieces come best in
  // order: a thread goes through a part of its own from the front, piece by piece, and then takes from the
  // ends of what the others still have. No piece but the last of a part is shorter than `grain`.
  void parallel_pieces(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

  // Runs body(i) for i in [0, count); threads take the next index when free. For iterations of unequal cost.
  void parallel_tasks(int64_t count, const std::function<void(int64_t)>& body);

 private:
  struct alignas(64) Worker {
    // The loop, by its number, whose part is there for this worker; 0 once it has been taken, by it or by the
    // caller.
    std::atomic<uint64_t> open{0};
  };
  // What nobody has taken yet of a thread's part: its begin in the low half, its end in the high one.
  struct alignas(64) Left {
    std::atomic<uint64_t> range{0};
  };

  static bool take_front(Left& left, int64_t grain, int64_t& begin, int64_t& end);
  static bool take_back(Left& left, int64_t grain, int64_t& begin, int64_t& end);
  void run_on(int parts, const std::function<void(int)>& part);
  void work(int index);
  bool take_part(int index, uint64_t loop);
  std::vector<int> cpus_of(int worker) const {
    return where_.cpus.empty() ? std::vector<int>() : where_.cpus[static_cast<size_t>(worker)];
  }

  Workers where_;
  std::vector<std::thread> workers_;
  std::unique_ptr<Left[]> left_;     // [size()]
  std::unique_ptr<Worker[]> parts_;  // [size()]
  std::mutex mutex_;
  std::condition_variable wake_;
  const std::function<void(int)>* part_ =
      nullptr;                     // written before parts are open, read by who has taken one
  std::atomic<uint64_t> loop_{0};  // the number of the last one
  std::atomic<int> busy_{0};       // parts of it that are not done, but for the caller's own
  bool stopping_ = false;          // guarded by mutex_
};

}  // namespace heed
