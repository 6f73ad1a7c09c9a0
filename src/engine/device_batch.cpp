#include "engine/device_batch.h"

#include <algorithm>

#include "engine/runner.h"

namespace heed {

int64_t DeviceTables::upload_bytes() const {
  return 2 * Upload::rounded(std::ssize(tables_.changes()) * int64_t{sizeof(int32_t)});
}

void DeviceTables::add(Upload& upload) {
  if (tables_.all_new()) return;
  changed_entries_.clear();
  for (const int32_t place : tables_.changes()) changed_entries_.push_back(tables_.entries()[place]);
  places_ = upload.add(tables_.changes());
  values_ = upload.add(changed_entries_);
}

void DeviceTables::apply() {
  if (tables_.all_new()) {
    const auto bytes = std::ssize(tables_.entries()) * int64_t{sizeof(int32_t)};
    memory_ = device_.take(std::max<int64_t>(bytes, 1));
    device_.upload(memory_.data(), tables_.entries().data(), bytes);
  } else {
    device_.scatter(static_cast<int32_t*>(memory_.data()), places_, values_, std::ssize(changed_entries_));
  }
  tables_.forget_changes();
}

DeviceBatch::DeviceBatch(Device& device, DeviceTables& tables, const RunPlan& plan, const Stream& stream,
                         const Use& use)
    : tables_(tables), upload_(device), max_len_(plan.max_len), keys_(use.keys), sees_ahead_(use.sees_ahead) {
  CHECK(use.group_of_layer.size() == plan.attention.size(), use.group_of_layer.size());
  of_layer_.resize(plan.attention.size(), nullptr);
  for (size_t layer = 0; layer < plan.attention.size(); ++layer) {
    const AttentionKernel* kernel = plan.choice.attention[layer];
    const int group = use.group_of_layer[layer];
    kind_of_layer_.push_back(-1);
    if (group < 0 || kernel == nullptr || kernel->plan_shape == nullptr) continue;
    const AttentionPlanShape shape = kernel->plan_shape(plan.attention[layer], stream);
    const auto same = [&](const Kind& kind) { return kind.group == group && kind.shape == shape; };
    const auto found = std::find_if(kinds_.begin(), kinds_.end(), same);
    kind_of_layer_.back() = static_cast<int>(found - kinds_.begin());
    if (found == kinds_.end()) kinds_.push_back({.group = group, .shape = shape, .plan = {}});
  }
}

namespace {

int64_t tokens_each(const Batch& batch) { return std::ssize(batch.tokens) / std::max(batch.sequences(), 1); }

}  // namespace

// False where recorded plans lack room, or would read what is not there yet.
bool DeviceBatch::fits_recording(const Batch& batch, Kind& kind) const {
  const std::vector<RowMask>& rows = batch.groups[kind.group].rows;
  for (int s = 0; s < batch.sequences(); ++s) {
    const int32_t first = batch.seq_start[s];
    if (!sees_ahead_ && rows[first].hi > batch.positions[first] + 1) return false;
  }
  const int64_t room = most_decode_slots(batch.sequences(), max_len_, kind.shape, keys_, tokens_each(batch));
  if (kind.plan.slots > room || !kind.plan.prefill_units.empty()) return false;
  kind.plan.recorded_slots = static_cast<int>(std::min<int64_t>(room, INT32_MAX));
  kind.plan.reads_ahead = !sees_ahead_;
  return true;
}

bool DeviceBatch::make_plans(const Batch& batch, bool recorded) {
  for (Kind& kind : kinds_) {
    kind.plan = plan_attention(batch.groups[kind.group].rows, batch.seq_start, kind.shape);
    if (recorded && !fits_recording(batch, kind)) return false;
  }
  return true;
}

bool DeviceBatch::is_sparse() const {
  return std::all_of(kinds_.begin(), kinds_.end(), [](const Kind& kind) { return kind.plan.is_sparse(); });
}

int64_t DeviceBatch::plan_bytes(const Kind& kind, const Batch& batch, bool recorded) const {
  if (!recorded) return kind.plan.bytes();
  return decode_plan_bytes(batch.sequences(), kind.plan.recorded_slots, kind.shape, tokens_each(batch));
}

int64_t DeviceBatch::bytes_of(const Batch& batch, bool recorded) const {
  const int64_t tokens = std::ssize(batch.tokens);
  constexpr int kArrays = 12;  // and two of each group
  int64_t bytes = kArrays * Upload::kAlign + std::ssize(batch.state_saves) * int64_t{sizeof(StateSave)};
  bytes += (2 * tokens + 3 * batch.sequences() + 1 + std::ssize(batch.logit_rows)) * int64_t{sizeof(int32_t)};
  bytes += std::ssize(batch.features.before) * int64_t{sizeof(int32_t)} +
           (std::ssize(batch.features.first) + std::ssize(batch.features.slots)) * int64_t{sizeof(int64_t)};
  bytes +=
      std::ssize(batch.groups) * (tokens * int64_t{sizeof(int64_t) + sizeof(RowMask)} + 2 * Upload::kAlign);
  for (const Kind& kind : kinds_) bytes += Upload::rounded(plan_bytes(kind, batch, recorded));
  bytes += 2 * Upload::rounded(std::ssize(batch.feed.places) * int64_t{sizeof(int32_t)});
  return bytes + tables_.upload_bytes();
}

bool DeviceBatch::send(Batch& batch, bool recorded) {
  if (!make_plans(batch, recorded)) return false;
  upload_.begin(bytes_of(batch, recorded));
  batch.arrays = {.tokens = upload_.add(batch.tokens),
                  .positions = upload_.add(batch.positions),
                  .seq_start = upload_.add(batch.seq_start),
                  .table_rows = upload_.add(batch.table_rows),
                  .logit_rows = upload_.add(batch.logit_rows),
                  .state_slots = upload_.add(batch.state_slots),
                  .state_saves = upload_.add(batch.state_saves)};
  BatchFeatures& features = batch.features;
  features.on_device = {.before = upload_.add(features.before),
                        .first = upload_.add(features.first),
                        .slots = upload_.add(features.slots)};
  for (BatchGroup& group : batch.groups)
    group.on_device = {.slots = upload_.add(group.slots), .rows = upload_.add(group.rows)};
  for (Kind& kind : kinds_) {
    const int64_t room = plan_bytes(kind, batch, recorded) / int64_t{sizeof(int32_t)};
    kind.plan.device = upload_.add(kind.plan.packed, room);
  }
  for (size_t layer = 0; layer < of_layer_.size(); ++layer) {
    if (kind_of_layer_[layer] >= 0) of_layer_[layer] = &kinds_[kind_of_layer_[layer]].plan;
  }
  // The last parts: how much they are does not move the others.
  batch.feed.on_device = {.places = upload_.add(batch.feed.places), .rows = upload_.add(batch.feed.rows)};
  tables_.add(upload_);
  upload_.send();
  tables_.apply();
  for (BatchGroup& group : batch.groups) group.table = tables_.there(group.table);
  return true;
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
  BatchFeatures& features = batch.features;
  if (!features.slots.empty()) {
    features.before.resize(size, 0);
    features.slots.resize(size, -1);
    while (features.first.size() < size) features.first.push_back(std::ssize(features.first));
  }
  for (BatchGroup& group : batch.groups) {
    group.slots.resize(size, -1);
    group.rows.resize(size, RowMask{0, 0, 0});
  }
}

}  // namespace heed
