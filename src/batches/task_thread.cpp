#include "batches/task_thread.h"

#include <iterator>

namespace heed {

TaskThread::TaskThread(int max_tasks, int64_t max_bytes)
    : max_tasks_(max_tasks), max_bytes_(max_bytes), thread_([this] { work(); }) {}

TaskThread::~TaskThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

bool TaskThread::post(int64_t bytes, std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (std::ssize(tasks_) >= max_tasks_) return false;
  if (!tasks_.empty() && bytes_ + bytes > max_bytes_) return false;
  bytes_ += bytes;
  tasks_.emplace_back(bytes, std::move(task));
  changed_.notify_one();
  return true;
}

void TaskThread::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front().second);
    lock.unlock();
    task();
    task = nullptr;  // with what it holds
    lock.lock();
    bytes_ -= tasks_.front().first;
    tasks_.pop_front();
  }
}

}  // namespace heed
