// Bump memory for one step: everything taken since a mark is given back at once. Grows when a step needs more
// than any before it; the same sequence of requests then gets the same addresses again.
#pragma once
#include <vector>

#include "tensor/tensor.h"

namespace heed {

class Arena {
 public:
  struct Mark {
    size_t chunk = 0;
    int64_t used = 0;
  };

  // A contiguous tensor, not initialised, aligned to 64 bytes, valid until its mark is released.
  Tensor take(DType dtype, std::initializer_list<int64_t> sizes);
  Mark mark() const { return at_; }
  void release(Mark mark) { at_ = mark; }
  int64_t capacity() const;  // bytes held

 private:
  std::vector<Buffer> chunks_;
  Mark at_;
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
