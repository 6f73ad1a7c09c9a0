#include "tensor/upload.h"

#include <algorithm>

namespace heed {

Upload::Upload(Device& device) : device_(device), sent_(device.make_fence()) {}

void Upload::begin(int64_t bytes) {
  used_ = 0;
  if (device_.is_host()) return;
  sent_->wait();
  if (bytes <= here_.bytes()) return;
  constexpr int64_t kLeast = int64_t{64} << 10;
  const int64_t room = std::max({bytes, 2 * here_.bytes(), kLeast});
  here_ = device_.take_pinned(room);
  there_ = device_.take(room);
}

const char* Upload::place(const void* values, int64_t bytes, int64_t room) {
  const int64_t at = used_;
  used_ += rounded(room);
  CHECK(used_ <= here_.bytes(), used_, here_.bytes());
  if (bytes > 0) std::memcpy(static_cast<char*>(here_.data()) + at, values, static_cast<size_t>(bytes));
  return static_cast<const char*>(there_.data()) + at;
}

void Upload::send() {
  if (device_.is_host() || used_ == 0) return;
  device_.upload(there_.data(), here_.data(), used_);
  sent_->set();
}

const float* Constants::at(const std::vector<float>& values) {
  if (device_.is_host() || values.empty()) return values.data();
  for (const Copy& copy : copies_) {
    if (copy.values == values.data()) return static_cast<const float*>(copy.memory.data());
  }
  const auto bytes = std::ssize(values) * int64_t{sizeof(float)};
  copies_.push_back({values.data(), device_.take(bytes)});
  device_.upload(copies_.back().memory.data(), values.data(), bytes);
  return static_cast<const float*>(copies_.back().memory.data());
}

}  // namespace heed
