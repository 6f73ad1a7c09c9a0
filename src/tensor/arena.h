// Bump memory for one step: everything taken since a mark is given back at once. The same sequence of
// requests gets the same addresses again.
//
// Made with a size, it never takes more memory than that: a step that would is our bug (CHECK). Made without,
// it grows when a step needs more than any before it.
#pragma once
#include <vector>

#include "tensor/device.h"

namespace heed {

class Arena {
 public:
  struct Mark {
    size_t chunk = 0;
    int64_t used = 0;
  };

  Arena() = default;
  // `device` must outlive the arena.
  explicit Arena(int64_t bytes, Device& device = host_device()) : device_(&device), grows_(bytes == 0) {
    if (bytes > 0) chunks_.push_back(device.take(bytes));
  }
  // Counts only: the tensors have no memory behind them.
  static Arena measuring();

  // A contiguous tensor, not initialised, aligned to 64 bytes, valid until its mark is released.
  Tensor take(DType dtype, std::initializer_list<int64_t> sizes);
  Mark mark() const { return at_; }
  void release(Mark mark) { at_ = mark; }
  bool measures() const { return measures_; }
  int64_t capacity() const;               // bytes held
  int64_t peak() const { return peak_; }  // of a measuring arena: most bytes taken at a time
  const std::vector<Buffer>& chunks() const { return chunks_; }

 private:
  Device* device_ = &host_device();
  std::vector<Buffer> chunks_;
  Mark at_;
  bool grows_ = true;
  bool measures_ = false;
  int64_t peak_ = 0;
};

// Releases what was taken during its lifetime.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace heed
