// Tensor: a strided view of up to four dimensions. Copying it copies the view, never the elements, and it
// owns nothing; the owners are Buffer, the arena, the cache and the mapped weights.
#pragma once
#include <array>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>

#include "base/check.h"
#include "tensor/dtype.h"

namespace heed {

struct Tensor {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> size = {0, 0, 0, 0};    // elements in each dimension, outermost first
  std::array<int64_t, kMaxRank> stride = {0, 0, 0, 0};  // in elements

  Tensor() = default;
  // A contiguous view of `data`.
  Tensor(void* address, DType type, std::initializer_list<int64_t> sizes) : data(address), dtype(type) {
    CHECK(sizes.size() <= kMaxRank, sizes.size());
    for (const int64_t s : sizes) size[rank++] = s;
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      stride[i] = step;
      step *= size[i];
    }
  }

  bool defined() const { return rank > 0; }
  int64_t elements() const {
    int64_t n = rank > 0 ? 1 : 0;
    for (int i = 0; i < rank; ++i) n *= size[i];
    return n;
  }
  int64_t bytes() const { return bytes_of(dtype, elements()); }
  // Where the element at this offset from the first lies; of blocks, one that begins a block.
  char* at(int64_t offset) const { return as<char>() + bytes_of(dtype, offset); }
  bool contiguous() const {
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (size[i] != 1 && stride[i] != step) return false;
      step *= size[i];
    }
    return true;
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  const float* f32() const {
    CHECK(dtype == DType::kF32, name_of(dtype));
    return as<const float>();
  }
  float* mutable_f32() const {
    CHECK(dtype == DType::kF32, name_of(dtype));
    return as<float>();
  }

  // Elements [begin, end) of the outermost dimension.
  Tensor slice(int64_t begin, int64_t end) const {
    CHECK(rank > 0 && 0 <= begin && begin <= end && end <= size[0], begin, end, size[0]);
    Tensor part = *this;
    part.data = at(begin * stride[0]);
    part.size[0] = end - begin;
    return part;
  }
  // Elements [begin, end) of the innermost dimension.
  Tensor columns(int64_t begin, int64_t end) const {
    CHECK(rank > 0 && 0 <= begin && begin <= end && end <= size[rank - 1], begin, end, size[rank - 1]);
    Tensor part = *this;
    CHECK(begin % block_of(dtype).elements == 0, name_of(dtype), begin);
    part.data = at(begin * stride[rank - 1]);
    part.size[rank - 1] = end - begin;
    return part;
  }
  // [a, b*c] as [a, b, c]: the last dimension split; its stride must be 1.
  Tensor split_last(int64_t outer, int64_t inner) const {
    CHECK(rank > 0 && rank < kMaxRank && size[rank - 1] == outer * inner && stride[rank - 1] == 1);
    Tensor view = *this;
    view.size[rank - 1] = outer;
    view.stride[rank - 1] = inner;
    view.size[rank] = inner;
    view.stride[rank] = 1;
    ++view.rank;
    return view;
  }
};

// "float32 [3, 64]", for messages.
std::string describe(const Tensor& tensor);

// Owns one allocation, aligned to 64 bytes, not initialised: of the host's memory, or of what a Device has
// (tensor/device.h).
class Buffer {
 public:
  using Release = void (*)(void* memory);
  Buffer() = default;
  explicit Buffer(int64_t bytes);
  Buffer(void* memory, int64_t bytes, Release release) : memory_(memory, release), bytes_(bytes) {}
  void* data() const { return memory_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<void, Release> memory_{nullptr, std::free};
  int64_t bytes_ = 0;
};

}  // namespace heed
