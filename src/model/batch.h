// What one step of the model runs on: tokens of one or more sequences, laid end to end. The engine builds and
// owns it, and uses it again for the next step; forward() reads it. All pointers stay valid for the step.
//
// The vectors are the host's. Ops read what `arrays` and each `on_device` point to, which is the same in the
// memory of the device that they run on; on the host these are the vectors themselves.
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
  struct {
    const int64_t* slots = nullptr;
    const RowMask* rows = nullptr;
  } on_device;
};

// Rows of the batch that stand for (a part of) a picture.
struct BatchImage {
  int32_t row = 0;    // the first
  Tensor embeddings;  // [rows, hidden] f32, in place of what `tokens` would look up; not scaled
};

// Rows of a store of features, for a drafter that guesses token by token (model/draft.h).
struct BatchFeatures {
  std::vector<int32_t> before;  // [sequences]: the one before each sequence's first token
  std::vector<int64_t> first;   // [sequences]: that token's row in the batch
  std::vector<int64_t> slots;   // [tokens]: where each token's own goes; negative: it is not kept
  struct {
    const int32_t* before = nullptr;
    const int64_t *first = nullptr, *slots = nullptr;
  } on_device;

  void clear() {
    before.clear();
    first.clear();
    slots.clear();
  }
};

// Tokens that the step before drew on the device and that the host does not know: the token at each of
// `places` is the one drawn in the step's row of logits `rows`.
struct BatchFeed {
  std::vector<int32_t> places, rows;
  struct {
    const int32_t *places = nullptr, *rows = nullptr;
  } on_device;
};

struct BatchArrays {
  const int32_t *tokens = nullptr, *positions = nullptr, *seq_start = nullptr, *table_rows = nullptr,
                *logit_rows = nullptr, *state_slots = nullptr;
  const StateSave* state_saves = nullptr;
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
  BatchFeatures features;              // or empty
  BatchFeed feed;                      // or empty; only where ops do not run on the host

  BatchArrays arrays;

  int sequences() const { return static_cast<int>(table_rows.size()); }
};

// Has ops on the host read the vectors, as they are now.
inline void read_here(Batch& batch) {
  batch.arrays = {.tokens = batch.tokens.data(),
                  .positions = batch.positions.data(),
                  .seq_start = batch.seq_start.data(),
                  .table_rows = batch.table_rows.data(),
                  .logit_rows = batch.logit_rows.data(),
                  .state_slots = batch.state_slots.data(),
                  .state_saves = batch.state_saves.data()};
  for (BatchGroup& group : batch.groups)
    group.on_device = {.slots = group.slots.data(), .rows = group.rows.data()};
  BatchFeatures& features = batch.features;
  features.on_device = {
      .before = features.before.data(), .first = features.first.data(), .slots = features.slots.data()};
}

}  // namespace heed
