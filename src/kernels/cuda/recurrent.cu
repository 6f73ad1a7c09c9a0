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

// A warp has kColumns columns of one head's state of one sequence in registers: a lane four neighbouring
// columns, or one, of every kSlices-th part of the rows. No warp waits for another.
// kExact: rows and columns fill the slices. Then no load is under a condition, or each would wait for the one
// before.
template <int kWide_, int kRows_, bool kExact_>
struct Slices {
  static constexpr bool kExact = kExact_;
  static constexpr int kWide = kWide_;  // columns of a lane
  static constexpr int kRows = kRows_;  // rows of a lane
  static constexpr int kSlices = 8;
  static constexpr int kColumns = 32 / kSlices * kWide;
  static constexpr int kWarps = 2;  // of a block
};

// The sum over a column's slices, which every lane gets.
template <class C>
__device__ void sum_slices(float (&x)[C::kWide]) {
#pragma unroll
  for (int step = 16; step >= 32 / C::kSlices; step /= 2) {
#pragma unroll
    for (int c = 0; c < C::kWide; ++c) x[c] += __shfl_xor_sync(~0U, x[c], step);
  }
}

template <class C, bool kDelta, class T>
__global__ void __launch_bounds__(C::kWarps * 32)
    recurrent_kernel(const __grid_constant__ Recurrence p, const __grid_constant__ State state, int most) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int first_row = lane / (32 / C::kSlices) * C::kRows;
  const int column =
      (static_cast<int>(blockIdx.x) * C::kWarps + static_cast<int>(threadIdx.x) / 32) * C::kColumns +
      lane % (32 / C::kSlices) * C::kWide;
  const int head = static_cast<int>(blockIdx.y);
  const int sequence = static_cast<int>(blockIdx.z);
  const bool has_column = C::kExact || column < p.v_dim;
  const int own = state.slot[sequence];
  if (state.seq_start[sequence + 1] - state.seq_start[sequence] > most) return;
  const auto at = [&](int slot) {
    return state.at<T>(slot) + (int64_t{head} * p.k_dim + first_row) * p.v_dim + column;
  };
  const auto has = [&](int i) { return C::kExact || first_row + i < p.k_dim; };
  float s[C::kRows][C::kWide];
  const T* from = at(own);
#pragma unroll
  for (int i = 0; i < C::kRows; ++i) {
    Pack<float, C::kWide> x = {};
    if (has_column && has(i)) x = load<C::kWide>(from + int64_t{i} * p.v_dim);
#pragma unroll
    for (int c = 0; c < C::kWide; ++c) s[i][c] = x.x[c];
  }
  const auto write = [&](int slot) {
    T* to = at(slot);
#pragma unroll
    for (int i = 0; i < C::kRows; ++i) {
      Pack<float, C::kWide> x;
#pragma unroll
      for (int c = 0; c < C::kWide; ++c) x.x[c] = s[i][c];
      if (has_column && has(i)) store(to + int64_t{i} * p.v_dim, x);
    }
  };
  const float slope = kDelta ? 0 : expf(-p.decay[head]);
  int save = state.first_save(state.seq_start[sequence]);
  for (int token = state.seq_start[sequence]; token < state.seq_start[sequence + 1]; ++token) {
    const float* k = p.k + token * p.k_token + p.key_head(head) * p.k_head + first_row;
    const float* q = p.q + token * p.q_token + p.key_head(head) * p.q_head + first_row;
    const float kept = kDelta ? expf(p.decay[token * p.decay_token + head]) : slope;
    float key[C::kRows];
    float query[C::kRows];
    float change[C::kWide];
#pragma unroll
    for (int i = 0; i < C::kRows; ++i) {
      key[i] = has(i) ? k[i] : 0;
      query[i] = has(i) ? q[i] : 0;
    }
#pragma unroll
    for (int c = 0; c < C::kWide; ++c) {
      change[c] = has_column ? p.v[token * p.v_token + head * p.v_head + column + c] : 0;
    }
    if constexpr (kDelta) {
      const float beta = p.beta[token * p.beta_token + head];
      float known[C::kWide] = {};
#pragma unroll
      for (int i = 0; i < C::kRows; ++i) {
#pragma unroll
        for (int c = 0; c < C::kWide; ++c) {
          s[i][c] *= kept;
          known[c] += s[i][c] * key[i];
        }
      }
      sum_slices<C>(known);
#pragma unroll
      for (int c = 0; c < C::kWide; ++c) change[c] = beta * (change[c] - known[c]);
    }
    float sum[C::kWide] = {};
#pragma unroll
    for (int i = 0; i < C::kRows; ++i) {
#pragma unroll
      for (int c = 0; c < C::kWide; ++c) {
        s[i][c] = (kDelta ? s[i][c] : kept * s[i][c]) + key[i] * change[c];
        sum[c] += query[i] * s[i][c];
      }
    }
    sum_slices<C>(sum);
    if (lane < 32 / C::kSlices && has_column) {
#pragma unroll
      for (int c = 0; c < C::kWide; ++c) {
        p.out[token * p.out_token + head * p.out_head + column + c] = kDelta ? sum[c] : p.scale * sum[c];
      }
    }
    for (; save < state.saves && state.save[save].token == token; ++save) write(state.save[save].slot);
  }
  write(state.slot[sequence]);
}

// Of sequences of up to `most` tokens.
template <bool kDelta, class T>
void run_recurrence(cudaStream_t stream, const Recurrence& p, const State& state, int most) {
  const auto run = [&]<class C>(C) {
    CHECK(p.k_dim <= C::kRows * C::kSlices, "k_dim", p.k_dim);
    constexpr int kColumns = C::kColumns * C::kWarps;
    const dim3 grid(static_cast<unsigned>((p.v_dim + kColumns - 1) / kColumns),
                    static_cast<unsigned>(p.heads), static_cast<unsigned>(state.sequences));
    recurrent_kernel<C, kDelta, T><<<grid, C::kWarps * 32, 0, stream>>>(p, state, most);
    CUDA_LAUNCHED("recurrent_kernel");
  };
  constexpr int kFour = 4;
  using Exact = Slices<kFour, 16, true>;
  const bool exact = p.k_dim == Exact::kRows * Exact::kSlices &&
                     p.v_dim % (Exact::kColumns * Exact::kWarps) == 0 && state.slot_stride % kFour == 0 &&
                     reinterpret_cast<uintptr_t>(state.slots) % (kFour * sizeof(T)) == 0;
  if (exact) {
    run(Exact());
  } else {
    run(Slices<1, 64, false>());
  }
}

template <bool kDelta>
void run_recurrence(Stream& stream, const Recurrence& p, const StateArgs& args, int64_t tokens) {
  if (args.sequences == 0 || p.heads == 0) return;
  const State state(args);
  const bool one_each = tokens == args.sequences;
  const bool chunks = tokens >= kLeastInChunks && !one_each && chunks_take(device_of(stream), p, args);
  if (chunks) run_chunks(stream, p, state, tokens, kDelta);
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
