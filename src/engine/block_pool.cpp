#include "engine/block_pool.h"

namespace heed {

BlockPool::BlockPool(int64_t page_bytes, int pages) : memory_(page_bytes * pages), taken_(pages, false) {
  for (int page = pages - 1; page >= 0; --page) free_.push_back(page);
}

int BlockPool::take() {
  if (free_.empty()) return -1;
  const int page = free_.back();
  free_.pop_back();
  taken_[page] = true;
  return page;
}

void BlockPool::give_back(int page) {
  CHECK(page >= 0 && page < pages() && taken_[page], page);
  taken_[page] = false;
  free_.push_back(page);
}

}  // namespace heed
