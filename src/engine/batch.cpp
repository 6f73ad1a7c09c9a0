#include "engine/batch.h"

#include <algorithm>
#include <numeric>

namespace heed {
namespace {

void resize(Batch& batch, const Cache& cache, std::span<const Scheduled> scheduled) {
  size_t tokens = 0;
  size_t logits = 0;
  for (const Scheduled& item : scheduled) {
    tokens += static_cast<size_t>(item.count);
    logits += static_cast<size_t>(item.logit_count);
  }
  batch.tokens.resize(tokens);
  batch.positions.resize(tokens);
  batch.logit_rows.resize(logits);
  batch.seq_start.resize(scheduled.size() + 1);
  batch.table_rows.resize(scheduled.size());
  batch.state_slots.resize(scheduled.size());
  batch.groups.resize(cache.layout().groups.size());
  for (BatchGroup& group : batch.groups) {
    group.slots.resize(tokens);
    group.rows.resize(tokens);
  }
}

// Puts the pictures' rows in place of tokens [computed, computed + count), which begin at `row`.
void place_images(const Sequence& sequence, int count, int row, int pad, Batch& batch) {
  const Span run = {sequence.computed, sequence.computed + count};
  for (size_t i = 0; i < sequence.media.size(); ++i) {
    const Span image = sequence.media[i];
    const Span part = meet(run, image);
    if (part.lo >= part.hi) continue;
    CHECK(sequence.images[i].encoded != nullptr, i, image.lo, image.hi);
    const int at = row + part.lo - run.lo;
    std::fill_n(batch.tokens.begin() + at, part.hi - part.lo, pad);
    batch.images.push_back(
        {.row = at,
         .embeddings = sequence.images[i].encoded->rows.slice(part.lo - image.lo, part.hi - image.lo)});
  }
}

}  // namespace

void build_batch(const Cache& cache, std::span<const Scheduled> scheduled, Batch& batch, int pad) {
  resize(batch, cache, scheduled);
  batch.images.clear();
  batch.feed.places.clear();
  batch.feed.rows.clear();
  int32_t row = 0;
  auto logit_row = batch.logit_rows.begin();
  batch.seq_start[0] = 0;
  for (size_t i = 0; i < scheduled.size(); ++i) {
    const Scheduled& item = scheduled[i];
    const Sequence& sequence = *item.sequence;
    std::copy_n(sequence.tokens.begin() + sequence.computed, item.count, batch.tokens.begin() + row);
    if (sequence.computed + item.count > sequence.known()) {
      CHECK(sequence.computed + item.count == sequence.known() + 1, sequence.unknown);
      batch.feed.places.push_back(row + item.count - 1);
      batch.feed.rows.push_back(sequence.drawn_row);
    }
    if (!sequence.media.empty()) place_images(sequence, item.count, row, pad, batch);
    std::iota(batch.positions.begin() + row, batch.positions.begin() + row + item.count, sequence.computed);
    cache.place(sequence, item.count, row, batch.groups);
    row += item.count;
    std::iota(logit_row, logit_row + item.logit_count, row - item.logit_count);
    logit_row += item.logit_count;
    batch.seq_start[i + 1] = row;
    batch.table_rows[i] = sequence.table_row;
    batch.state_slots[i] = sequence.state_slot;
  }
  cache.point_to_tables(batch.groups);
  read_here(batch);
}

}  // namespace heed
