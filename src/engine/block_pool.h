// Uniform pages of cache memory and who holds them.
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace heed {

class BlockPool {
 public:
  BlockPool(int64_t page_bytes, int pages);

  // A free page, or -1 if there is none. Its content is whatever it was.
  int take();
  void give_back(int page);

  int pages() const { return static_cast<int>(taken_.size()); }
  int free_pages() const { return static_cast<int>(free_.size()); }
  bool taken(int page) const { return taken_[page]; }
  char* memory() const { return static_cast<char*>(memory_.data()); }

 private:
  Buffer memory_;
  std::vector<int> free_;
  std::vector<bool> taken_;
};

}  // namespace heed
