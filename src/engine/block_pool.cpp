#include "engine/block_pool.h"

namespace heed {

BlockPool::BlockPool(int64_t page_bytes, int pages) : memory_(page_bytes * pages), states_(pages) {
  for (int page = pages - 1; page >= 0; --page) free_.push_back(page);
}

void BlockPool::drop_key(int page) {
  State& state = states_[page];
  if (!state.key) return;
  const auto found = index_.find(*state.key);
  if (found != index_.end() && found->second == page) index_.erase(found);
  state.key.reset();
}

int BlockPool::take() {
  int page = -1;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (!cached_.empty()) {
    page = cached_.front();
    cached_.pop_front();
    drop_key(page);
  } else {
    return -1;
  }
  states_[page].holders = 1;
  return page;
}

void BlockPool::share(int page) {
  State& state = states_[page];
  CHECK(state.key.has_value(), page);
  if (state.holders++ == 0) cached_.erase(state.place);
}

void BlockPool::give_back(int page) {
  State& state = states_[page];
  CHECK(page >= 0 && page < pages() && state.holders > 0, page);
  if (--state.holders > 0) return;
  if (state.key) {
    state.place = cached_.insert(cached_.end(), page);
  } else {
    free_.push_back(page);
  }
}

void BlockPool::set_key(int page, const PageKey& key) {
  State& state = states_[page];
  CHECK(state.holders > 0, page);
  if (state.key) return;
  if (index_.emplace(key, page).second) state.key = key;
}

int BlockPool::find(const PageKey& key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? -1 : found->second;
}

void BlockPool::forget() {
  for (int page = 0; page < pages(); ++page) states_[page].key.reset();
  index_.clear();
  for (const int page : cached_) free_.push_back(page);
  cached_.clear();
}

}  // namespace heed
