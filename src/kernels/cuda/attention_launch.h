// What the kernels of cuda.flash get, and how they are launched; the device's side is attention_device.cuh.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "attention/plan.h"
#include "attention/rows.h"
#include "kernels/kernels.h"

namespace heed::cuda {

inline constexpr float kLog2E = 1.4426950408889634F;

inline constexpr int kNarrowTile = 8;  // rows of a unit for which a kernel of short sequences is made besides
inline constexpr int kSlice = 16;      // keys that a kernel takes at a time; the least block of a cache

inline constexpr int kMostDividend = 1 << 24;
// Division by a number that a kernel does not know when it is compiled, in a few instructions.
struct Quotient {
  int by = 1;
  float inverse = 1;
  Quotient() = default;
  explicit Quotient(int64_t number) : by(static_cast<int>(number)), inverse(1 / static_cast<float>(by)) {}
  // x / by for 0 <= x < kMostDividend, which a float holds: the product is off by less than one.
  HEED_HD int operator()(int x) const {
    const int near = static_cast<int>(static_cast<float>(x) * inverse);
    const int rest = x - near * by;
    return near + (rest >= by ? 1 : 0) - (rest < 0 ? 1 : 0);
  }
};

// Sizes and strides in elements; pointers to device memory.
struct AttentionParams {
  const float* q;
  int64_t q_token, q_head;
  const void *k, *v;  // bfloat16 or FP8 E4M3
  int64_t k_block, k_head, k_row, v_block, v_head, v_row;
  int block;
  int64_t blocks;
  const int32_t* table;
  const int32_t* table_rows;
  int64_t table_stride;
  const RowMask* rows;
  const AttentionPlanHeader* plan;
  int group, kv_heads, head_dim, v_dim;
  Quotient of_group, of_kv_heads, of_block;  // of_block: by the slices of kSlice keys in one
  // scale * log2(e); with softcap: scale / softcap. Of fp8 1: there queries are multiplied first, by
  // query_scale and their head's scale of keys.
  float scale_log2, query_scale;
  const float *k_scale, *v_scale;  // of fp8, [kv_heads]; null: ones
  float cap_log2;                  // softcap * log2(e), or 0
  const float* sink_logits;
  void* out;
  int64_t out_token, out_head;
  bool out_bf16;
  bool reads_ahead;  // AttentionPlan::reads_ahead, of recorded plans
  float* partial;    // [slots, kv_heads, kShortTile, v_dim]: sums of values, not divided
  float2* stats;     // [slots, kv_heads, kShortTile]: what scores were less, in units of log2, and the sum of
                     // weights
  uint32_t* arrivals;  // [merges, kv_heads]: of units that wrote parts of a tile; 0 before and after
};

struct AttentionLaunch {
  const Stream& stream;
  int sms;
  bool narrow;  // no unit of short sequences has more than 8 rows
  bool sparse;  // half of the blocks of short sequences have a unit: AttentionPlan::is_sparse
};

// For dims up to 64, 128, 256, 512 and 576/512.
void run_short(const AttentionLaunch& launch, const AttentionParams& params);
void run_short_fp8(const AttentionLaunch& launch, const AttentionParams& params);
// Blocks of them that a multiprocessor runs at once.
int short_blocks(int head_dim, int v_dim);
int short_blocks_fp8(int head_dim, int v_dim);
// head_dim == v_dim, up to 64, 128 or 256; sm_90a.
void run_prefill(const AttentionLaunch& launch, const AttentionParams& params);
void run_prefill_fp8(const AttentionLaunch& launch, const AttentionParams& params);
// Rows of a prefill unit, or 0 where there is no kernel for these sizes.
int prefill_tile(int head_dim, int v_dim);

}  // namespace heed::cuda
