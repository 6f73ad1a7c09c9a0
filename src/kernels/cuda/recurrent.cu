// Layers that carry a state, token by token: short_conv, linear_attention, gated_delta, delta_gates.
// Definitions: kernels/ref/ref_recurrent.cpp. Decoding is bound by reading and writing each state once.
#include <climits>

#include "kernels/checks.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/recurrent.cuh"

namespace heed::cuda {
namespace {

template <class T>
__device__ T rounded(float x) {
  return from_float<T>(x);
}

// ---- linear_attention and gated_delta ----

constexpr int kThreads = 256;

// May rows of q, k, v and out be read four elements at a time?
bool in_fours(const Recurrence& p) {
  const auto aligned = [](const float* rows, int64_t token, int64_t head) {
    return reinterpret_cast<uintptr_t>(rows) % (4 * sizeof(float)) == 0 && token % 4 == 0 && head % 4 == 0;
  };
  return aligned(p.q, p.q_token, p.q_head) && aligned(p.k, p.k_token, p.k_head) &&
         aligned(p.v, p.v_token, p.v_head) && aligned(p.out, p.out_token, p.out_head);
}

// ---- States of 128 rows: a block for 128 columns of a head ----

constexpr int kDim = 128;
constexpr int kDimWarps = 8;
constexpr int kDimRows = kDim / kDimWarps;  // of a warp; a lane has four columns of each

__device__ __forceinline__ float4 add(const float4& a, const float4& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}
// Sums of all warps' rows; each warp leaves its own in `sums`.
__device__ __forceinline__ float4 sum_rows(const float4& own, float4 (&sums)[kDimWarps][32]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  sums[threadIdx.x / 32][lane] = own;
  __syncthreads();
  float4 x[kDimWarps];
#pragma unroll
  for (int w = 0; w < kDimWarps; ++w) x[w] = sums[w][lane];
  return add(add(add(x[0], x[4]), add(x[2], x[6])), add(add(x[1], x[5]), add(x[3], x[7])));
}
// The warp's rows of a key or a query.
__device__ __forceinline__ void load_rows(const float* from, float (&x)[kDimRows]) {
#pragma unroll
  for (int i = 0; i < kDimRows; i += 4) {
    const auto four = *reinterpret_cast<const float4*>(from + i);
    x[i] = four.x;
    x[i + 1] = four.y;
    x[i + 2] = four.z;
    x[i + 3] = four.w;
  }
}

// One token: s becomes the state behind it. What it gets out, all warps know.
template <bool kDelta>
__device__ __forceinline__ float4 add_token(const Recurrence& p, int token, int head, int row, int column,
                                            float (&s)[kDimRows][4], float4 (&sums)[2][kDimWarps][32]) {
  float key[kDimRows];
  load_rows(p.k + token * p.k_token + p.key_head(head) * p.k_head + row, key);
  float query[kDimRows];
  load_rows(p.q + token * p.q_token + p.key_head(head) * p.q_head + row, query);
  const float kept = kDelta ? expf(p.decay[token * p.decay_token + head]) : expf(-p.decay[head]);
  const auto v = *reinterpret_cast<const float4*>(p.v + token * p.v_token + head * p.v_head + column);
  float change[4] = {v.x, v.y, v.z, v.w};
  if constexpr (kDelta) {
    const float beta = p.beta[token * p.beta_token + head];
    float known[4] = {};
#pragma unroll
    for (int i = 0; i < kDimRows; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        s[i][c] *= kept;
        known[c] += s[i][c] * key[i];
      }
    }
    const float4 all = sum_rows({known[0], known[1], known[2], known[3]}, sums[0]);
    change[0] = beta * (change[0] - all.x);
    change[1] = beta * (change[1] - all.y);
    change[2] = beta * (change[2] - all.z);
    change[3] = beta * (change[3] - all.w);
  }
  float sum[4] = {};
#pragma unroll
  for (int i = 0; i < kDimRows; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      s[i][c] = (kDelta ? s[i][c] : kept * s[i][c]) + key[i] * change[c];
      sum[c] += query[i] * s[i][c];
    }
  }
  const float4 out = sum_rows({sum[0], sum[1], sum[2], sum[3]}, sums[1]);
  const float scale = kDelta ? 1 : p.scale;
  return {scale * out.x, scale * out.y, scale * out.z, scale * out.w};
}

