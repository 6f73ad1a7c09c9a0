#include "base/thread_pool.h"

#include <algorithm>

#include "base/check.h"

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

ThreadPool::ThreadPool(int threads) : ThreadPool(Workers{.count = threads}) {}

ThreadPool::ThreadPool(Workers workers) : where_(std::move(workers)) {
  const int wanted = where_.count > 0 ? where_.count : available_processors();
  left_ = std::make_unique<Left[]>(static_cast<size_t>(wanted));
  parts_ = std::make_unique<Worker[]>(static_cast<size_t>(wanted));
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

bool ThreadPool::take_part(int index, uint64_t loop) {
  return parts_[index].open.compare_exchange_strong(loop, 0, std::memory_order_acquire,
                                                    std::memory_order_relaxed);
}

void ThreadPool::work(int index) {
  run_on_cpus(cpus_of(index));
  uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && loop_.load(std::memory_order_acquire) == seen; ++spin) pause();
    if (loop_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || loop_.load(std::memory_order_acquire) != seen; });
      if (stopping_) return;
    }
    seen = loop_.load(std::memory_order_acquire);
    if (!take_part(index, seen)) continue;
    (*part_)(index);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::run_on(int parts, const std::function<void(int)>& part) {
  if (parts <= 1 || workers_.empty()) {
    for (int i = 0; i < parts; ++i) part(i);
    return;
  }
  uint64_t loop = 0;
  {
    const std::lock_guard lock(mutex_);
    loop = loop_.load(std::memory_order_relaxed) + 1;
    part_ = &part;
    busy_.store(parts - 1, std::memory_order_relaxed);
    for (int i = 1; i < parts; ++i) parts_[i].open.store(loop, std::memory_order_release);
    loop_.store(loop, std::memory_order_release);
  }
  wake_.notify_all();
  part(0);
  for (int i = 1; i < parts; ++i) {
    if (!take_part(i, loop)) continue;
    part(i);
    busy_.fetch_sub(1, std::memory_order_relaxed);
  }
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

namespace {

constexpr int kHalf = 32;
uint64_t range_of(int64_t begin, int64_t end) {
  return static_cast<uint64_t>(end) << kHalf | static_cast<uint64_t>(begin);
}
int64_t begin_of(uint64_t range) { return static_cast<int64_t>(range & UINT32_MAX); }
int64_t end_of(uint64_t range) { return static_cast<int64_t>(range >> kHalf); }

}  // namespace

// Three quarters of what is left: few pieces, and the last ones are short.
bool ThreadPool::take_front(Left& left, int64_t grain, int64_t& begin, int64_t& end) {
  uint64_t range = left.range.load(std::memory_order_relaxed);
  do {
    begin = begin_of(range);
    const int64_t rest = end_of(range) - begin;
    if (rest <= 0) return false;
    end = begin + std::min(rest, std::max(grain, rest - rest / 4));
  } while (!left.range.compare_exchange_weak(range, range_of(end, end_of(range)), std::memory_order_relaxed));
  return true;
}

bool ThreadPool::take_back(Left& left, int64_t grain, int64_t& begin, int64_t& end) {
  uint64_t range = left.range.load(std::memory_order_relaxed);
  do {
    end = end_of(range);
    const int64_t rest = end - begin_of(range);
    if (rest <= 0) return false;
    begin = end - std::min(rest, std::max(grain, rest / 2));
  } while (
      !left.range.compare_exchange_weak(range, range_of(begin_of(range), begin), std::memory_order_relaxed));
  return true;
}

void ThreadPool::parallel_pieces(int64_t count, int64_t grain,
                                 const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  CHECK(count <= UINT32_MAX, count);
  grain = std::max<int64_t>(grain, 1);
  const auto parts = static_cast<int>(std::min<int64_t>(size(), (count + grain - 1) / grain));
  if (parts == 1) return body(0, count);
  for (int i = 0; i < parts; ++i) {
    left_[i].range.store(range_of(count * i / parts, count * (i + 1) / parts), std::memory_order_relaxed);
  }
  run_on(parts, [&](int own) {
    int64_t begin = 0;
    int64_t end = 0;
    while (take_front(left_[own], grain, begin, end)) body(begin, end);
    for (int i = 1; i < parts; ++i) {
      while (take_back(left_[(own + i) % parts], grain, begin, end)) body(begin, end);
    }
  });
}

void ThreadPool::parallel_tasks(int64_t count, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  run_on(static_cast<int>(std::min<int64_t>(size(), count)), [&](int) {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(i);
  });
}

}  // namespace heed
