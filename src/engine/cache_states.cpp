// Where the cache makes snapshots of recurrent states, and when one can be gone on from.
#include <algorithm>

#include "engine/cache.h"

namespace heed {

bool Cache::may_resume(const Sequence& sequence, int length) const {
  return states_.layout().empty() || states_.has(prefix_at(sequence, length));
}

// `last`: the last length of the step that is on the grid.
bool Cache::wants_snapshot(const Sequence& sequence, int length, int last) const {
  if (length % snapshot_stride_ == 0) return true;
  const std::vector<int>& wanted = sequence.wanted_snapshots;
  if (std::find(wanted.begin(), wanted.end(), length) != wanted.end()) return true;
  return length > sequence.answer_from && length == last;
}

bool Cache::may_snapshot(const Sequence& sequence, int count) const {
  if (states_.layout().empty() || !prefix_caching_) return false;
  return (sequence.computed + count) / snapshot_grid_ > sequence.computed / snapshot_grid_;
}

void Cache::begin_snapshots(Sequence& sequence, int count, int row, std::vector<StateSave>& saves) {
  if (!may_snapshot(sequence, count)) return;
  const int end = sequence.computed + count;
  const int last = end / snapshot_grid_ * snapshot_grid_;
  CHECK(last <= sequence.known(), last, sequence.known());
  hash_up_to(sequence, last / hash_block_);
  for (int length = sequence.computed / snapshot_grid_ * snapshot_grid_ + snapshot_grid_; length <= last;
       length += snapshot_grid_) {
    if (!wants_snapshot(sequence, length, last) || states_.has(prefix_at(sequence, length))) continue;
    const int slot = states_.begin_snapshot();
    if (slot < 0) return;
    sequence.snapshots.push_back({.length = length, .slot = slot});
    saves.push_back({.token = row + length - sequence.computed - 1, .slot = slot});
  }
}

void Cache::finish_snapshots(Sequence& sequence) {
  for (const PendingSnapshot& snapshot : sequence.snapshots) {
    states_.finish_snapshot(snapshot.slot, prefix_at(sequence, snapshot.length));
    if (snapshot.length <= sequence.answer_from) continue;
    // Of an answer the newest one is enough, but for those at the stride.
    const int before = sequence.last_snapshot;
    if (before > 0 && before % snapshot_stride_ != 0) states_.forget(prefix_at(sequence, before));
    sequence.last_snapshot = snapshot.length;
  }
  sequence.snapshots.clear();
}

int Cache::hold_drafts(Sequence& sequence, int count) {
  CHECK(sequence.draft_slots.empty());
  if (states_.layout().empty()) return count;
  // A step may not run past a length at which a snapshot of the answer is made.
  if (prefix_caching_) {
    const auto length = static_cast<int>(sequence.tokens.size());
    count = std::min(count, snapshot_grid_ - 1 - length % snapshot_grid_);
  }
  while (static_cast<int>(sequence.draft_slots.size()) < count) {
    const int slot = states_.take(/*zeroed=*/false);
    if (slot < 0) break;
    sequence.draft_slots.push_back(slot);
  }
  return static_cast<int>(sequence.draft_slots.size());
}

void Cache::begin_drafts(const Sequence& sequence, int guesses, int row,
                         std::vector<StateSave>& saves) const {
  if (states_.layout().empty()) return;
  for (int i = 0; i < guesses; ++i) saves.push_back({.token = row + i - 1, .slot = sequence.draft_slots[i]});
}

void Cache::settle_drafts(Sequence& sequence, int run, int kept) {
  if (!states_.layout().empty() && kept < run) std::swap(sequence.state_slot, sequence.draft_slots[kept]);
  for (const int slot : sequence.draft_slots) states_.give_back(slot);
  sequence.draft_slots.clear();
  sequence.drafted = 0;
}

void Cache::drop_drafts(Sequence& sequence) {
  sequence.tokens.resize(sequence.tokens.size() - sequence.drafted);
  settle_drafts(sequence, 0, 0);
}

}  // namespace heed