// All of a block's state is on its way at once, in rows of 512 bytes: 0.95 of a copy's rate on an H100.
template <bool kDelta, class T>
__global__ void __launch_bounds__(kDimWarps * 32, 2)
    dim_kernel(const __grid_constant__ Recurrence p, const __grid_constant__ State state, int most) {
  __shared__ float4 sums[2][kDimWarps][32];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int head = static_cast<int>(blockIdx.y);
  const int sequence = static_cast<int>(blockIdx.z);
  const int row = warp * kDimRows;
  const int column = static_cast<int>(blockIdx.x) * kDim + static_cast<int>(threadIdx.x) % 32 * 4;
  const int first = state.seq_start[sequence];
  const int end = state.seq_start[sequence + 1];
  // The delta rule asks before the branch, so that this load does not wait for the others: 6 % less time on
  // an H200. Linear attention takes 1 % more so.
  const int early = kDelta ? state.slot[sequence] : 0;
  if (end - first > most) return;
  const auto own_slot = [&] { return kDelta ? early : state.slot[sequence]; };
  const auto at = [&](int slot) {
    return state.at<T>(slot) + (int64_t{head} * kDim + row) * p.v_dim + column;
  };
  float s[kDimRows][4];
  const T* from = at(own_slot());
#pragma unroll
  for (int i = 0; i < kDimRows; ++i) {
    const Pack<float, 4> x = load<4>(from + int64_t{i} * p.v_dim);
#pragma unroll
    for (int c = 0; c < 4; ++c) s[i][c] = x.x[c];
  }
  const auto write = [&](int slot) {
    T* to = at(slot);
#pragma unroll
    for (int i = 0; i < kDimRows; ++i) {
      store(to + int64_t{i} * p.v_dim, Pack<float, 4>{s[i][0], s[i][1], s[i][2], s[i][3]});
    }
  };
  int save = state.first_save(first);
  for (int token = first; token < end; ++token) {
    const float4 out = add_token<kDelta>(p, token, head, row, column, s, sums);
    if (warp == 0) {
      *reinterpret_cast<float4*>(p.out + token * p.out_token + head * p.out_head + column) = out;
    }
    for (; save < state.saves && state.save[save].token == token; ++save) write(state.save[save].slot);
    if (token + 1 < end) __syncthreads();  // the sums' places are free again
  }
  write(own_slot());
}

// ---- States of any size: a warp for some columns of a head ----

constexpr int kMostRows = 512;  // of a state
constexpr int kSlices = 8;      // of a column's rows: a lane has one
constexpr int kSliceRows = kMostRows / kSlices;
constexpr int kWarpColumns = 32 / kSlices;
constexpr int kBlockWarps = 2;

// The sum over a column's slices, which every lane gets.
__device__ __forceinline__ float sum_slices(float x) {
#pragma unroll
  for (int step = 16; step >= kWarpColumns; step /= 2) x += __shfl_xor_sync(~0U, x, step);
  return x;
}

template <bool kDelta, class T>
__global__ void __launch_bounds__(kBlockWarps * 32)
    recurrent_kernel(const __grid_constant__ Recurrence p, const __grid_constant__ State state, int most) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int first_row = lane / kWarpColumns * kSliceRows;
  const int column =
      (static_cast<int>(blockIdx.x) * kBlockWarps + static_cast<int>(threadIdx.x) / 32) * kWarpColumns +
      lane % kWarpColumns;
  const int head = static_cast<int>(blockIdx.y);
  const int sequence = static_cast<int>(blockIdx.z);
  const bool has_column = column < p.v_dim;
  const int first = state.seq_start[sequence];
  const int end = state.seq_start[sequence + 1];
  if (end - first > most) return;
  const auto at = [&](int slot) {
    return state.at<T>(slot) + (int64_t{head} * p.k_dim + first_row) * p.v_dim + column;
  };
  const auto has = [&](int i) { return first_row + i < p.k_dim; };
  float s[kSliceRows];
  const T* from = at(state.slot[sequence]);
