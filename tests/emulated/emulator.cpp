#include "tests/emulated/emulator.h"

#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <deque>
#include <random>
#include <utility>
#include <vector>

#include "base/check.h"

namespace heed::emulated {
namespace {

using boost::context::fiber;

constexpr int kMostMemory = 227 << 10;
constexpr int kMostBytes = 64;  // that a lane brings, or gets

struct Barrier {
  int arrived = 0;
  std::vector<int> waiting;
};

struct Copy {
  char* to;
  const char* from;
};

struct Thread {
  fiber context;
  bool done = false;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

// Operations take turns with two sets of places: nobody begins the next but one before all are done with one.
struct Warp {
  Barrier barrier;
  std::array<unsigned, kLanes> turns = {};
  alignas(16) char brought[2][kLanes * kMostBytes];
  alignas(16) char results[2][kLanes * kMostBytes];
};

class Block {
 public:
  void run(unsigned blocks, unsigned threads, int shared_bytes, const std::function<void()>& body) {
    CHECK(threads % kLanes == 0 && shared_bytes <= kMostMemory, threads, shared_bytes);
    blocks_ = blocks;
    shared_bytes_ = shared_bytes;
    for (index_ = 0; index_ < blocks; ++index_) run_one(threads, body);
  }

  int now() const { return now_; }
  unsigned index() const { return index_; }
  unsigned blocks() const { return blocks_; }
  char* memory() { return memory_; }
  int memory_bytes() const { return shared_bytes_; }
  Thread& thread() { return threads_[static_cast<size_t>(now_)]; }
  Warp& warp() { return warps_[static_cast<size_t>(now_ / kLanes)]; }

  // True for the one that came last.
  bool wait_at(Barrier& barrier, int threads) {
    if (++barrier.arrived >= threads) {
      release(barrier);
      return true;
    }
    barrier.waiting.push_back(now_);
    main_ = std::move(main_).resume();
    return false;
  }
  void sync(int barrier, int threads) { wait_at(barriers_.at(static_cast<size_t>(barrier)), threads); }
  void sync_all() {
    waits_for_all_ = true;
    sync(0, alive_);
  }

  void together(const void* mine, int bytes, void* result, int result_bytes, const WarpOp& all) {
    CHECK(bytes <= kMostBytes && result_bytes <= kMostBytes, bytes, result_bytes);
    Warp& own = warp();
    const auto lane = static_cast<size_t>(now_ % kLanes);
    const unsigned turn = own.turns[lane]++ % 2;
    if (bytes > 0)
      std::memcpy(own.brought[turn] + lane * static_cast<size_t>(bytes), mine, static_cast<size_t>(bytes));
    if (own.barrier.arrived + 1 == kLanes) all(own.brought[turn], own.results[turn]);
    wait_at(own.barrier, kLanes);
    if (result_bytes > 0)
      std::memcpy(result, own.results[turn] + lane * static_cast<size_t>(result_bytes),
                  static_cast<size_t>(result_bytes));
  }

 private:
  void release(Barrier& barrier) {
    barrier.arrived = 0;
    ready_.insert(ready_.end(), barrier.waiting.begin(), barrier.waiting.end());
    barrier.waiting.clear();
  }

  void run_one(unsigned threads, const std::function<void()>& body) {
    std::memset(memory_, 0xff, sizeof memory_);
    barriers_ = {};
    waits_for_all_ = false;
    warps_ = std::vector<Warp>(threads / kLanes);
    threads_.clear();
    threads_.resize(threads);
    alive_ = static_cast<int>(threads);
    for (unsigned i = 0; i < threads; ++i) {
      threads_[i].context = fiber(std::allocator_arg, stacks_, [this, &body](fiber&& main) {
        main_ = std::move(main);
        body();
        thread().done = true;
        return std::move(main_);
      });
      ready_.push_back(static_cast<int>(i));
    }
    while (!ready_.empty()) step();
    for (unsigned i = 0; i < threads; ++i) CHECK(threads_[i].done, "waits for ever", index_, i);
  }

  void step() {
    const size_t next = std::uniform_int_distribution<size_t>(0, ready_.size() - 1)(random_);
    now_ = std::exchange(ready_[next], ready_.back());
    ready_.pop_back();
    thread().context = std::move(thread().context).resume();
    if (!thread().done) return;
    --alive_;
    if (waits_for_all_ && barriers_[0].arrived > 0 && barriers_[0].arrived >= alive_) release(barriers_[0]);
  }

  alignas(1024) char memory_[kMostMemory];
  int shared_bytes_ = 0;
  unsigned index_ = 0, blocks_ = 0;
  int now_ = 0, alive_ = 0;
  bool waits_for_all_ = false;  // at barrier 0
  fiber main_;
  std::vector<int> ready_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::array<Barrier, kBarriers> barriers_;
  std::mt19937 random_{1};
  boost::context::pooled_fixedsize_stack stacks_{size_t{256} << 10};
};

Block& block() {
  static Block only;
  return only;
}

}  // namespace

unsigned thread_index() { return static_cast<unsigned>(block().now()); }
unsigned block_index() { return block().index(); }
unsigned blocks() { return block().blocks(); }
char* block_memory() { return block().memory(); }
int block_memory_bytes() { return block().memory_bytes(); }
void sync(int barrier, int threads) { block().sync(barrier, threads); }
void sync_all() { block().sync_all(); }

void copy_later(char* to, const char* from) { block().thread().open.push_back({to, from}); }
void commit_copies() {
  Thread& thread = block().thread();
  thread.groups.push_back(std::exchange(thread.open, {}));
}
void wait_for_copies(int pending) {
  std::deque<std::vector<Copy>>& groups = block().thread().groups;
  for (; static_cast<int>(groups.size()) > pending; groups.pop_front()) {
    for (const Copy& copy : groups.front()) {
      if (copy.from != nullptr) {
        std::memcpy(copy.to, copy.from, 16);
      } else {
        std::memset(copy.to, 0, 16);
      }
    }
  }
}

void together(const void* mine, int bytes, void* result, int result_bytes, const WarpOp& all) {
  block().together(mine, bytes, result, result_bytes, all);
}

void run(unsigned blocks, unsigned threads, int shared_bytes, const std::function<void()>& body) {
  block().run(blocks, threads, shared_bytes, body);
}

}  // namespace heed::emulated
