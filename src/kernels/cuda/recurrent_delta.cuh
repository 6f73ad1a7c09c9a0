// What the three phases of gated_delta over chunks share: what they leave for one another, and which chunk a
// warpgroup has. The kernel itself: recurrent_delta.cu.
#pragma once
#include "kernels/cuda/recurrent_tiles.cuh"

namespace heed::cuda::chunks {

// Two warpgroups of a block work, the third helps where they go along states. Registers of a thread.
constexpr int kWorking = 232, kHelping = 40;
constexpr int kColumns = 32;  // of a state, of a block that goes along a sequence

// What the first phase leaves of a chunk and head: W (a left operand), K (two tiles of rows), g, and of each
// 32 columns U, what is left of each token's keys at the chunk's end (e^(g_last - g)), and e^g_last.
constexpr int kW = 0, kK = 2 * kTile, kG = 4 * kTile, kParts = kG + kTokens * 4;
constexpr int kLeftAt = kTokens * kColumns * 4, kLastAt = kLeftAt + kTokens * 4, kPart = kLastAt + 128;
// What the second leaves of each 128 columns: the state as two tiles of columns' rows, u as two.
constexpr int kAddedTile = kDim * kTokens * 2;
constexpr int kAdded = 2 * kStateTile, kLeft = kAdded + 2 * kAddedTile;

// Steps follow one another: a step is a chunk of some heads, those of a pass; a pass has the chunks of all
// sequences. What is left of a step has a place in a ring.
struct DeltaParams {
  Recurrence p;
  char* images;  // [ring, heads of a pass, image_bytes]
  char* left;    // [ring, heads of a pass, blocks of 128 columns, kLeft]
  int* counts;   // [steps, heads of a pass]: how many parts of the work on a chunk are done
  int pass_heads, passes, ring, lag, image_bytes;
  int parts, column_blocks, scans;  // scans: blocks that go along states

  // What a chunk's count is once it is prepared, known to the scan's blocks, answered.
  __device__ int prepared() const { return 1; }
  __device__ int scanned() const { return 1 + 2 * parts; }  // the states, and u
  __device__ int answered() const { return scanned() + column_blocks; }
  __device__ int64_t place(int step, int index) const { return int64_t{step} % ring * pass_heads + index; }
  __device__ char* image(int step, int index) const { return images + place(step, index) * image_bytes; }
  __device__ char* left_of(int step, int index, int block) const {
    return left + (place(step, index) * column_blocks + block) * kLeft;
  }
  __device__ int* count(int step, int index) const { return counts + int64_t{step} * pass_heads + index; }
};

// Counts say to other blocks that what was written before is there.
__device__ __forceinline__ void wait_for_count(const int* count, int least) {
  while (ptx::read_count(count) < least) __nanosleep(100);
}

// A warpgroup, what it has of the shared memory, and its unit of the first or the third phase. Threads of
// different warps wait for different things.
constexpr int kPoller = 64, kCopier = 96;
struct Group {
  int id, thread, warp, lane;
  char* memory;
  uint32_t base, barriers;
  int* done = nullptr;  // the count of what is done, and not yet told

  __device__ __forceinline__ void sync() const { ptx::threads_sync(1 + id, kGroup); }
  // What the last unit did, said once the next one's loads are on their way: to wait until it is written
  // takes long.
  __device__ __forceinline__ void tell() {
    if (thread == kCopier && done != nullptr) {
      ptx::copies_out_wait<0>();
      ptx::add_to_count(done);
    }
    done = nullptr;
  }
};
struct Unit {
  int sequence, token, rows;  // of the batch
  int step, index, head, block;
};
__device__ inline Unit find_chunk(const DeltaParams& params, const State& state, int chunks, int step,
                                  int index, int block) {
  const int2 found = find_unit(state, step % chunks, [&](int s) { return chunks_in(state, s); });
  const int token = state.seq_start[found.x] + found.y * kTokens;
  return {.sequence = found.x,
          .token = token,
          .rows = min(kTokens, state.seq_start[found.x + 1] - token),
          .step = step,
          .index = index,
          .head = step / chunks * params.pass_heads + index,
          .block = block};
}

}  // namespace heed::cuda::chunks
