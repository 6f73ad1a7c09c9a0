// The parts that the kernels of cuda.flash share.
#pragma once
#include "kernels/cuda/attention_launch.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/runtime.h"

namespace heed::cuda {

// What lies at an offset of the plan.
template <class T>
__device__ const T* in_plan(const AttentionParams& p, int offset) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(p.plan) + offset);
}

__device__ inline const int32_t* table_of(const AttentionParams& p, int sequence) {
  return p.table + (p.table_rows != nullptr ? p.table_rows[sequence] : sequence) * p.table_stride;
}

// A product of q and k as the exponent of 2 that its weight is.
__device__ inline float score_log2(const AttentionParams& p, float product) {
  const float x = product * p.scale_log2;
  if (p.cap_log2 == 0) return x;
  // tanh(x) = 1 - 2 / (exp(2x) + 1), right at both ends
  return p.cap_log2 * (1 - __fdividef(2.0F, ptx::exp2(2 * kLog2E * x) + 1));
}

// With a cache of fp8, by which the sums of a kv head's values, or its keys, count.
__device__ inline float value_scale(const AttentionParams& p, int kv_head) {
  return p.v_scale != nullptr ? p.v_scale[kv_head] : 1;
}
__device__ inline float key_scale(const AttentionParams& p, int kv_head) {
  return p.k_scale != nullptr ? p.k_scale[kv_head] : 1;
}

// And what a query is multiplied with, before it is rounded to float16: not to infinity. NaN stays.
__device__ inline float query_scale(const AttentionParams& p, int kv_head) {
  return p.query_scale * key_scale(p, kv_head);
}
__device__ inline float scaled_query(float x, float scale) {
  constexpr float kMost = 65504;
  x *= scale;
  return x > kMost ? kMost : x < -kMost ? -kMost : x;
}

// The sink logit of a head joins a row's largest score and sum.
__device__ inline float2 with_sink(const AttentionParams& p, int head, float2 stats) {
  if (p.sink_logits == nullptr || stats.y == 0) return stats;  // a row that sees nothing stays zero
  const float sink = p.sink_logits[head] * kLog2E;
  const float largest = fmaxf(stats.x, sink);
  return {largest, stats.y * ptx::exp2(stats.x - largest) + ptx::exp2(sink - largest)};
}

__device__ inline void store2(const AttentionParams& p, int64_t at, float x, float y) {
  if (p.out_bf16) {
    *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(p.out) + at) = ptx::pack(x, y);
  } else {
    *reinterpret_cast<float2*>(static_cast<float*>(p.out) + at) = {x, y};
  }
}
__device__ inline void store4(const AttentionParams& p, int64_t token, int head, int column, float4 value) {
  const int64_t at = token * p.out_token + head * p.out_head + column;
  if (p.out_bf16) {
    *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(p.out) + at) = {ptx::pack(value.x, value.y),
                                                                          ptx::pack(value.z, value.w)};
  } else {
    *reinterpret_cast<float4*>(static_cast<float*>(p.out) + at) = value;
  }
}

}  // namespace heed::cuda
