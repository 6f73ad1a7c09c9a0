// gated_delta over chunks, the second phase: along a sequence, a warpgroup for 32 columns of a head's state,
// and a thread that copies.
#pragma once
#include "kernels/cuda/recurrent_delta.cuh"

namespace heed::cuda::chunks {

// W and K of chunk after chunk take turns in a ring of places; U and e^g_last have their own.
constexpr int kPlaces = 5, kPartPlaces = 2;
// Columns of the state and of u, as rows: 32 rounded, then 32 of what that lost; two of each.
constexpr int kStateRows = 2 * kColumns * kDim * 2, kAddedRows = 2 * kColumns * kTokens * 2;
constexpr int kStatesAt = kPlaces * 2 * kTile, kAddedAt = kStatesAt + 2 * kStateRows;
constexpr int kPartsAt = kAddedAt + 2 * kAddedRows;
constexpr int kScanBarriersAt = kPartsAt + kPartPlaces * kPart;
constexpr int kScanShared = kScanBarriersAt + 2 * (kPlaces + kPartPlaces) * 8;

__device__ __forceinline__ void copy_out(char* to, uint32_t from, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void copies_out_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void copies_out_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

// A ring of places in shared memory, whose barriers say that a place's bytes have arrived, and been read.
template <int kCount>
struct Ring {
  uint32_t places, bytes, barriers;
  __device__ __forceinline__ uint32_t place(int i) const { return places + i % kCount * bytes; }
  __device__ __forceinline__ uint32_t arrived(int i) const { return barriers + i % kCount * 8; }
  __device__ __forceinline__ uint32_t free(int i) const { return arrived(i) + kCount * 8; }
  __device__ void init() const {
    for (int i = 0; i < kCount; ++i) {
      ptx::barrier_init(arrived(i), 1);
      ptx::barrier_init(free(i), kGroup / 32);
    }
  }
  __device__ __forceinline__ void fetch(int i, const char* from) const {
    if (i >= kCount) ptx::barrier_wait(free(i), i / kCount % 2 ^ 1);
    ptx::barrier_arrive_expecting(arrived(i), static_cast<int>(bytes));
    ptx::copy_bytes(place(i), from, static_cast<int>(bytes), arrived(i));
  }
  __device__ __forceinline__ void wait(int i) const { ptx::barrier_wait(arrived(i), i / kCount % 2); }
  __device__ __forceinline__ void give(int i) const {
    if (threadIdx.x % 32 == 0) ptx::barrier_arrive(free(i));
  }
};

struct Scan {
  const DeltaParams& params;
  const State& state;
  const Recurrence& p;
  const char* memory;
  const uint32_t base;
  const int head, column, sequence, thread, warp, lane;

  __device__ __forceinline__ Ring<kPlaces> tiles() const { return {base, 2 * kTile, base + kScanBarriersAt}; }
  __device__ __forceinline__ Ring<kPartPlaces> parts() const {
    return {base + kPartsAt, kPart, base + kScanBarriersAt + 2 * kPlaces * 8};
  }

  // What chunks [first, end) of the window need, by one thread.
  __device__ __forceinline__ void fetch(int first, int end) const {
    for (int n = 0; n < end - first; ++n) {
      const char* image = params.image(params.scanned, first + n, head);
      tiles().fetch(2 * n, image + kW);
      parts().fetch(n, image + kParts + column / kColumns * kPart);
      tiles().fetch(2 * n + 1, image + kK);
    }
  }

  // The state: rows 64 * half and on, of each the block's columns; behind them room for sums to be added.
  template <class Body>
  __device__ __forceinline__ void for_pairs(Body body) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        body(half, 2 * i,
             (int64_t{head} * kDim + half * 64 + warp * 16 + i % 2 * 8 + lane / 4) * p.v_dim + column +
                 i / 2 * 8 + lane % 4 * 2);
      }
    }
  }
  __device__ __forceinline__ void load_state(float (&s)[2][32]) const {
    const float* from = state.at<float>(state.slot[sequence]);
    for_pairs([&](int half, int i, int64_t at) {
      const auto x = *reinterpret_cast<const float2*>(from + at);
      s[half][i] = x.x;
      s[half][i + 1] = x.y;
    });
  }
  __device__ __forceinline__ void write_state(const float (&s)[2][32]) const {
    float* to = state.at<float>(state.slot[sequence]);
    for_pairs([&](int half, int i, int64_t at) {
      *reinterpret_cast<float2*>(to + at) = {s[half][i], s[half][i + 1]};
    });
  }

  // 64 rows of 32 columns of products to rows of columns; `chunk`: where the 64 begin.
  __device__ __forceinline__ void turn(const float (&x)[32], uint32_t to, int chunk) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const SplitRegisters parts(x, n * 8);
      const int row = n * 16 + lane / 16 * 8 + lane % 8;
      const uint32_t at = to + row_place<2 * kColumns>(row, chunk + warp * 2 + lane / 8 % 2);
      ptx::store_transposed(at, parts.high);
      ptx::store_transposed(at + kColumns * 128, parts.low);
    }
  }

  // u of a chunk, to shared memory.
  __device__ __forceinline__ void find_added(uint32_t tile, const char* values, uint32_t states,
                                             uint32_t to) const {
    float d[32] = {};
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const uint32_t w = tile + k / 4 * (kTile / 2) + k % 4 * 32;
      const uint32_t s = states + k / 4 * (kStateRows / 2) + k % 4 * 32;
      wgmma::multiply(d, wgmma::rows_descriptor(w, kAtom), wgmma::rows_descriptor(s, kAtom), true);
      wgmma::multiply_half(d, wgmma::rows_descriptor(w + kTile, kAtom), wgmma::rows_descriptor(s, kAtom));
    }
    wgmma::commit();
    float4 u[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) u[i] = *reinterpret_cast<const float4*>(values + (i * kGroup + thread) * 16);
    wgmma::wait<0>();
    wgmma::pin(d);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      d[4 * i] = u[i].x - (d[4 * i] + d[16 + 4 * i]);
      d[4 * i + 1] = u[i].y - (d[4 * i + 1] + d[16 + 4 * i + 1]);
      d[4 * i + 2] = u[i].z - (d[4 * i + 2] + d[16 + 4 * i + 2]);
      d[4 * i + 3] = u[i].w - (d[4 * i + 3] + d[16 + 4 * i + 3]);
    }
    turn(d, to, 0);
  }

  __device__ __forceinline__ void add_tokens(float (&s)[32], uint32_t tile, int half, uint32_t added) const {
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const uint32_t keys = tile + half * (kTile / 2) + k * (2 * kAtom);
      const uint64_t u = wgmma::rows_descriptor(added + k * 32, kAtom);
      wgmma::multiply_turned(s, wgmma::columns_descriptor(keys, kAtom), u);
      wgmma::multiply_turned_half(s, wgmma::columns_descriptor(keys + kTile, kAtom), u);
    }
    wgmma::commit();
  }
  __device__ __forceinline__ void finish(float (&s)[32], uint32_t states, int half) const {
    wgmma::pin(s);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      s[i] += s[16 + i];
      s[16 + i] = 0;
    }
    turn(s, states, half * 8);
  }

  // What the third kernel reads.
  __device__ __forceinline__ void leave_state(int chunk, uint32_t states) const {
    char* to = params.left_of(params.scanned, chunk, head, column / kDim) + column % kDim * 128;
    for (int part = 0; part < 4; ++part) {  // rounded and lost, of two halves of its rows
      copy_out(to + part / 2 * kStateTile + part % 2 * (kStateTile / 2),
               states + part % 2 * (kStateRows / 2) + part / 2 * (kColumns * 128), kColumns * 128);
    }
    copies_out_commit();
  }
  __device__ __forceinline__ void leave_added(int chunk, uint32_t added) const {
    char* to = params.left_of(params.scanned, chunk, head, column / kDim) + kAdded + column % kDim * 128;
    copy_out(to, added, kColumns * 128);
    copy_out(to + kAddedTile, added + kColumns * 128, kColumns * 128);
    copies_out_commit();
  }

  __device__ __forceinline__ void meet() const {
    ptx::shared_writes_to_engines();
    ptx::threads_sync(1, kGroup);
  }
  __device__ __forceinline__ void run(int first, int end) const {
    float s[2][32] = {};
    load_state(s);
    turn(s[0], base + kStatesAt, 0);
    turn(s[1], base + kStatesAt, 8);
    meet();
    for (int n = 0; n < end - first; ++n) {
      const uint32_t states = base + kStatesAt + n % 2 * kStateRows;
      const uint32_t next = base + kStatesAt + (n + 1) % 2 * kStateRows;
      const uint32_t added = base + kAddedAt + n % 2 * kAddedRows;
      const char* part = memory + kPartsAt + n % kPartPlaces * kPart;
      if (thread == 0) leave_state(first + n, states);
      parts().wait(n);
      const float last = *reinterpret_cast<const float*>(part + kLastAt);
      tiles().wait(2 * n);
      find_added(tiles().place(2 * n), part, states, added);
      tiles().give(2 * n);
      parts().give(n);
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        s[0][i] *= last;
        s[1][i] *= last;
      }
      if (thread == 0) copies_out_read<1>();  // what the next lines write over has been read
      meet();
      if (thread == 0) leave_added(first + n, added);
      tiles().wait(2 * n + 1);
      add_tokens(s[0], tiles().place(2 * n + 1), 0, added);
      add_tokens(s[1], tiles().place(2 * n + 1), 1, added);
      wgmma::wait<1>();
      finish(s[0], next, 0);
      wgmma::wait<0>();
      tiles().give(2 * n + 1);
      finish(s[1], next, 1);
      meet();
    }
    write_state(s);
    if (thread == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
  }
};

__device__ inline void scan(const DeltaParams& params, const State& state, char* memory) {
  const int parts = params.p.v_dim / kColumns;
  const int index = static_cast<int>(blockIdx.x);
  const Share share = find_share(state, params.scanned.first, params.scanned.count,
                                 index / parts / params.p.heads, [&](int s) { return chunks_in(state, s); });
  if (share.sequence < 0) return;
  const int thread = static_cast<int>(threadIdx.x);
  const Scan scan = {.params = params,
                     .state = state,
                     .p = params.p,
                     .memory = memory,
                     .base = ptx::shared(memory),
                     .head = index / parts % params.p.heads,
                     .column = index % parts * kColumns,
                     .sequence = share.sequence,
                     .thread = thread,
                     .warp = thread / 32,
                     .lane = thread % 32};
  if (thread == 0) {
    scan.tiles().init();
    scan.parts().init();
    ptx::barrier_inits_done();
  }
  __syncthreads();
  if (thread < kGroup) {
    scan.run(share.begin, share.end);
  } else if (thread == kGroup) {
    scan.fetch(share.begin, share.end);
  }
}

}  // namespace heed::cuda::chunks
