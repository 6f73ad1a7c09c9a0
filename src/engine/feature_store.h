// Where the features lie that a drafter's later rows begin with (engine/drafter.h), in the memory that ops
// read: one for each page of the cache, of the page's last token, and for each running sequence those of its
// newest tokens.
//
//   row:  0      1 ...      1 + pages ...
//         zeros  each page  each row of the block tables: `ring` places, token p at place p % ring
#pragma once
#include <cstdint>

#include "tensor/device.h"

namespace heed {

class FeatureStore {
 public:
  FeatureStore() = default;
  // `ring`: places of a sequence that are in use at a time, at most.
  FeatureStore(Device& device, int64_t pages, int ring, int64_t width)
      : device_(&device), pages_(pages), ring_(ring), width_(width) {}

  // For so many rows of the block tables. What is there stays.
  void make_room(int64_t table_rows) {
    const int64_t wanted = rows_of(pages_, table_rows, ring_);
    if (wanted <= rows_) return;
    Buffer memory = device_->take(wanted * row_bytes());
    device_->zero(memory.data(), row_bytes());
    if (rows_ > 0) device_->copy(memory.data(), memory_.data(), rows_ * row_bytes());
    memory_ = std::move(memory);
    rows_ = wanted;
  }
  // [rows, width] f32
  Tensor all() const { return {memory_.data(), DType::kF32, {rows_, width_}}; }

  static constexpr int32_t kZeros = 0;
  int32_t of_page(int page) const { return 1 + page; }
  int32_t of_token(int table_row, int place) const {
    return static_cast<int32_t>(1 + pages_ + int64_t{table_row} * ring_ + place % ring_);
  }
  int ring() const { return ring_; }

  static int64_t rows_of(int64_t pages, int64_t sequences, int64_t ring) {
    return 1 + pages + sequences * ring;
  }

 private:
  int64_t row_bytes() const { return width_ * size_of(DType::kF32); }

  Device* device_ = nullptr;
  int64_t pages_ = 0;
  int ring_ = 1;
  int64_t width_ = 0, rows_ = 0;
  Buffer memory_;
};

}  // namespace heed