#pragma unroll
  for (int i = 0; i < kSliceRows; ++i) {
    s[i] = has_column && has(i) ? to_float(from[int64_t{i} * p.v_dim]) : 0;
  }
  const auto write = [&](int slot) {
    T* to = at(slot);
#pragma unroll
    for (int i = 0; i < kSliceRows; ++i) {
      if (has_column && has(i)) to[int64_t{i} * p.v_dim] = from_float<T>(s[i]);
    }
  };
  const float slope = kDelta ? 0 : expf(-p.decay[head]);
  int save = state.first_save(first);
  for (int token = first; token < end; ++token) {
    const float* k = p.k + token * p.k_token + p.key_head(head) * p.k_head + first_row;
    const float* q = p.q + token * p.q_token + p.key_head(head) * p.q_head + first_row;
    const float kept = kDelta ? expf(p.decay[token * p.decay_token + head]) : slope;
    float key[kSliceRows];
    float query[kSliceRows];
#pragma unroll
    for (int i = 0; i < kSliceRows; ++i) {
      key[i] = has(i) ? k[i] : 0;
      query[i] = has(i) ? q[i] : 0;
    }
    float change = has_column ? p.v[token * p.v_token + head * p.v_head + column] : 0;
    if constexpr (kDelta) {
      float known = 0;
#pragma unroll
      for (int i = 0; i < kSliceRows; ++i) {
        s[i] *= kept;
        known += s[i] * key[i];
      }
      change = p.beta[token * p.beta_token + head] * (change - sum_slices(known));
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kSliceRows; ++i) {
      s[i] = (kDelta ? s[i] : kept * s[i]) + key[i] * change;
      sum += query[i] * s[i];
    }
    sum = sum_slices(sum);
    if (lane < kWarpColumns && has_column) {
      p.out[token * p.out_token + head * p.out_head + column] = kDelta ? sum : p.scale * sum;
    }
    for (; save < state.saves && state.save[save].token == token; ++save) write(state.save[save].slot);
  }
  write(state.slot[sequence]);
}

// Of sequences of up to `most` tokens.
template <bool kDelta, class T>
void run_recurrence(cudaStream_t stream, const Recurrence& p, const State& state, int most) {
  const auto grid = [&](int columns) {
    return dim3(static_cast<unsigned>((p.v_dim + columns - 1) / columns), static_cast<unsigned>(p.heads),
                static_cast<unsigned>(state.sequences));
  };
  const bool fours = in_fours(p) && state.slot_stride % 4 == 0 &&
                     reinterpret_cast<uintptr_t>(state.slots) % (4 * sizeof(T)) == 0;
  if (fours && p.k_dim == kDim && p.v_dim % kDim == 0) {
    dim_kernel<kDelta, T><<<grid(kDim), kDimWarps * 32, 0, stream>>>(p, state, most);
    CUDA_LAUNCHED("dim_kernel");
    return;
  }
  CHECK(p.k_dim <= kMostRows, "k_dim", p.k_dim);
  recurrent_kernel<kDelta, T>
      <<<grid(kWarpColumns * kBlockWarps), kBlockWarps * 32, 0, stream>>>(p, state, most);
  CUDA_LAUNCHED("recurrent_kernel");
}

// Whether tensor cores take these sizes.
bool chunks_take(const CudaStream& device, const Recurrence& p, const StateArgs& args) {
  return device.hopper() && args.slots.dtype == DType::kF32 && p.k_dim == kDim && p.v_dim % 32 == 0 &&
         in_fours(p) && args.slots.stride[0] % 2 == 0 &&
         reinterpret_cast<uintptr_t>(args.slots.data) % (2 * sizeof(float)) == 0;
}

