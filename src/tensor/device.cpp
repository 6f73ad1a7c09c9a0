#include "tensor/device.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace heed {
namespace {

// All that was asked for is done already.
class NoFence final : public Fence {
 public:
  void set() override { moment_ = std::chrono::steady_clock::now(); }
  void wait() override {}
  double seconds_since(const Fence& earlier) const override {
    return std::chrono::duration<double>(moment_ - static_cast<const NoFence&>(earlier).moment_).count();
  }

 private:
  std::chrono::steady_clock::time_point moment_;
};

class Host final : public Device {
 public:
  bool is_host() const override { return true; }
  void* stream() override { return nullptr; }
  Buffer take(int64_t bytes) override { return Buffer(bytes); }
  Buffer take_pinned(int64_t bytes) override { return Buffer(bytes); }
  void upload(void* to, const void* from, int64_t bytes) override { copy(to, from, bytes); }
  void download(void* to, const void* from, int64_t bytes) override { copy(to, from, bytes); }
  void download_later(void* to, const void* from, int64_t bytes) override { copy(to, from, bytes); }
  void copy(void* to, const void* from, int64_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void zero(void* at, int64_t bytes) override {
    if (bytes > 0) std::memset(at, 0, static_cast<size_t>(bytes));
  }
  void wait() override {}
  std::unique_ptr<Fence> make_fence() override { return std::make_unique<NoFence>(); }
  std::unique_ptr<Fence> make_timed_fence() override { return make_fence(); }
  void scatter(int32_t* words, const int32_t* places, const int32_t* values, int64_t count) override {
    for (int64_t i = 0; i < count; ++i) words[places[i]] = values[i];
  }
  void feed(int32_t* tokens, const int32_t* places, const int32_t* ids, const int32_t* rows,
            int64_t count) override {
    for (int64_t i = 0; i < count; ++i) tokens[places[i]] = std::max(ids[rows[i]], 0);
  }
};

}  // namespace

Device& host_device() {
  static Host host;
  return host;
}

}  // namespace heed
