// Attention with float32 arithmetic and nothing assumed: any sizes, strides and block, float32, bfloat16
// or fp8 keys. It is there to be right: for caches in float32, odd sizes, and as the one to compare with.
// Definition: kernels/ref/ref.cpp, attention.
//
// A block of threads runs one row of one head over its keys, in tiles of kThreads keys from an absolute
// multiple on, with a running softmax.
#include "kernels/checks.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kMostDim = 1024;

struct Params {
  const float* q;
  int64_t q_token, q_head;
  const void *k, *v;
  int64_t k_block, k_head, k_row, v_block, v_head, v_row;
  int block, sequences, group, head_dim, v_dim;
  const int32_t *table, *table_rows;
  int64_t table_stride;
  const int32_t* seq_start;
  const RowMask* rows;
  float scale, softcap;
  HeadScales k_scale, v_scale;
  const float* sink_logits;
  void* out;
  int64_t out_token, out_head;
  bool out_bf16;
};

struct Memory {
  float q[kMostDim];
  float weight[kThreads];
  int64_t place[kThreads];  // of the tile's keys: their blocks
  float reduce[kWarps];
};

__device__ int sequence_of(const Params& p, int token) {
  int lo = 0;
  int hi = p.sequences;  // the last sequence that starts at or before the token and is not empty
  while (hi - lo > 1) {
    const int middle = (lo + hi) / 2;
    if (p.seq_start[middle] <= token) {
      lo = middle;
    } else {
      hi = middle;
    }
  }
  return lo;
}

template <class Combine>
__device__ float reduce(Memory& memory, float x, Combine combine) {
  for (int step = 16; step > 0; step /= 2) x = combine(x, __shfl_xor_sync(~0U, x, step));
  if (threadIdx.x % 32 == 0) memory.reduce[threadIdx.x / 32] = x;
  __syncthreads();
  x = memory.reduce[0];
  for (int i = 1; i < kWarps; ++i) x = combine(x, memory.reduce[i]);
  __syncthreads();
  return x;
}

// Scores of keys [first, first + kThreads), a warp a key; -INFINITY where the row does not see.
template <class T>
__device__ void score_tile(const Params& p, Memory& memory, const RowMask& row, const int32_t* table,
                           int kv_head, int first) {
  const int lane = threadIdx.x % 32;
  const float scale = p.scale * p.k_scale.of(kv_head);
  for (int i = threadIdx.x / 32; i < kThreads; i += kWarps) {
    const int key = first + i;
    float sum = -INFINITY;
    if (sees(row, key)) {
      const int64_t block = table[key / p.block];
      const T* k =
          static_cast<const T*>(p.k) + block * p.k_block + kv_head * p.k_head + key % p.block * p.k_row;
      sum = 0;
      for (int d = lane; d < p.head_dim; d += 32) sum += memory.q[d] * to_float(k[d]);
      for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0U, sum, step);
      sum *= scale;
      if (p.softcap > 0) sum = p.softcap * tanhf(sum / p.softcap);
      if (lane == 0) memory.place[i] = block;
    }
    if (lane == 0) memory.weight[i] = sum;
  }
  __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(kThreads) simple_kernel(const __grid_constant__ Params p) {
  __shared__ Memory memory;
  constexpr int kEach = kMostDim / kThreads;
  const int token = blockIdx.x;
  const int head = blockIdx.y;
  const int kv_head = head / p.group;
  const RowMask row = p.rows[token];
  const int sequence = sequence_of(p, token);
  const int32_t* table =
      p.table + (p.table_rows != nullptr ? p.table_rows[sequence] : sequence) * p.table_stride;
  for (int d = threadIdx.x; d < p.head_dim; d += kThreads)
    memory.q[d] = p.q[token * p.q_token + head * p.q_head + d];
  __syncthreads();

  const float sink = p.sink_logits != nullptr ? p.sink_logits[head] : -INFINITY;
  float largest = sink;
  float total = p.sink_logits != nullptr ? 1 : 0;
  float out[kEach] = {};
  for (int first = row.sinks > 0 ? 0 : row.lo / kThreads * kThreads; first < max(row.hi, row.sinks);) {
    score_tile<T>(p, memory, row, table, kv_head, first);
    const float score = memory.weight[threadIdx.x];
    const float most = fmaxf(largest, reduce(memory, score, [](float a, float b) { return fmaxf(a, b); }));
    const float base = most == -INFINITY ? 0 : most;
    const float weight = expf(score - base);
    const float scale = expf(largest - base);
    largest = most;
    memory.weight[threadIdx.x] = weight;
    total = total * scale + reduce(memory, weight, [](float a, float b) { return a + b; });
    for (int e = 0; e < kEach; ++e) out[e] *= scale;
    for (int i = 0; i < kThreads; ++i) {
      if (!sees(row, first + i)) continue;
      const T* v = static_cast<const T*>(p.v) + memory.place[i] * p.v_block + kv_head * p.v_head +
                   (first + i) % p.block * p.v_row;
#pragma unroll
      for (int e = 0; e < kEach; ++e) {
        const int d = threadIdx.x + e * kThreads;
        if (d < p.v_dim) out[e] += memory.weight[i] * to_float(v[d]);
      }
    }
    __syncthreads();
    first += kThreads;
    if (first >= row.sinks)
      first = max(first, row.lo / kThreads * kThreads);  // from the sinks to the interval
  }
  const bool any = row.sinks > 0 || row.lo < row.hi;
  const float v_scale = p.v_scale.of(kv_head);
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int d = threadIdx.x + e * kThreads;
    if (d >= p.v_dim) continue;
    const float value = any ? out[e] / total * v_scale : 0;
    const int64_t at = token * p.out_token + head * p.out_head + d;
    if (p.out_bf16) {
      static_cast<__nv_bfloat16*>(p.out)[at] = __float2bfloat16_rn(value);
    } else {
      static_cast<float*>(p.out)[at] = value;
    }
  }
}

}  // namespace

