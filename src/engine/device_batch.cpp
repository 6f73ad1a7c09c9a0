#include "engine/device_batch.h"

#include <algorithm>

#include "engine/runner.h"

namespace heed {

DeviceBatch::DeviceBatch(Device& device, const RunPlan& plan, const Stream& stream, int64_t keys)
    : device_(device), upload_(device), max_len_(plan.max_len), keys_(keys) {
  of_layer_.resize(plan.attention.size(), nullptr);
  for (size_t layer = 0; layer < plan.attention.size(); ++layer) {
    const AttentionKernel* kernel = plan.choice.attention[layer];
    kind_of_layer_.push_back(-1);
    if (kernel == nullptr || kernel->plan_shape == nullptr) continue;
    const AttentionPlanShape shape = kernel->plan_shape(plan.attention[layer], stream);
    const int group = plan.layout.group_of_layer[plan.layout.source_of_layer[layer]];
    const auto same = [&](const Kind& kind) {
      return kind.group == group && kind.shape.group == shape.group &&
             kind.shape.prefill_tile == shape.prefill_tile;
    };
    const auto found = std::find_if(kinds_.begin(), kinds_.end(), same);
    kind_of_layer_.back() = static_cast<int>(found - kinds_.begin());
    if (found == kinds_.end()) kinds_.push_back({.group = group, .shape = shape, .plan = {}});
  }
}

// False where recorded plans lack room.
bool DeviceBatch::make_plans(const Batch& batch, bool recorded) {
  for (Kind& kind : kinds_) {
    kind.plan = plan_attention(batch.groups[kind.group].rows, batch.seq_start, kind.shape);
    if (!recorded) continue;
    const int64_t room = most_decode_slots(batch.sequences(), max_len_, kind.shape, keys_);
    if (kind.plan.slots > room || !kind.plan.prefill_units.empty()) return false;
    kind.plan.recorded_slots = static_cast<int>(std::min<int64_t>(room, INT32_MAX));
  }
  return true;
}

int64_t DeviceBatch::plan_bytes(const Kind& kind, int64_t sequences, bool recorded) const {
  return recorded ? decode_plan_bytes(sequences, kind.plan.recorded_slots, kind.shape) : kind.plan.bytes();
}

int64_t DeviceBatch::bytes_of(const Batch& batch, const BlockTables& tables, bool recorded) const {
  const int64_t tokens = std::ssize(batch.tokens);
  constexpr int kArrays = 8;  // and two of each group
  int64_t bytes = kArrays * Upload::kAlign;
  bytes += (2 * tokens + 3 * batch.sequences() + 1 + std::ssize(batch.logit_rows)) * int64_t{sizeof(int32_t)};
  bytes +=
      std::ssize(batch.groups) * (tokens * int64_t{sizeof(int64_t) + sizeof(RowMask)} + 2 * Upload::kAlign);
  for (const Kind& kind : kinds_) bytes += Upload::rounded(plan_bytes(kind, batch.sequences(), recorded));
  return bytes + 2 * Upload::rounded(std::ssize(tables.changes()) * int64_t{sizeof(int32_t)});
}

bool DeviceBatch::send(Batch& batch, BlockTables& tables, bool recorded) {
  if (!make_plans(batch, recorded)) return false;
  upload_.begin(bytes_of(batch, tables, recorded));
  batch.arrays = {.tokens = upload_.add(batch.tokens),
                  .positions = upload_.add(batch.positions),
                  .seq_start = upload_.add(batch.seq_start),
                  .table_rows = upload_.add(batch.table_rows),
                  .logit_rows = upload_.add(batch.logit_rows),
                  .state_slots = upload_.add(batch.state_slots)};
  for (BatchGroup& group : batch.groups)
    group.on_device = {.slots = upload_.add(group.slots), .rows = upload_.add(group.rows)};
  for (Kind& kind : kinds_) {
    const int64_t room = plan_bytes(kind, batch.sequences(), recorded) / int64_t{sizeof(int32_t)};
    kind.plan.device = upload_.add(kind.plan.packed, room);
  }
  for (size_t layer = 0; layer < of_layer_.size(); ++layer) {
    if (kind_of_layer_[layer] >= 0) of_layer_[layer] = &kinds_[kind_of_layer_[layer]].plan;
  }
  send_tables(tables);
  for (int g = 0; g < static_cast<int>(batch.groups.size()); ++g)
    batch.groups[g].table = static_cast<const int32_t*>(tables_.data()) + tables.offset(g);
  return true;
}

// The last part of the copy, and then what it says about the tables.
void DeviceBatch::send_tables(BlockTables& tables) {
  const bool all = tables.all_new();
  const int32_t* places = nullptr;
  const int32_t* values = nullptr;
  if (!all) {
    changed_entries_.clear();
    for (const int32_t place : tables.changes()) changed_entries_.push_back(tables.entries()[place]);
    places = upload_.add(tables.changes());
    values = upload_.add(changed_entries_);
  }
  upload_.send();
  if (all) {
    const auto bytes = std::ssize(tables.entries()) * int64_t{sizeof(int32_t)};
    tables_ = device_.take(std::max<int64_t>(bytes, 1));
    device_.upload(tables_.data(), tables.entries().data(), bytes);
  } else {
    device_.scatter(static_cast<int32_t*>(tables_.data()), places, values, std::ssize(changed_entries_));
  }
  tables.forget_changes();
}

void pad_batch(Batch& batch, int count) {
  const auto size = static_cast<size_t>(count);
  CHECK(batch.tokens.size() <= size && batch.sequences() == std::ssize(batch.tokens), batch.tokens.size());
  batch.tokens.resize(size, 0);
  batch.positions.resize(size, 0);
  while (batch.seq_start.size() < size + 1) batch.seq_start.push_back(batch.seq_start.back() + 1);
  batch.table_rows.resize(size, 0);
  batch.state_slots.resize(size, 0);
  batch.logit_rows.resize(size, 0);
  for (BatchGroup& group : batch.groups) {
    group.slots.resize(size, -1);
    group.rows.resize(size, RowMask{0, 0, 0});
  }
}

}  // namespace heed
