// What the kernels of layers with a state get.
#pragma once
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {

// StateArgs for a kernel.
struct State {
  void* slots;
  int64_t slot_stride;
  const int32_t *seq_start, *slot;
  int sequences, saves;
  const StateSave* save;

  explicit State(const StateArgs& args)
      : slots(args.slots.data),
        slot_stride(args.slots.stride[0]),
        seq_start(args.seq_start),
        slot(args.slot),
        sequences(args.sequences),
        saves(static_cast<int>(args.saves.size())),
        save(args.saves.data()) {}
  template <class T>
  __device__ T* at(int s) const {
    return static_cast<T*>(slots) + s * slot_stride;
  }
  // The first save of token `token` or later.
  __device__ int first_save(int token) const {
    int lo = 0;
    int hi = saves;
    while (lo < hi) {
      const int middle = (lo + hi) / 2;
      if (save[middle].token < token) {
        lo = middle + 1;
      } else {
        hi = middle;
      }
    }
    return lo;
  }
};

// linear_attention and gated_delta.
struct Recurrence {
  const float *q, *k, *v;
  int64_t q_token, q_head, k_token, k_head, v_token, v_head;
  const float* decay;  // [tokens, heads] with delta, [heads] of slopes without
  const float* beta;
  int64_t decay_token, beta_token;
  float* out;
  int64_t out_token, out_head;
  int heads, k_dim, v_dim;
  int group, key_heads;  // head h has key head h / group % key_heads
  float scale;
  __device__ int key_head(int head) const { return head / group % key_heads; }
};

// Sequences of so many tokens in a call run in chunks on tensor cores, where these take the sizes; the others
// token by token. That depends on the sequence alone, so its neighbours change no bit.
inline constexpr int kLeastInChunks = 64;
inline constexpr int kBlocksOfSequence = 128;                 // all heads of one make about so many blocks
inline constexpr int64_t kChunkScratch = int64_t{192} << 20;  // bytes that they take at most, about
// The sequences with at least kLeastInChunks tokens.
void run_linear_chunks(const Stream& stream, const Recurrence& p, const State& state, int64_t tokens);
bool delta_chunks_take(const CudaStream& device, const Recurrence& p);  // its size
void run_delta_chunks(const Stream& stream, const Recurrence& p, const State& state, int64_t tokens);

}  // namespace heed::cuda
