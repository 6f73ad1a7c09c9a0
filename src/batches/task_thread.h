// A thread that runs tasks one after another, with a bounded queue.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace heed {

class TaskThread {
 public:
  TaskThread(int max_tasks, int64_t max_bytes);
  ~TaskThread();  // after what was posted has run
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;

  // `bytes`: the memory that the task holds. False: the queue is full, and the task will not run. One task is
  // taken whatever its size.
  bool post(int64_t bytes, std::function<void()> task);

 private:
  void work();

  const int max_tasks_;
  const int64_t max_bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<int64_t, std::function<void()>>> tasks_;  // the first may be running
  int64_t bytes_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace heed
