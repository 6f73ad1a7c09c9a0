#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>

namespace heed {
namespace {

// A few microseconds of spinning covers the gap between two ops of one layer; longer gaps sleep.
constexpr int kSpins = 2000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

int available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int threads) {
  const int wanted = threads > 0 ? threads : available_processors();
  for (int i = 1; i < wanted; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::work(int index) {
  uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin) pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || generation_.load(std::memory_order_acquire) != seen; });
      if (stopping_) return;
    }
    seen = generation_.load(std::memory_order_acquire);
    if (index < parts_) (*part_)(index);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::run_on(int parts, const std::function<void(int)>& part) {
  if (parts <= 1 || workers_.empty()) {
    for (int i = 0; i < parts; ++i) part(i);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    part_ = &part;
    parts_ = parts;
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  part(0);
  // Where processors are shared, a worker may be waiting for this one.
  for (int spin = 0; busy_.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::parallel_for(int64_t count, int64_t grain,
                              const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  const int64_t most = (count + std::max<int64_t>(grain, 1) - 1) / std::max<int64_t>(grain, 1);
  const auto parts = static_cast<int>(std::min<int64_t>(size(), most));
  run_on(parts, [&](int i) { body(count * i / parts, count * (i + 1) / parts); });
}

void ThreadPool::parallel_tasks(int64_t count, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  run_on(static_cast<int>(std::min<int64_t>(size(), count)), [&](int) {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(i);
  });
}

}  // namespace heed
