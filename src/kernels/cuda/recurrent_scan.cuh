// gated_delta over chunks, the second phase: along sequences, a warpgroup for each half of 32 columns of a
// head's state, a warp that brings what is prepared, and some that take away what is to be answered.
#pragma once
#include "kernels/cuda/recurrent_delta.cuh"

namespace heed::cuda::chunks {

// W and K of chunk after chunk take turns in a ring of places; U and e^g_last have their own.
constexpr int kPlaces = 5, kPartPlaces = 2;
// Columns of the state and of u, as rows: 32 rounded, then 32 of what that lost. There are two places for
// states, one for u, and one for u times what is left of it at the chunk's end.
constexpr int kStateRows = 2 * kColumns * kDim * 2, kAddedRows = 2 * kColumns * kTokens * 2;
constexpr int kStatesAt = kPlaces * 2 * kTile, kAddedAt = kStatesAt + 2 * kStateRows;
constexpr int kWeighedAt = kAddedAt + kAddedRows, kPartsAt = kWeighedAt + kAddedRows;
constexpr int kScanBarriersAt = kPartsAt + kPartPlaces * kPart;
constexpr int kLeftBarriersAt = kScanBarriersAt + 2 * (kPlaces + kPartPlaces) * 8;
constexpr int kLeavers = 3;  // warps that take away, by turns: each waits until its copies are written
constexpr int kScanShared = kLeftBarriersAt + 2 * kLeavers * 8;

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
  const int index, column, chunks;     // index: of the pass's heads
  const int half, thread, warp, lane;  // of the state, of a warpgroup

  // Passes whose heads are there; a chunk of each is a step.
  __device__ __forceinline__ int passes() const {
    return (p.heads - index + params.pass_heads - 1) / params.pass_heads;
  }
  __device__ __forceinline__ Ring<kPlaces> tiles() const { return {base, 2 * kTile, base + kScanBarriersAt}; }
  __device__ __forceinline__ Ring<kPartPlaces> parts() const {
    return {base + kPartsAt, kPart, base + kScanBarriersAt + 2 * kPlaces * 8};
  }

  // For the threads that take away, each of which has a barrier of its own: the state before step n and u of
  // the step before are there; and for the others: they are copied.
  __device__ __forceinline__ uint32_t shown(int n) const { return base + kLeftBarriersAt + n % kLeavers * 8; }
  __device__ __forceinline__ uint32_t seen(int n) const { return shown(n) + kLeavers * 8; }
  __device__ __forceinline__ uint32_t states(int n) const { return base + kStatesAt + n % 2 * kStateRows; }

  // What the steps need, by a warp, which looks at the counts of many at a time.
  __device__ __forceinline__ void fetch() const {
    const int end = passes() * chunks;
    int ready = 0;
    for (int n = 0; n < end; ++n) {
      while (n >= ready) {
        const int step = min(n + lane, end - 1);
        const bool is = ptx::read_count(params.count(step, index)) >= params.prepared();
        const unsigned missing = __ballot_sync(~0U, !is);
        ready = n + (missing == 0 ? 32 : __ffs(static_cast<int>(missing)) - 1);
        __syncwarp();
        ptx::fence_engines();
      }
      if (lane != 0) continue;
      const char* image = params.image(n, index);
      tiles().fetch(2 * n, image + kW);
      parts().fetch(n, image + kParts + column / kColumns * kPart);
      tiles().fetch(2 * n + 1, image + kK);
    }
  }

  // What the answers need, to memory, by a thread of each of kLeavers. Once the next state is shown a chunk's
  // image is read, too.
  __device__ __forceinline__ void leave(int first) const {
    const int end = passes() * chunks;
    for (int n = first; n <= end; n += kLeavers) {
      ptx::barrier_wait(shown(n), n / kLeavers % 2);
      if (n > 0) leave_added(n - 1);
      if (n < end) leave_state(n);
      ptx::copies_out_commit();
      ptx::copies_out_read<0>();
      ptx::barrier_arrive(seen(n));
      ptx::copies_out_wait<0>();
      if (n > 0) ptx::add_to_count(params.count(n - 1, index));
      if (n < end) ptx::add_to_count(params.count(n, index));
    }
  }
  __device__ __forceinline__ char* left_of(int n) const {
    return params.left_of(n, index, column / kDim) + column % kDim * 128;
  }
  __device__ __forceinline__ void leave_state(int n) const {
    for (int part = 0; part < 4; ++part) {  // rounded and lost, of two halves of its rows
      ptx::copy_out(left_of(n) + part / 2 * kStateTile + part % 2 * (kStateTile / 2),
                    states(n) + part % 2 * (kStateRows / 2) + part / 2 * (kColumns * 128), kColumns * 128);
    }
  }
  __device__ __forceinline__ void leave_added(int n) const {
    for (int part = 0; part < 2; ++part) {
      ptx::copy_out(left_of(n) + kAdded + part * kAddedTile, base + kAddedAt + part * (kColumns * 128),
                    kColumns * 128);
    }
  }

