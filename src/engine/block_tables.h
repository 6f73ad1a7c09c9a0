// The block tables that attention kernels read: for each sequence that holds pages one row per cache group,
// written only when a page is taken or freed, so that a step need not copy any.
#pragma once
#include <cstdint>
#include <vector>

namespace heed {

class BlockTables {
 public:
  // `stride`: entries of a row. `rows` are there from the start; take() makes more when all are taken.
  BlockTables(int groups, int64_t stride, int rows);

  int take();
  void give_back(int row);

  // Rows of a group lie `stride` entries apart: [rows, stride]. Valid until the next take().
  const int32_t* of(int group) const { return tables_[group].data(); }
  int32_t* row(int group, int row) { return tables_[group].data() + row * stride_; }
  const int32_t* row(int group, int row) const { return tables_[group].data() + row * stride_; }
  int64_t stride() const { return stride_; }
  int taken() const { return rows_ - static_cast<int>(free_.size()); }

 private:
  void add(int rows);

  int64_t stride_;
  int rows_ = 0;
  std::vector<std::vector<int32_t>> tables_;  // of each group; -1: no block
  std::vector<int> free_;
};

}  // namespace heed
