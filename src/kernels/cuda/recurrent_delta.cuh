// What the three phases of gated_delta over chunks share: what they leave for one another, and which chunk a
// warpgroup has. The kernel itself: recurrent_delta.cu.
#pragma once
#include "kernels/cuda/recurrent_tiles.cuh"

namespace heed::cuda::chunks {

constexpr int kColumns = 32;  // of a state, of a block that goes along a sequence
constexpr int kSquare = kTokens * kTokens * 2;

// What the first phase leaves of a chunk and head: W, K (both as two tiles of rows), and of each 32 columns U
// and e^g_last.
constexpr int kW = 0, kK = 2 * kTile, kParts = 4 * kTile;
constexpr int kLastAt = kTokens * kColumns * 4, kPart = kLastAt + 128;
// What the second leaves of each 128 columns: the state as two tiles of columns' rows, u as two.
constexpr int kAddedTile = kDim * kTokens * 2;
constexpr int kAdded = 2 * kStateTile, kLeft = kAdded + 2 * kAddedTile;

// Some chunks of those of all sequences, and what is left of them.
struct Window {
  int first, count;
  char* images;  // [chunks, heads, image_bytes]
  char* left;    // [chunks, heads, blocks of 128 columns, kLeft]
};
struct DeltaParams {
  Recurrence p;
  Window prepared, scanned, answered;
  int image_bytes, column_blocks;
  int scans, answers, prepares;  // blocks, and units of the others
  __device__ char* image(const Window& window, int chunk, int head) const {
    return window.images + (int64_t{chunk} * p.heads + head) * image_bytes;
  }
  __device__ char* left_of(const Window& window, int chunk, int head, int block) const {
    return window.left + ((int64_t{chunk} * p.heads + head) * column_blocks + block) * kLeft;
  }
};

// A warpgroup, what it has of the shared memory, and its unit of the first or the third phase.
struct Group {
  int id, thread, warp, lane;
  char* memory;
  uint32_t base;
  __device__ __forceinline__ void sync() const { ptx::threads_sync(1 + id, kGroup); }
};
struct Unit {
  int sequence, token, rows;  // of the batch
  int chunk, head, block;     // of the window
};
__device__ inline Unit find_chunk(const DeltaParams& params, const State& state, const Window& window,
                                  int unit, int blocks) {
  Unit own = {.chunk = unit / blocks / params.p.heads,
              .head = unit / blocks % params.p.heads,
              .block = unit % blocks};
  const int2 found = find_unit(state, window.first + own.chunk, [&](int s) { return chunks_in(state, s); });
  own.sequence = found.x;
  if (found.x < 0) return own;
  own.token = state.seq_start[found.x] + found.y * kTokens;
  own.rows = min(kTokens, state.seq_start[found.x + 1] - own.token);
  return own;
}

// g and beta of the chunk's tokens, by the first two warps; g stays as it is behind the last token.
__device__ inline void sum_decays(const Recurrence& p, const Group& group, const Unit& unit, float* g,
                                  float* beta) {
  const int i = group.thread;
  float sum = 0;
  if (i < kTokens) {
    const int64_t token = unit.token + i;
    if (i < unit.rows) sum = p.decay[token * p.decay_token + unit.head];
    if (beta != nullptr) beta[i] = i < unit.rows ? p.beta[token * p.beta_token + unit.head] : 0;
    for (int step = 1; step < 32; step *= 2) {
      const float before = __shfl_up_sync(~0U, sum, step);
      if (i % 32 >= step) sum += before;
    }
    g[i] = sum;
  }
  group.sync();
  const float first = g[31];
  group.sync();
  if (i >= 32 && i < kTokens) g[i] = sum + first;
  group.sync();
}

}  // namespace heed::cuda::chunks
