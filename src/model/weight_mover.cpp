#include "model/weight_mover.h"

#include <cstring>
#include <vector>

#include "base/checked.h"

namespace heed {
namespace {

constexpr int64_t kAlign = 256;

// The elements of a tensor whose innermost stride is 1, without gaps.
std::vector<char> packed(const Tensor& t) {
  std::vector<char> all;
  all.reserve(static_cast<size_t>(t.bytes()));
  const int64_t row_bytes = bytes_of(t.dtype, t.size[t.rank - 1]);
  const int64_t rows = row_bytes > 0 ? t.bytes() / row_bytes : 0;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t at = 0;
    int64_t rest = row;
    for (int i = t.rank - 2; i >= 0; --i) {
      at += rest % t.size[i] * t.stride[i];
      rest /= t.size[i];
    }
    const char* from = t.at(at);
    all.insert(all.end(), from, from + row_bytes);
  }
  return all;
}

}  // namespace

void WeightMover::expect(const Footprint& footprint, const TensorNeed& need) {
  expected_ += round_up(footprint.mapped + footprint.owned, kAlign) + std::ssize(need.parts) * kAlign;
}

void* WeightMover::place(int64_t bytes) {
  if (memory_.data() == nullptr) memory_ = device_.take(expected_);
  const int64_t at = used_;
  used_ += round_up(bytes, kAlign);
  CHECK(used_ <= expected_, "weights need more memory than their needs said", used_, expected_);
  return static_cast<char*>(memory_.data()) + at;
}

void WeightMover::move(Tensor& tensor) {
  void* there = place(tensor.bytes());
  if (tensor.contiguous()) {
    device_.upload(there, tensor.data, tensor.bytes());
    tensor.data = there;
    return;
  }
  const std::vector<char> copy = packed(tensor);
  device_.upload(there, copy.data(), tensor.bytes());
  int64_t step = 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    tensor.stride[i] = step;
    step *= tensor.size[i];
  }
  tensor.data = there;
}

void WeightMover::move(const TensorNeed& need, Weights& weights) {
  for (const TensorNeed::Part& part : need.parts) move(part.target());
  weights.owned.clear();
}

Buffer WeightMover::finish() {
  device_.wait();
  return std::move(memory_);
}

}  // namespace heed
