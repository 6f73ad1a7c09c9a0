// The block tables that attention kernels read: for each sequence that holds pages one row per cache group,
// written only when a page is taken or freed, so that a step need not copy any.
//
// Where the kernels run on an accelerator its memory holds a copy of all tables; what has changed since the
// last step is told by changes().
#pragma once
#include <cstdint>
#include <vector>

namespace heed {

class BlockTables {
 public:
  // `stride`: entries of a row. `rows` are there from the start; take() makes more when all are taken.
  // `remembers`: changes are kept until forget_changes().
  BlockTables(int groups, int64_t stride, int rows, bool remembers = false);

  int take();
  void give_back(int row);

  // Rows of a group lie `stride` entries apart: [rows, stride]. Valid until the next take().
  const int32_t* of(int group) const { return entries_.data() + place(group, 0); }
  const int32_t* row(int group, int row) const { return entries_.data() + place(group, row); }
  void set(int group, int row, int64_t at, int32_t entry) {
    const int64_t index = place(group, row) + at;
    entries_[index] = entry;
    if (remembers_) change(index);
  }
  int64_t stride() const { return stride_; }
  int64_t offset(int group) const { return place(group, 0); }  // of its rows within entries()
  int rows() const { return rows_; }
  int taken() const { return rows_ - static_cast<int>(free_.size()); }

  // All tables, [groups, rows, stride], and the places in it that have been set, each once. Where rows were
  // added since the last forget_changes() all is new.
  const std::vector<int32_t>& entries() const { return entries_; }
  const std::vector<int32_t>& changes() const { return changes_; }
  bool all_new() const { return all_new_; }
  void forget_changes();

 private:
  int64_t place(int group, int row) const { return (int64_t{group} * rows_ + row) * stride_; }
  void add(int rows);
  void change(int64_t index);

  int groups_;
  int64_t stride_;
  int rows_ = 0;
  std::vector<int32_t> entries_;  // -1: no block
  std::vector<int> free_;
  bool remembers_ = false, all_new_ = true;
  std::vector<int32_t> changes_;
  std::vector<bool> changed_;  // by place
};

}  // namespace heed