  // A half of the state: 64 rows of the block's columns.
  template <class Body>
  __device__ __forceinline__ void for_pairs(int head, Body body) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      body(2 * i, (int64_t{head} * kDim + half * 64 + warp * 16 + i % 2 * 8 + lane / 4) * p.v_dim + column +
                      i / 2 * 8 + lane % 4 * 2);
    }
  }
  __device__ __forceinline__ void load_state(float (&s)[16], int head, int sequence) const {
    const float* from = state.at<float>(state.slot[sequence]);
    for_pairs(head, [&](int i, int64_t at) {
      const auto x = *reinterpret_cast<const float2*>(from + at);
      s[i] = x.x;
      s[i + 1] = x.y;
    });
  }
  __device__ __forceinline__ void write_state(const float (&s)[16], int head, int sequence) const {
    float* to = state.at<float>(state.slot[sequence]);
    for_pairs(head, [&](int i, int64_t at) { *reinterpret_cast<float2*>(to + at) = {s[i], s[i + 1]}; });
  }

  // 64 rows of 32 columns of products to rows of columns; `chunk`: where the 64 begin.
  template <int kCount>
  __device__ __forceinline__ void turn(const float (&x)[kCount], uint32_t to, int chunk) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const SplitRegisters parts(x, n * 8);
      const int row = n * 16 + lane / 16 * 8 + lane % 8;
      const uint32_t at = to + row_place<2 * kColumns>(row, chunk + warp * 2 + lane / 8 % 2);
      ptx::store_transposed(at, parts.high);
      ptx::store_transposed(at + kColumns * 128, parts.low);
    }
  }

  static __device__ __forceinline__ void load_registers(uint32_t (&x)[4], uint32_t from) {
    const uint4 four = ptx::load16(from);
    x[0] = four.x;
    x[1] = four.y;
    x[2] = four.z;
    x[3] = four.w;
  }
  // W of step n, as a left operand.
  __device__ __forceinline__ void load_w(Left<8>& w, int n) const {
    const uint32_t from = tiles().place(2 * n);
    tiles().wait(2 * n);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      load_registers(w.high[k], from + (2 * k * kGroup + thread) * 16);
      load_registers(w.low[k], from + ((2 * k + 1) * kGroup + thread) * 16);
    }
  }
  // What begins `bytes` behind it, as long as that is in shared memory.
  static __device__ __forceinline__ uint64_t behind(uint64_t descriptor, int bytes) {
    return (descriptor & ~uint64_t{0xffffffff}) |
           (static_cast<uint32_t>(descriptor) + static_cast<uint32_t>(bytes / 16));
  }
  // u = W S.
  __device__ __forceinline__ void multiply_w(float (&u)[16], const Left<8>& w, uint32_t states) const {
    const uint64_t first = wgmma::rows_descriptor(states, kAtom);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const int at = k / 4 * (2 * kColumns * 128) + k % 4 * 32;
      wgmma::multiply_rows(u, w.low[k], behind(first, at), k > 0);
      wgmma::multiply_rows(u, w.high[k], behind(first, at + kColumns * 128), true);
      wgmma::multiply_rows(u, w.high[k], behind(first, at), true);
    }
    wgmma::commit();
  }
  // A half of the state gets what the chunk's tokens add.
  __device__ __forceinline__ void add_tokens(float (&s)[16], uint32_t keys) const {
    const uint64_t left = wgmma::columns_descriptor(keys, kAtom);
    const uint64_t right = wgmma::rows_descriptor(base + kWeighedAt, kAtom);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const uint64_t high = behind(left, k * (2 * kAtom));
      wgmma::multiply_turned(s, behind(left, k * (2 * kAtom) + kTile), behind(right, k * 32));
      wgmma::multiply_turned(s, high, behind(right, k * 32 + kColumns * 128));
      wgmma::multiply_turned(s, high, behind(right, k * 32));
    }
    wgmma::commit();
  }

  // What the warpgroups wrote is there for their products.
  __device__ __forceinline__ void meet() const {
    ptx::shared_writes_to_engines();
    ptx::threads_sync(1, 2 * kGroup);
  }
  __device__ __forceinline__ void show(int n) const {
    meet();
    if (half > 0) return;
    if (thread == 0) ptx::barrier_arrive(shown(n));
    if (n > 0) tiles().give(2 * n - 1);
  }
  // The same in all lanes, as the compiler shall know.
  static __device__ __forceinline__ uint32_t same(uint32_t x) { return __shfl_sync(~0U, x, 0); }

  // u of step n, whose W is there, and what is left of it at the chunk's end, which all may use.
  __device__ __forceinline__ void find_added(float (&u)[16], const Left<8>& w, int n) const {
    const char* part = memory + kPartsAt + n % kPartPlaces * kPart;
    wgmma::pin(u);
    multiply_w(u, w, same(states(n)));
    parts().wait(n);
    const auto* left = reinterpret_cast<const float*>(part + kLeftAt) + warp * 16 + lane / 4;
    const float kept[2] = {left[0], left[8]};
    float4 whole[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      whole[i] = *reinterpret_cast<const float4*>(part + (i * kGroup + thread) * 16);
    }
    wgmma::wait<0>();
    wgmma::pin(u);
    float weighed[16];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      u[4 * i] = whole[i].x - u[4 * i];
      u[4 * i + 1] = whole[i].y - u[4 * i + 1];
      u[4 * i + 2] = whole[i].z - u[4 * i + 2];
      u[4 * i + 3] = whole[i].w - u[4 * i + 3];
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) weighed[i] = kept[i / 2 % 2] * u[i];
    turn(weighed, base + kWeighedAt, 0);
  }

  // Step n: s becomes the half of the state behind its chunk, and where there is a `next` one of the
  // sequence, the place of its state has it, too; w becomes that of the next step, if there is one. The first
  // warpgroup finds u.
  template <bool kFirst>
  __device__ __forceinline__ void step(float (&s)[16], Left<8>& w, int n, bool next) const {
    float u[16];
    if (kFirst) find_added(u, w, n);
    parts().wait(n);
    const float last = *reinterpret_cast<const float*>(memory + kPartsAt + n % kPartPlaces * kPart + kLastAt);
#pragma unroll
    for (float& x : s) x *= last;
    wgmma::pin(s);
    tiles().wait(2 * n + 1);
    const uint32_t keys = same(tiles().place(2 * n + 1)) + half * (kTile / 2);
    meet();
    add_tokens(s, keys);
    if (kFirst) {
      parts().give(n);
      ptx::barrier_wait(seen(n), n / kLeavers % 2);
      turn(u, base + kAddedAt, 0);
      if (n + 1 < passes() * chunks) load_w(w, n + 1);
    }
    wgmma::wait<0>();
    wgmma::pin(s);
    if (kFirst && n + 1 < passes() * chunks) tiles().give(2 * n + 2);
    if (!next) return;
    turn(s, states(n + 1), half * 8);
    show(n + 1);
  }

  template <bool kFirst>
  __device__ __forceinline__ void run() const {
    float s[16];
    Left<8> w;
    if (kFirst) {
      load_w(w, 0);
      tiles().give(0);
    }
    int n = 0;
    for (int pass = 0; pass < passes(); ++pass) {
      const int head = pass * params.pass_heads + index;
      for (int sequence = 0; sequence < state.sequences; ++sequence) {
        const int end = n + chunks_in(state, sequence);
        if (n == end) continue;
        load_state(s, head, sequence);
        turn(s, states(n), half * 8);
        show(n);
        for (; n < end; ++n) step<kFirst>(s, w, n, n + 1 < end);
        write_state(s, head, sequence);
      }
    }
    show(n);  // the last u
  }
};

__device__ inline void scan(const DeltaParams& params, const State& state, char* memory, int chunks) {
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  const int block = static_cast<int>(blockIdx.x);
  const Scan scan = {.params = params,
                     .state = state,
                     .p = params.p,
                     .memory = memory,
                     .base = ptx::shared(memory),
                     .index = block / params.parts,
                     .column = block % params.parts * kColumns,
                     .chunks = chunks,
                     .half = group,
                     .thread = thread,
                     .warp = thread / 32,
                     .lane = thread % 32};
  if (threadIdx.x == 0) {
    scan.tiles().init();
    scan.parts().init();
    for (int i = 0; i < 2 * kLeavers; ++i) ptx::barrier_init(scan.shown(0) + i * 8, 1);
    ptx::barrier_inits_done();
  }
  __syncthreads();
  if (group == 0) {
    ptx::take_registers<kWorking>();
    scan.run<true>();
  } else if (group == 1) {
    ptx::take_registers<kWorking>();
    scan.run<false>();
  } else {
    ptx::give_registers<kHelping>();
    if (scan.warp == 0) {
      scan.fetch();
    } else if (scan.lane == 0) {
      scan.leave(scan.warp - 1);
    }
  }
}

}  // namespace heed::cuda::chunks
