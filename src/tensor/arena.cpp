#include "tensor/arena.h"

#include <algorithm>

#include "base/checked.h"

namespace heed {

Arena Arena::measuring() {
  Arena arena;
  arena.measures_ = true;
  return arena;
}

Tensor Arena::take(DType dtype, std::initializer_list<int64_t> sizes) {
  Tensor tensor(nullptr, dtype, sizes);
  const int64_t bytes = round_up(std::max<int64_t>(tensor.bytes(), 1), 64);
  if (measures_) {
    alignas(64) static char nowhere[64];  // so that views of parts can be taken
    tensor.data = nowhere;
    at_.used += bytes;
    peak_ = std::max(peak_, at_.used);
    return tensor;
  }
  while (at_.chunk < chunks_.size() && at_.used + bytes > chunks_[at_.chunk].bytes())
    at_ = {at_.chunk + 1, 0};
  if (at_.chunk == chunks_.size()) {
    CHECK(grows_, "a step needs more memory than was planned", bytes, capacity());
    constexpr int64_t kSmallest = int64_t{1} << 20;
    // Doubling: few chunks, however it grows.
    chunks_.push_back(device_->take(std::max({bytes, capacity(), kSmallest})));
    at_.used = 0;
  }
  tensor.data = static_cast<char*>(chunks_[at_.chunk].data()) + at_.used;
  at_.used += bytes;
  return tensor;
}

int64_t Arena::capacity() const {
  int64_t bytes = 0;
  for (const Buffer& chunk : chunks_) bytes += chunk.bytes();
  return bytes;
}

}  // namespace heed
