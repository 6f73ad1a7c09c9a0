#include "engine/block_tables.h"

#include <algorithm>

#include "base/check.h"

namespace heed {

BlockTables::BlockTables(int groups, int64_t stride, int rows, bool remembers)
    : groups_(groups), stride_(stride), remembers_(remembers) {
  add(rows);
}

void BlockTables::add(int rows) {
  const std::vector<int32_t> before = std::move(entries_);
  const int64_t had = rows_ * stride_;
  free_.reserve(rows_ + rows);
  for (int i = rows - 1; i >= 0; --i) free_.push_back(rows_ + i);
  rows_ += rows;
  entries_.assign(groups_ * rows_ * stride_, -1);
  for (int group = 0; group < groups_; ++group)
    std::copy_n(before.begin() + group * had, had, entries_.begin() + place(group, 0));
  forget_changes();
  all_new_ = true;
  if (!remembers_) return;
  CHECK(std::ssize(entries_) <= INT32_MAX, entries_.size());
  changed_.assign(entries_.size(), false);
}

void BlockTables::change(int64_t index) {
  if (changed_[index]) return;
  changed_[index] = true;
  changes_.push_back(static_cast<int32_t>(index));
}

void BlockTables::forget_changes() {
  for (const int32_t index : changes_) changed_[index] = false;
  changes_.clear();
  all_new_ = false;
}

int BlockTables::take() {
  if (free_.empty()) add(std::max(rows_, 1));
  const int row = free_.back();
  free_.pop_back();
  return row;
}

void BlockTables::give_back(int row) {
  CHECK(row >= 0 && row < rows_, row, rows_);
  free_.push_back(row);
}

}  // namespace heed