void simple_attention(Stream& stream, const AttentionArgs& args) {
  const Shapes n = check(args);
  if (n["tokens"] == 0) return;
  const Tensor& k = args.kv.k;
  const Tensor& v = args.kv.v;
  const Params params = {.q = args.q.f32(),
                         .q_token = args.q.stride[0],
                         .q_head = args.q.stride[1],
                         .k = k.data,
                         .v = v.data,
                         .k_block = k.stride[0],
                         .k_head = k.stride[1],
                         .k_row = k.stride[2],
                         .v_block = v.stride[0],
                         .v_head = v.stride[1],
                         .v_row = v.stride[2],
                         .block = static_cast<int>(n["block"]),
                         .sequences = args.sequences,
                         .group = static_cast<int>(n["heads"] / n["kv_heads"]),
                         .head_dim = static_cast<int>(n["head_dim"]),
                         .v_dim = static_cast<int>(n["v_dim"]),
                         .table = args.kv.table,
                         .table_rows = args.kv.table_rows,
                         .table_stride = args.kv.table_stride,
                         .seq_start = args.seq_start,
                         .rows = args.rows,
                         .scale = args.scale,
                         .softcap = args.softcap,
                         .k_scale = HeadScales(args.kv.k_scale),
                         .v_scale = HeadScales(args.kv.v_scale),
                         .sink_logits = args.sink_logits,
                         .out = args.out.data,
                         .out_token = args.out.stride[0],
                         .out_head = args.out.stride[1],
                         .out_bf16 = args.out.dtype == DType::kBF16};
  const dim3 grid(static_cast<unsigned>(n["tokens"]), static_cast<unsigned>(n["heads"]));
  with_cache_type(k.dtype, [&]<class T>(const T*) {
    simple_kernel<T><<<grid, kThreads, 0, handle_of(stream)>>>(params);
  });
  CUDA_LAUNCHED("attention simple_kernel");
}

std::string simple_why_not(const AttentionNeeds& needs) {
  if (needs.head_dim < 1 || needs.head_dim > kMostDim || needs.v_dim < 1 || needs.v_dim > kMostDim) {
    return "head_dim " + std::to_string(needs.head_dim) + ", v_dim " + std::to_string(needs.v_dim) +
           ": takes 1 to " + std::to_string(kMostDim);
  }
  if (needs.kv_dtype != DType::kF32 && needs.kv_dtype != DType::kBF16 && needs.kv_dtype != DType::kE4M3) {
    return "cache of " + std::string(name_of(needs.kv_dtype)) + ": takes float32, bfloat16 and fp8";
  }
  return "";
}

}  // namespace heed::cuda