template <bool kDelta>
void run_recurrence(Stream& stream, const Recurrence& p, const StateArgs& args, int64_t tokens) {
  if (args.sequences == 0 || p.heads == 0) return;
  const State state(args);
  const bool one_each = tokens == args.sequences;
  const bool chunks = tokens >= kLeastInChunks && !one_each && chunks_take(device_of(stream), p, args) &&
                      (!kDelta || delta_chunks_take(device_of(stream), p));
  if (chunks && kDelta) run_delta_chunks(stream, p, state, tokens);
  if (chunks && !kDelta) run_linear_chunks(stream, p, state, tokens);
  if (chunks && args.sequences == 1) return;
  const int most = chunks ? kLeastInChunks - 1 : INT_MAX;
  if (args.slots.dtype == DType::kBF16) {
    return run_recurrence<kDelta, __nv_bfloat16>(handle_of(stream), p, state, most);
  }
  run_recurrence<kDelta, float>(handle_of(stream), p, state, most);
}

// ---- short_conv ----

struct Conv {
  const float *x, *weight, *bias;
  float* out;
  int64_t x_token, weight_channel, out_token;
  int64_t tokens;
  int channels, width;
  bool silu;
};

// What channel c got at `token`, which may lie before the call: then it is in the state before it.
template <class T>
__device__ float input(const Conv& p, const T* state, int first, int token, int c) {
  if (token >= first) return p.x[token * p.x_token + c];
  return to_float(state[int64_t{token - first + p.width - 1} * p.channels + c]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    conv_kernel(const __grid_constant__ Conv p, const __grid_constant__ State state) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= p.tokens * p.channels) return;
  const int token = static_cast<int>(i / p.channels);
  const int c = static_cast<int>(i % p.channels);
  int sequence = 0;
  int end = state.sequences;  // the last that starts at or before the token, and so is not empty
  while (end - sequence > 1) {
    const int middle = (sequence + end) / 2;
    if (state.seq_start[middle] <= token) {
      sequence = middle;
    } else {
      end = middle;
    }
  }
  const T* before = state.at<T>(state.slot[sequence]);
  float sum = 0;
  for (int j = 0; j < p.width; ++j) {
    sum += p.weight[c * p.weight_channel + j] *
           input(p, before, state.seq_start[sequence], token - p.width + 1 + j, c);
  }
  if (p.bias != nullptr) sum += p.bias[c];
  p.out[token * p.out_token + c] = p.silu ? sum / (1 + expf(-sum)) : sum;
}

// The states, once all outputs are there: those to be saved, then the sequence's own.
template <class T>
__global__ void __launch_bounds__(kThreads)
    conv_state_kernel(const __grid_constant__ Conv p, const __grid_constant__ State state) {
  const int c = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (c >= p.channels) return;
  const int sequence = static_cast<int>(blockIdx.y);
  const int first = state.seq_start[sequence];
  const int end = state.seq_start[sequence + 1];
  T* own = state.at<T>(state.slot[sequence]);
  // In place, oldest first: a place is read by no later one.
  const auto write = [&](int slot, int next) {
    T* to = state.at<T>(slot);
    for (int j = 0; j < p.width - 1; ++j) {
      to[int64_t{j} * p.channels + c] = rounded<T>(input(p, own, first, next - p.width + 1 + j, c));
    }
  };
  for (int i = state.first_save(first); i < state.saves && state.save[i].token < end; ++i) {
    write(state.save[i].slot, state.save[i].token + 1);
  }
  write(state.slot[sequence], end);
}

template <class T>
void run_conv(cudaStream_t stream, const Conv& p, const State& state) {
  if (p.tokens > 0) {
    const auto blocks = static_cast<unsigned>((p.tokens * p.channels + kThreads - 1) / kThreads);
    conv_kernel<T><<<blocks, kThreads, 0, stream>>>(p, state);
    CUDA_LAUNCHED("conv_kernel");
  }
  const dim3 grid(static_cast<unsigned>((p.channels + kThreads - 1) / kThreads),
                  static_cast<unsigned>(state.sequences));
  conv_state_kernel<T><<<grid, kThreads, 0, stream>>>(p, state);
  CUDA_LAUNCHED("conv_state_kernel");
}

__global__ void __launch_bounds__(kThreads)
    gates_kernel(const float* a_log, const float* dt_bias, float* a, float* b, int64_t a_token,
                 int64_t b_token, int64_t tokens, int64_t heads) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= tokens * heads) return;
  const int64_t h = i % heads;
  float* decay = a + i / heads * a_token + h;
  float* beta = b + i / heads * b_token + h;
  const float x = *decay + dt_bias[h];
  *decay = -expf(a_log[h]) * (x > 20 ? x : log1pf(expf(x)));
  *beta = 1 / (1 + expf(-*beta));
}

}  // namespace

