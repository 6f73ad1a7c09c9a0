#include "engine/block_pool.h"

#include <algorithm>
#include <bit>

namespace heed {

BlockPool::BlockPool(int64_t page_bytes, int pages, Device& device)
    : memory_(device.take(page_bytes * pages)),
      states_(pages),
      index_(std::bit_ceil(2 * static_cast<size_t>(std::max(pages, 1))), -1) {
  free_.reserve(pages);
  for (int page = pages - 1; page >= 0; --page) free_.push_back(page);
}

// The prefix is a keyed hash: any of its bits are as good as random.
size_t BlockPool::home_of(const PageKey& key) const {
  return (key.prefix.low + 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(key.group)) & (index_.size() - 1);
}

void BlockPool::drop_key(int page) {
  PageKey& key = states_[page].key;
  if (key.group < 0) return;
  const size_t mask = index_.size() - 1;
  size_t hole = home_of(key);
  while (index_[hole] != page) hole = (hole + 1) & mask;
  // Entries after the hole move into it unless that would put them before their home.
  for (size_t at = (hole + 1) & mask; index_[at] >= 0; at = (at + 1) & mask) {
    const size_t home = home_of(states_[index_[at]].key);
    if (((at - home) & mask) < ((at - hole) & mask)) continue;
    index_[hole] = index_[at];
    hole = at;
  }
  index_[hole] = -1;
  key = {};
}

void BlockPool::link_newest(int page) {
  states_[page].older = newest_;
  states_[page].newer = -1;
  (newest_ >= 0 ? states_[newest_].newer : oldest_) = page;
  newest_ = page;
  ++cached_;
}

void BlockPool::unlink(int page) {
  const State& state = states_[page];
  (state.older >= 0 ? states_[state.older].newer : oldest_) = state.newer;
  (state.newer >= 0 ? states_[state.newer].older : newest_) = state.older;
  --cached_;
}

int BlockPool::take() {
  int page = oldest_;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (page >= 0) {
    unlink(page);
    drop_key(page);
  } else {
    return -1;
  }
  states_[page].holders = 1;
  return page;
}

void BlockPool::share(int page) {
  State& state = states_[page];
  CHECK(state.key.group >= 0, page);
  if (state.holders++ == 0) unlink(page);
}

void BlockPool::give_back(int page) {
  State& state = states_[page];
  CHECK(page >= 0 && page < pages() && state.holders > 0, page);
  if (--state.holders > 0) return;
  if (state.key.group >= 0) {
    link_newest(page);
  } else {
    free_.push_back(page);
  }
}

void BlockPool::set_key(int page, const PageKey& key) {
  State& state = states_[page];
  CHECK(state.holders > 0 && key.group >= 0, page, key.group);
  if (state.key.group >= 0) return;
  size_t at = home_of(key);
  for (; index_[at] >= 0; at = (at + 1) & (index_.size() - 1)) {
    if (states_[index_[at]].key == key) return;
  }
  index_[at] = page;
  state.key = key;
}

int BlockPool::find(const PageKey& key) const {
  for (size_t at = home_of(key); index_[at] >= 0; at = (at + 1) & (index_.size() - 1)) {
    if (states_[index_[at]].key == key) return index_[at];
  }
  return -1;
}

void BlockPool::forget() {
  for (State& state : states_) state.key = {};
  std::fill(index_.begin(), index_.end(), -1);
  for (int page = oldest_; page >= 0; page = states_[page].newer) free_.push_back(page);
  oldest_ = newest_ = -1;
  cached_ = 0;
}

void BlockPool::check() const {
  int unheld = 0;
  int keyed = 0;
  for (int page = 0; page < pages(); ++page) {
    const State& state = states_[page];
    if (state.holders == 0) ++unheld;
    if (state.key.group < 0) continue;
    ++keyed;
    CHECK(find(state.key) == page, page, find(state.key));
  }
  CHECK(unheld == available_pages(), unheld, available_pages());
  const auto entries = index_.size() - static_cast<size_t>(std::count(index_.begin(), index_.end(), -1));
  CHECK(entries == static_cast<size_t>(keyed), entries, keyed);
  int cached = 0;
  for (int page = oldest_; page >= 0; page = states_[page].newer, ++cached) {
    CHECK(states_[page].holders == 0 && states_[page].key.group >= 0 && cached < cached_, page, cached);
  }
  CHECK(cached == cached_, cached, cached_);
}

}  // namespace heed
