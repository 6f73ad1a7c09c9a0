// gated_delta over chunks, the third phase: a warpgroup answers for a chunk and 128 columns of a head.
#pragma once
#include "kernels/cuda/recurrent_delta.cuh"

namespace heed::cuda::chunks {

constexpr int kStatesHere = 0, kKeysHere = 2 * kStateTile, kGHere = kKeysHere + 2 * kTile;
constexpr int kAnswerShared = kGHere + kTokens * 4;
constexpr int kAnswerBarriers = 3;                           // keys and g are there, the state is, u is
static_assert(kG == kK + 2 * kTile && kAddedTile == kTile);  // u takes the place of the keys

struct Answer {
  const State& state;
  const Recurrence& p;
  const Group& group;
  const Unit& unit;
  const char* memory;
  const uint32_t base;
  const float* g;
  const int head, column, columns, thread, warp, lane, phase;

  __device__ __forceinline__ uint32_t arrived(int i) const { return group.barriers + i * 8; }

  // Copies of what the first two phases left, by one thread.
  __device__ __forceinline__ void bring(uint32_t to, const char* from, int bytes, int barrier) const {
    ptx::barrier_arrive_expecting(arrived(barrier), bytes);
    ptx::copy_bytes(base + to, from, bytes, arrived(barrier));
  }
  __device__ __forceinline__ void run(const Queries& queries, const char* left) const {
    Left<8> q;
    queries.split_to(q);
    float scores[32] = {};
    ptx::barrier_wait(arrived(0), phase);
    wgmma::fence();
    multiply<true>(scores, q, base + kKeysHere, kTile);
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::pin(scores);
    group.sync();
    if (thread == 0) bring(kKeysHere, left + kAdded, 2 * kAddedTile, 2);
    float out[64] = {};
    ptx::barrier_wait(arrived(1), phase);
    wgmma::fence();
    multiply<true>(out, q, base + kStatesHere, kStateTile);
    wgmma::commit();
    Left<4> weights;
    const int row = warp * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < 16; ++i) {  // pairs
      const int at = row + i % 2 * 8;
      const int j = i / 2 * 8 + lane % 4 * 2;
      weights.set(i / 4, i % 4, j <= at ? scores[2 * i] * ptx::exp2(g[at] - g[j]) : 0,
                  j < at ? scores[2 * i + 1] * ptx::exp2(g[at] - g[j + 1]) : 0);
    }
    const float kept[2] = {ptx::exp2(g[row]), ptx::exp2(g[row + 8])};
    wgmma::wait<0>();
    wgmma::pin(out);
#pragma unroll
    for (int i = 0; i < 64; ++i) out[i] *= kept[i / 2 % 2];
    ptx::barrier_wait(arrived(2), phase);
    wgmma::fence();
    multiply<true>(out, weights, base + kKeysHere, kAddedTile);
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::pin(out);
    write_answers(p, out, unit.token, unit.rows, head, column, columns, thread);
  }

  // States in the midst of the chunk: a thread has a column of each.
  __device__ __forceinline__ void save() const {
    for (int i = state.first_save(unit.token);
         i < state.saves && state.save[i].token < unit.token + unit.rows; ++i) {
      write_saved(state.save[i].token - unit.token, state.save[i].slot);
    }
  }
  __device__ void write_saved(int end, int slot) const {
    if (thread >= columns) return;
    const auto part = [&](int tile, int place) {
      return __bfloat162float(*reinterpret_cast<const __nv_bfloat16*>(memory + tile + place));
    };
    const float* keys = p.k + unit.token * p.k_token + p.key_head(head) * p.k_head;
    float* to = state.at<float>(slot) + int64_t{head} * kDim * p.v_dim + column + thread;
    const float kept = ptx::exp2(g[end]);
    for (int row = 0; row < kDim; row += 8) {
      float s[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int place = row_place<kDim>(thread, row / 8) + i * 2;
        s[i] = kept * (part(kStatesHere, place) + part(kStatesHere + kStateTile, place));
      }
      for (int j = 0; j <= end; ++j) {
        const int place = row_place<kDim>(thread, j / 8) + j % 8 * 2;
        const float u =
            ptx::exp2(g[end] - g[j]) * (part(kKeysHere, place) + part(kKeysHere + kAddedTile, place));
        const auto* key = reinterpret_cast<const float4*>(keys + j * p.k_token + row);
        const float4 x = key[0];
        const float4 y = key[1];
        s[0] += x.x * u;
        s[1] += x.y * u;
        s[2] += x.z * u;
        s[3] += x.w * u;
        s[4] += y.x * u;
        s[5] += y.y * u;
        s[6] += y.z * u;
        s[7] += y.w * u;
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) to[int64_t{row + i} * p.v_dim] = s[i];
    }
  }
};

// `phase`: of the group's barriers.
__device__ inline void answer(const DeltaParams& params, const State& state, Group& group, const Unit& unit,
                              int phase) {
  const Recurrence& p = params.p;
  const int column = unit.block * kDim;
  const auto* g = reinterpret_cast<const float*>(group.memory + kGHere);
  const Answer own = {.state = state,
                      .p = p,
                      .group = group,
                      .unit = unit,
                      .memory = group.memory,
                      .base = group.base,
                      .g = g,
                      .head = unit.head,
                      .column = column,
                      .columns = min(kDim, p.v_dim - column),
                      .thread = group.thread,
                      .warp = group.warp,
                      .lane = group.lane,
                      .phase = phase};
  const char* left = params.left_of(unit.step, unit.index, unit.block);
  const int key_head = p.key_head(unit.head);
  Queries queries;
  queries.load(p.q + unit.token * p.q_token + key_head * p.q_head, p.q_token, unit.rows, group.thread);
  group.tell();
  if (group.thread == kPoller) {
    wait_for_count(params.count(unit.step, unit.index), params.scanned());
    ptx::fence_engines();
    own.bring(kKeysHere, params.image(unit.step, unit.index) + kK, 2 * kTile + kTokens * 4, 0);
    own.bring(kStatesHere, left, 2 * kStateTile, 1);
  }
  own.run(queries, left);
  own.save();
  group.done = params.count(unit.step, unit.index);
}

}  // namespace heed::cuda::chunks
