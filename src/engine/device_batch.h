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

class DeviceBatch {
 public:
  // `keys`: that all sequences together may see, about; it bounds what recorded plans have room for.
  DeviceBatch(Device& device, const RunPlan& plan, const Stream& stream, int64_t keys);

  // Fills in where ops find the batch's arrays and tables. `recorded`: a batch in which every sequence has
  // one token; another of the same size has all of it at the same addresses, where address_key() is the same
  // too. False if it does not fit what recorded plans have room for: then nothing has been done.
  bool send(Batch& batch, BlockTables& tables, bool recorded);

  // Of every layer, null where its kernel wants none; made once for all layers with the same mask.
  const std::vector<const AttentionPlan*>& plans() const { return of_layer_; }
  // Changes when the same batch would lie elsewhere.
  std::pair<const void*, const void*> address_key() const { return {upload_.base(), tables_.data()}; }

 private:
  struct Kind {  // of plans
    int group;
    AttentionPlanShape shape;
    AttentionPlan plan;
  };
  bool make_plans(const Batch& batch, bool recorded);
  int64_t bytes_of(const Batch& batch, const BlockTables& tables, bool recorded) const;
  int64_t plan_bytes(const Kind& kind, int64_t sequences, bool recorded) const;
  void send_tables(BlockTables& tables);

  Device& device_;
  Upload upload_;
  Buffer tables_;
  int max_len_;
  int64_t keys_;
  std::vector<Kind> kinds_;
  std::vector<int> kind_of_layer_;  // -1: its kernel wants no plan
  std::vector<const AttentionPlan*> of_layer_;
  std::vector<int32_t> changed_entries_;
};

// Adds sequences that see nothing and are cached nowhere until there are `count`, and as many rows of logits,
// which nobody reads. Every sequence must have one token and one row of logits.
void pad_batch(Batch& batch, int count);

}  // namespace heed
