// Carries a batch to the device that runs it: its arrays, plans for attention kernels that want them and what
// has changed in the block tables, all in one copy a step. On the host there is nothing to do.
#pragma once
#include <utility>
#include <vector>

#include "engine/block_tables.h"
#include "model/batch.h"
#include "tensor/upload.h"

namespace heed {

struct RunPlan;

// The device's copy of the block tables, which all batches share: each brings it up to date.
class DeviceTables {
 public:
  DeviceTables(Device& device, BlockTables& tables) : device_(device), tables_(tables) {}

  // Room that add() needs in an upload.
  int64_t upload_bytes() const;
  // Adds what has changed; apply() writes it once the upload has been sent.
  void add(Upload& upload);
  void apply();
  // Where the device has what the host has at `here`.
  const int32_t* there(const int32_t* here) const { return data() + (here - tables_.entries().data()); }
  const int32_t* data() const { return static_cast<const int32_t*>(memory_.data()); }

 private:
  Device& device_;
  BlockTables& tables_;
  Buffer memory_;
  std::vector<int32_t> changed_entries_;
  const int32_t *places_ = nullptr, *values_ = nullptr;  // on the device
};

class DeviceBatch {
 public:
  // What a kind of batch is for.
  struct Use {
    // For each layer of the run the group of the batch in which its attention finds its rows; -1: it runs
    // none.
    std::vector<int> group_of_layer;
    int64_t keys = 0;  // that all sequences together may see, about; it bounds what recorded plans have
                       // room for
    bool sees_ahead = false;  // rows see keys of later ones
  };
  DeviceBatch(Device& device, DeviceTables& tables, const RunPlan& plan, const Stream& stream,
              const Use& use);

  // Fills in where ops find the batch's arrays and tables. `recorded`: a batch whose sequences have equally
  // many tokens; another of the same shape has all of it at the same addresses, where address_key() is the
  // same too. False if it does not fit what recorded plans have room for: then nothing has been done.
  bool send(Batch& batch, bool recorded);

  // Of every layer of the run, null where its kernel wants none; made once for all layers with the same mask.
  const std::vector<const AttentionPlan*>& plans() const { return of_layer_; }
  // Whether all plans are sparse (AttentionPlan::is_sparse), by which kernels may ask for less shared memory:
  // a recording has one or the other.
  bool is_sparse() const;
  // Changes when the same batch would lie elsewhere.
  std::pair<const void*, const void*> address_key() const { return {upload_.base(), tables_.data()}; }

 private:
  struct Kind {  // of plans
    int group;
    AttentionPlanShape shape;
    AttentionPlan plan;
  };
  bool make_plans(const Batch& batch, bool recorded);
  bool fits_recording(const Batch& batch, Kind& kind) const;
  int64_t bytes_of(const Batch& batch, bool recorded) const;
  int64_t plan_bytes(const Kind& kind, const Batch& batch, bool recorded) const;

  DeviceTables& tables_;
  Upload upload_;
  int max_len_;
  int64_t keys_;
  bool sees_ahead_;
  std::vector<Kind> kinds_;
  std::vector<int> kind_of_layer_;  // -1: its kernel wants no plan
  std::vector<const AttentionPlan*> of_layer_;
};

// Adds sequences that see nothing and are cached nowhere until there are `count`, and as many rows of logits,
// which nobody reads. Every sequence must have one token and one row of logits.
void pad_batch(Batch& batch, int count);

}  // namespace heed