void linear_attention(Stream& stream, const LinearAttentionArgs& args) {
  const Shapes n = check_shapes(args);
  const Recurrence p = {.q = args.q.f32(),
                        .k = args.k.f32(),
                        .v = args.v.f32(),
                        .q_token = args.q.stride[0],
                        .q_head = args.q.stride[1],
                        .k_token = args.k.stride[0],
                        .k_head = args.k.stride[1],
                        .v_token = args.v.stride[0],
                        .v_head = args.v.stride[1],
                        .decay = args.slopes,
                        .beta = nullptr,
                        .decay_token = 0,
                        .beta_token = 0,
                        .out = args.out.mutable_f32(),
                        .out_token = args.out.stride[0],
                        .out_head = args.out.stride[1],
                        .heads = static_cast<int>(n["heads"]),
                        .k_dim = static_cast<int>(n["k_dim"]),
                        .v_dim = static_cast<int>(n["v_dim"]),
                        .group = 1,
                        .key_heads = static_cast<int>(n["heads"]),
                        .scale = args.scale};
  run_recurrence<false>(stream, p, args.state, n["tokens"]);
}

void gated_delta(Stream& stream, const GatedDeltaArgs& args) {
  const Shapes n = check_shapes(args);
  const Recurrence p = {.q = args.q.f32(),
                        .k = args.k.f32(),
                        .v = args.v.f32(),
                        .q_token = args.q.stride[0],
                        .q_head = args.q.stride[1],
                        .k_token = args.k.stride[0],
                        .k_head = args.k.stride[1],
                        .v_token = args.v.stride[0],
                        .v_head = args.v.stride[1],
                        .decay = args.decay.f32(),
                        .beta = args.beta.f32(),
                        .decay_token = args.decay.stride[0],
                        .beta_token = args.beta.stride[0],
                        .out = args.out.mutable_f32(),
                        .out_token = args.out.stride[0],
                        .out_head = args.out.stride[1],
                        .heads = static_cast<int>(n["v_heads"]),
                        .k_dim = static_cast<int>(n["k_dim"]),
                        .v_dim = static_cast<int>(n["v_dim"]),
                        .group = args.tiled ? 1 : static_cast<int>(n["v_heads"] / n["k_heads"]),
                        .key_heads = static_cast<int>(n["k_heads"]),
                        .scale = 1};
  run_recurrence<true>(stream, p, args.state, n["tokens"]);
}

void short_conv(Stream& stream, const ShortConvArgs& args) {
  const Shapes n = check_shapes(args);
  if (args.state.sequences == 0 || n["channels"] == 0) return;
  const Conv p = {.x = args.x.f32(),
                  .weight = args.weight.f32(),
                  .bias = args.bias.defined() ? args.bias.f32() : nullptr,
                  .out = args.out.mutable_f32(),
                  .x_token = args.x.stride[0],
                  .weight_channel = args.weight.stride[0],
                  .out_token = args.out.stride[0],
                  .tokens = n["tokens"],
                  .channels = static_cast<int>(n["channels"]),
                  .width = static_cast<int>(n["width"]),
                  .silu = args.silu};
  const State state(args.state);
  if (args.state.slots.dtype == DType::kBF16) return run_conv<__nv_bfloat16>(handle_of(stream), p, state);
  run_conv<float>(handle_of(stream), p, state);
}

void delta_gates(Stream& stream, const DeltaGatesArgs& args) {
  const Shapes n = check(args);
  const int64_t count = n["tokens"] * n["heads"];
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  gates_kernel<<<blocks, kThreads, 0, handle_of(stream)>>>(
      args.a_log.f32(), args.dt_bias.f32(), args.a.mutable_f32(), args.b.mutable_f32(), args.a.stride[0],
      args.b.stride[0], n["tokens"], n["heads"]);
  CUDA_LAUNCHED("gates_kernel");
}

}  // namespace heed::cuda
