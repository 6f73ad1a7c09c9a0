#include "engine/state_pool.h"

#include <algorithm>

namespace heed {

StatePool::StatePool(StateLayout layout, int live, int snapshots, Device& device)
    : layout_(std::move(layout)), device_(device), live_(layout_.empty() ? 0 : live) {
  if (layout_.empty()) return;
  memory_ = device.take((int64_t{live} + snapshots) * layout_.slot_bytes());
  for (int slot = live - 1; slot >= 0; --slot) free_.push_back(slot);
  for (int slot = live + snapshots - 1; slot >= live; --slot) free_snapshots_.push_back(slot);
  index_.reserve(snapshots);
}

int StatePool::take(bool zeroed) {
  if (free_.empty()) return -1;
  const int slot = free_.back();
  free_.pop_back();
  if (zeroed) device_.zero(address(slot), layout_.slot_bytes());
  return slot;
}

void StatePool::give_back(int slot) { free_.push_back(slot); }

int StatePool::begin_snapshot() {
  if (free_snapshots_.empty()) {
    if (used_.empty()) return -1;
    forget(Hash128(used_.back().key));
  }
  const int slot = free_snapshots_.back();
  free_snapshots_.pop_back();
  return slot;
}

void StatePool::finish_snapshot(int slot, const Hash128& key) {
  if (const auto found = index_.find(key); found != index_.end()) {
    used_.splice(used_.begin(), used_, found->second);
    drop_snapshot(slot);
    return;
  }
  used_.push_front({key, slot});
  index_.emplace(key, used_.begin());
}

void StatePool::drop_snapshot(int slot) { free_snapshots_.push_back(slot); }

void StatePool::forget(const Hash128& key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return;
  free_snapshots_.push_back(found->second->slot);
  used_.erase(found->second);
  index_.erase(found);
}

void StatePool::forget_all() {
  while (!used_.empty()) forget(Hash128(used_.back().key));
}

void StatePool::restore(const Hash128& key, int slot) {
  const auto found = index_.find(key);
  CHECK(found != index_.end());
  used_.splice(used_.begin(), used_, found->second);
  device_.copy(address(slot), address(found->second->slot), layout_.slot_bytes());
}

std::vector<Tensors> StatePool::layers() const {
  std::vector<Tensors> views(layout_.layers.size());
  if (layout_.empty()) return views;
  const int64_t slots = memory_.bytes() / layout_.slot_bytes();
  for (size_t layer = 0; layer < views.size(); ++layer) {
    for (const StateTensor& state : layout_.layers[layer]) {
      Tensor t(memory() + state.offset * size_of(layout_.dtype), layout_.dtype, {slots});
      t.rank = static_cast<int>(state.shape.size()) + 1;
      int64_t step = 1;
      for (int i = t.rank - 1; i > 0; --i) {
        t.size[i] = state.shape[i - 1];
        t.stride[i] = step;
        step *= t.size[i];
      }
      t.stride[0] = layout_.slot_elements;
      views[layer].push_back(t);
    }
  }
  return views;
}

void StatePool::check(const std::vector<int>& taken, const std::vector<int>& under_way) const {
  if (layout_.empty()) return;
  std::vector<int> all = taken;
  all.insert(all.end(), free_.begin(), free_.end());
  CHECK(static_cast<int>(all.size()) == live_, all.size(), live_);
  all.insert(all.end(), under_way.begin(), under_way.end());
  all.insert(all.end(), free_snapshots_.begin(), free_snapshots_.end());
  for (const Snapshot& snapshot : used_) all.push_back(snapshot.slot);
  std::sort(all.begin(), all.end());
  const int64_t slots = memory_.bytes() / layout_.slot_bytes();
  CHECK(std::ssize(all) == slots, all.size(), slots);
  for (int i = 0; i < static_cast<int>(all.size()); ++i) CHECK(all[i] == i, all[i], i);
  CHECK(used_.size() == index_.size(), used_.size(), index_.size());
}

}  // namespace heed
