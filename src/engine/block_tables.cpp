#include "engine/block_tables.h"

#include <algorithm>

#include "base/check.h"

namespace heed {

BlockTables::BlockTables(int groups, int64_t stride, int rows) : stride_(stride), tables_(groups) {
  add(rows);
}

void BlockTables::add(int rows) {
  free_.reserve(rows_ + rows);
  for (int i = rows - 1; i >= 0; --i) free_.push_back(rows_ + i);
  rows_ += rows;
  for (std::vector<int32_t>& table : tables_) table.resize(rows_ * stride_, -1);
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
