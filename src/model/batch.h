// What one step of the model runs on: tokens of one or more sequences, laid end to end. The engine builds and
// owns it, and uses it again for the next step; forward() reads it. All pointers stay valid for the step.
#pragma once
#include <cstdint>
#include <vector>

#include "attention/rows.h"
#include "kernels/kernels.h"

namespace heed {

// Per cache group: where the group's tokens are read from and written to.
struct BatchGroup {
  const int32_t* table = nullptr;  // [table rows, table_stride], in the group's units; the cache's own
  int64_t table_stride = 0;
  std::vector<int64_t> slots;  // [tokens]
  std::vector<RowMask> rows;   // [tokens]
};

// Rows of the batch that stand for (a part of) a picture.
struct BatchImage {
  int32_t row = 0;    // the first
  Tensor embeddings;  // [rows, hidden] f32, in place of what `tokens` would look up; not scaled
};

struct Batch {
  std::vector<int32_t> tokens;      // [tokens]
  std::vector<int32_t> positions;   // [tokens]
  std::vector<int32_t> seq_start;   // [sequences + 1]
  std::vector<int32_t> table_rows;  // [sequences]: each sequence's row in every group's table
  std::vector<int32_t> logit_rows;  // rows whose logits are wanted, ascending
  std::vector<BatchImage> images;
  std::vector<BatchGroup> groups;  // as in the cache layout
  std::vector<int32_t>
      state_slots;  // [sequences]: each one's slot of recurrent state, where the model has any
  std::vector<StateSave> state_saves;  // copies of states to keep, ascending in token

  int sequences() const { return static_cast<int>(table_rows.size()); }
};

}  // namespace heed
