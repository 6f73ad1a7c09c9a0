// linear_attention over chunks of 64 tokens on tensor cores. Definition: kernels/ref/ref_recurrent.cpp.
//
// With S the state before a chunk and r = exp(-slope):
//   out_i = scale (r^(i+1) q_i S + sum over j <= i of r^(i-j) (q_i . k_j) v_j)
//   S'    = r^n S + sum_j r^(n-1-j) k_j (x) v_j
// A sequence is cut into segments of as many chunks. One launch sums what each segment adds to a state, one
// finds the state before each, and one goes along the segments, each a block for 128 columns of a head: a
// warpgroup splits keys and values into two bfloat16, one has the state in its registers, one answers.
#include <algorithm>

#include "kernels/cuda/recurrent_tiles.cuh"

// For GPUs before Hopper the kernels are compiled empty.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

using namespace chunks;

constexpr int kLeastOfSegment = 2;  // chunks
constexpr int kThreads = 3 * kGroup;
constexpr int kStages = 2;
constexpr int kStage = 4 * kTile;  // keys and values
constexpr int kStateAt = kStages * kStage;
constexpr int kKeptAt = kStateAt + 2 * kStateTile;  // r^0, r^1, ... r^64
constexpr int kBarriersAt = kKeptAt + (kTokens + 4) * 4;
constexpr int kBarriers = 2 * kStages + 2;
constexpr int kShared = kBarriersAt + kBarriers * 8 + kAtom;  // kAtom to align

struct SegmentParams {
  Recurrence p;
  float* states;     // [segments of the launch, heads, column blocks, kDim * kDim]
  int most;          // segments of a sequence
  int first, count;  // segments of the launch, of those of all sequences
};

// Of a segment; those of few chunks would be more work for the other two launches than they save.
__device__ __forceinline__ int chunks_each(int chunks, int most) {
  return max((chunks + most - 1) / most, kLeastOfSegment);
}
__device__ __forceinline__ int segments_of(const State& state, int sequence, int most) {
  const int chunks = chunks_in(state, sequence);
  return chunks == 0 ? 0 : (chunks + chunks_each(chunks, most) - 1) / chunks_each(chunks, most);
}

// A segment: tokens [begin, end) of the batch. `sequence` is -1 where there is none.
struct Segment {
  int sequence = -1, begin = 0, end = 0;
  bool last = false;  // of its sequence
};
__device__ Segment find_segment(const SegmentParams& params, const State& state, int index) {
  const int2 found = find_unit(state, index, [&](int s) { return segments_of(state, s, params.most); });
  Segment segment = {.sequence = found.x};
  if (found.x < 0) return segment;
  const int start = state.seq_start[found.x];
  const int end = state.seq_start[found.x + 1];
  const int each = chunks_each(chunks_in(state, found.x), params.most) * kTokens;
  segment.begin = start + found.y * each;
  segment.end = min(segment.begin + each, end);
  segment.last = segment.end == end;
  return segment;
}

// Where pair `pair` of a thread's 64 of a state lies in it: a state is kept as the warpgroup has it.
struct StatePlace {
  int row, column;
};
__device__ __forceinline__ StatePlace state_place(int pair, int thread) {
  return {pair / 32 * 64 + thread / 32 * 16 + pair % 2 * 8 + thread % 32 / 4,
          pair % 32 / 2 * 8 + thread % 4 * 2};
}

template <bool kSums>
struct Segments {
  const SegmentParams& params;
  const State& state;
  const Recurrence& p;
  const Segment segment;
  const uint32_t base;
  const float* kept;
  const int head, column, columns, thread;  // of the warpgroup

  __device__ __forceinline__ uint32_t full(int stage) const { return base + kBarriersAt + stage * 8; }
  __device__ __forceinline__ uint32_t free(int stage) const { return full(kStages + stage); }
  __device__ __forceinline__ uint32_t shown() const { return full(2 * kStages); }  // the state
  __device__ __forceinline__ uint32_t seen() const { return full(2 * kStages + 1); }
  __device__ __forceinline__ int chunks() const {
    return (segment.end - segment.begin + kTokens - 1) / kTokens;
  }
  __device__ __forceinline__ int token(int chunk) const { return segment.begin + chunk * kTokens; }
  __device__ __forceinline__ int rows(int chunk) const { return min(kTokens, segment.end - token(chunk)); }
  __device__ __forceinline__ float* own_state() const {
    const int64_t index = (int64_t{blockIdx.x} * p.heads + head) * gridDim.z + blockIdx.z;
    return params.states + index * (kDim * kDim);
  }
  __device__ __forceinline__ void arrive(uint32_t barrier) const {
    if (thread % 32 == 0) ptx::barrier_arrive(barrier);
  }

  // ---- The first warpgroup: keys and values into shared memory ----

  __device__ __forceinline__ void produce() const {
    for (int c = 0; c < chunks(); ++c) {
      const int stage = c % kStages;
      const uint32_t at = base + stage * kStage;
      RowLoader loader;
      loader.load(p.k + token(c) * p.k_token + head * p.k_head, static_cast<int>(p.k_token), rows(c), kDim,
                  thread);
      if (c >= kStages) ptx::barrier_wait(free(stage), c / kStages % 2 ^ 1);
      loader.store<true>(at, rows(c), kDim, thread);
      loader.load(p.v + token(c) * p.v_token + head * p.v_head + column, static_cast<int>(p.v_token), rows(c),
                  columns, thread);
      loader.store<false>(at + 2 * kTile, rows(c), columns, thread);
      ptx::shared_writes_to_engines();
      ptx::barrier_arrive(full(stage));
    }
  }

  // ---- The second: the state ----

  // Keys of tokens [first, first + 32) of a chunk as the left operand of S' for rows [64 * half, 64 * half +
  // 64) of the state, each times what is left of it behind token `end`.
  __device__ __forceinline__ void weigh_keys(Left<2>& a, uint32_t keys, int half, int first, int end) const {
    const int lane = thread % 32;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int chunk = half * 8 + thread / 32 * 2 + lane / 8 % 2;
      const uint32_t from = keys + row_place<kTokens>(first + k * 16 + lane / 16 * 8 + lane % 8, chunk);
      ptx::load_transposed(a.high[k], from);
      ptx::load_transposed(a.low[k], from + kTile);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = end - (first + k * 16 + i / 2 * 8 + lane % 4 * 2);
        const float x = at >= 0 ? kept[at] : 0;
        const float y = at >= 1 ? kept[at - 1] : 0;
        const uint32_t high = a.high[k][i];
        const uint32_t low = a.low[k][i];
        a.set(k, i, x * (__uint_as_float(high << 16) + __uint_as_float(low << 16)),
              y * (__uint_as_float(high & 0xffff0000U) + __uint_as_float(low & 0xffff0000U)));
      }
    }
  }
  // s: behind token `end` of a chunk instead of before the chunk.
  __device__ __forceinline__ void add_tokens(float (&s)[2][64], uint32_t stage, int end) const {
    Left<2> a[2];
    const float factor = kept[end + 1];
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const int half = part / 2;
      const int first = part % 2 * 32;
      weigh_keys(a[part % 2], stage, half, first, end);
      if (first == 0) {
#pragma unroll
        for (int i = 0; i < 64; ++i) s[half][i] *= factor;
      }
      wgmma::fence();
      multiply<false>(s[half], a[part % 2], stage + 2 * kTile + first / 8 * (2 * kAtom), kTile);
      wgmma::commit();
      if (part > 0) wgmma::wait<1>();
    }
    wgmma::wait<0>();
    wgmma::pin(s[0]);
    wgmma::pin(s[1]);
  }
  __device__ __forceinline__ void keep(float (&s)[2][64]) const {
    auto* to = reinterpret_cast<float2*>(own_state());
#pragma unroll
    for (int i = 0; i < 64; ++i) to[i * kGroup + thread] = {s[i / 32][i % 32 * 2], s[i / 32][i % 32 * 2 + 1]};
  }
  __device__ __forceinline__ void bring(float (&s)[2][64]) const {
    const auto* from = reinterpret_cast<const float2*>(own_state());
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      const float2 x = from[i * kGroup + thread];
      s[i / 32][i % 32 * 2] = x.x;
      s[i / 32][i % 32 * 2 + 1] = x.y;
    }
  }
  __device__ __forceinline__ void write(const float (&s)[2][64], int slot) const {
    float* to = state.at<float>(slot) + int64_t{head} * kDim * p.v_dim + column;
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      const StatePlace at = state_place(i, thread);
      if (at.column >= columns) continue;
      *reinterpret_cast<float2*>(to + int64_t{at.row} * p.v_dim + at.column) = {s[i / 32][i % 32 * 2],
                                                                                s[i / 32][i % 32 * 2 + 1]};
    }
  }
  // For the third warpgroup.
  __device__ __forceinline__ void show(const float (&s)[2][64]) const {
    const int lane = thread % 32;
#pragma unroll
    for (int i = 0; i < 16; ++i) {  // 16 rows of 16 columns
      const int half = i / 8;
      const int first = i % 8 * 8;
      const SplitRegisters parts(s[half], first);
      const int row = half * 64 + thread / 32 * 16 + lane % 16;
      const uint32_t to = base + kStateAt + column_place(row, i % 8 * 2 + lane / 16);
      ptx::store_matrices(to, parts.high);
      ptx::store_matrices(to + kStateTile, parts.low);
    }
    ptx::shared_writes_to_engines();
    ptx::barrier_arrive(shown());
  }
  __device__ __forceinline__ void carry() const {
    float s[2][64] = {};
    if (!kSums) {
      bring(s);
      show(s);
    }
    int save = kSums ? 0 : state.first_save(segment.begin);
    for (int c = 0; c < chunks(); ++c) {
      const int stage = c % kStages;
      ptx::barrier_wait(full(stage), c / kStages % 2);
      if (!kSums) {
        while (save < state.saves && state.save[save].token < token(c) + rows(c)) {
          keep(s);
          add_tokens(s, base + stage * kStage, state.save[save].token - token(c));
          write(s, state.save[save].slot);
          bring(s);
          ++save;
        }
      }
      add_tokens(s, base + stage * kStage, rows(c) - 1);
      arrive(free(stage));
      if (!kSums && c + 1 < chunks()) {
        ptx::barrier_wait(seen(), c % 2);
        show(s);
      }
    }
    if (kSums) {
      keep(s);
    } else if (segment.last) {
      write(s, state.slot[segment.sequence]);
    }
  }

  // ---- The third: answers ----

  __device__ __forceinline__ void answer() const {
    const int lane = thread % 32;
    const int row = thread / 32 * 16 + lane / 4;
    Queries queries;
    const float* from = p.q + head * p.q_head;
    queries.load(from + token(0) * p.q_token, p.q_token, rows(0), thread);
    for (int c = 0; c < chunks(); ++c) {
      const uint32_t stage = base + c % kStages * kStage;
      Left<8> q;
      queries.split_to(q);
      float scores[32] = {};
      float out[64] = {};
      ptx::barrier_wait(full(c % kStages), c / kStages % 2);
      wgmma::fence();
      multiply<true>(scores, q, stage, kTile);
      wgmma::commit();
      ptx::barrier_wait(shown(), c % 2);
      multiply<false>(out, q, base + kStateAt, kStateTile);
      wgmma::commit();
      wgmma::wait<0>();
      wgmma::pin(scores);
      wgmma::pin(out);
      arrive(seen());
      Left<4> weights;
#pragma unroll
      for (int i = 0; i < 16; ++i) {  // pairs
        const int age = row + i % 2 * 8 - (i / 2 * 8 + lane % 4 * 2);
        weights.set(i / 4, i % 4, age >= 0 ? scores[2 * i] * kept[age] : 0,
                    age >= 1 ? scores[2 * i + 1] * kept[age - 1] : 0);
      }
#pragma unroll
      for (int i = 0; i < 64; ++i) out[i] *= kept[row + i / 2 % 2 * 8 + 1];
      wgmma::fence();
      multiply<false>(out, weights, stage + 2 * kTile, kTile);
      wgmma::commit();
      const int next = min(c + 1, chunks() - 1);
      queries.load(from + token(next) * p.q_token, p.q_token, rows(next), thread);
      wgmma::wait<0>();
      wgmma::pin(out);
      arrive(free(c % kStages));
      write_answers(p, out, token(c), rows(c), head, column, columns, thread);
    }
  }
};

template <bool kSums>
__global__ void __launch_bounds__(kThreads, 1)
    segments_kernel(const __grid_constant__ SegmentParams params, const __grid_constant__ State state) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ char unaligned[];
  const Segment segment = find_segment(params, state, params.first + static_cast<int>(blockIdx.x));
  if (segment.sequence < 0) return;
  if (kSums && segment.last) return;  // nobody needs its sum
  char* memory = unaligned + (kAtom - ptx::shared(unaligned) % kAtom) % kAtom;
  const int column = static_cast<int>(blockIdx.z) * kDim;
  const Segments<kSums> own = {.params = params,
                               .state = state,
                               .p = params.p,
                               .segment = segment,
                               .base = ptx::shared(memory),
                               .kept = reinterpret_cast<const float*>(memory + kKeptAt),
                               .head = static_cast<int>(blockIdx.y),
                               .column = column,
                               .columns = min(kDim, params.p.v_dim - column),
                               .thread = static_cast<int>(threadIdx.x) % kGroup};
  const int i = static_cast<int>(threadIdx.x);
  if (i <= kTokens) {
    reinterpret_cast<float*>(memory + kKeptAt)[i] = expf(-params.p.decay[blockIdx.y] * static_cast<float>(i));
  }
  if (i == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      ptx::barrier_init(own.full(stage), kGroup);
      ptx::barrier_init(own.free(stage), kSums ? 4 : 8);
    }
    ptx::barrier_init(own.shown(), kGroup);
    ptx::barrier_init(own.seen(), 4);
    ptx::barrier_inits_done();
  }
  __syncthreads();
  const int role = i / kGroup;
  if (role == 0) {
    ptx::give_registers<96>();
    own.produce();
  } else if (role == 1) {
    ptx::take_registers<200>();
    own.carry();
  } else {
    ptx::take_registers<208>();
    if (!kSums) own.answer();
  }
#endif
}

// The state before each segment of the launch, from what each adds: a thread for a pair of values.
__global__ void __launch_bounds__(256) starts_kernel(const __grid_constant__ SegmentParams params,
                                                     const __grid_constant__ State state, int column_blocks) {
  const Recurrence& p = params.p;
  const Share share = find_share(state, params.first, params.count, static_cast<int>(blockIdx.z),
                                 [&](int s) { return segments_of(state, s, params.most); });
  if (share.sequence < 0) return;
  constexpr int kAhead = 8;  // loads that do not wait for one another
  const int head = static_cast<int>(blockIdx.y) / column_blocks;
  const int pair = static_cast<int>(blockIdx.x) * 256 + static_cast<int>(threadIdx.x);
  const StatePlace at = state_place(pair / kGroup, pair % kGroup);
  const int column = static_cast<int>(blockIdx.y) % column_blocks * kDim + at.column;
  auto* own_state = reinterpret_cast<float2*>(state.at<float>(state.slot[share.sequence]) +
                                              (int64_t{head} * kDim + at.row) * p.v_dim + column);
  float2 x = {0, 0};
  if (column < p.v_dim) x = *own_state;
  const int tokens = chunks_each(chunks_in(state, share.sequence), params.most) * kTokens;
  const float kept = expf(-p.decay[head] * static_cast<float>(tokens));
  auto* to = reinterpret_cast<float2*>(params.states) +
             (int64_t{share.begin} * gridDim.y + blockIdx.y) * (kDim * kDim / 2) + pair;
  const int64_t step = int64_t{gridDim.y} * (kDim * kDim / 2);
  for (int i = share.begin; i < share.end; i += kAhead) {
    float2 added[kAhead];
#pragma unroll
    for (int e = 0; e < kAhead; ++e) {
      if (i + e < share.end) added[e] = to[e * step];
    }
#pragma unroll
    for (int e = 0; e < kAhead; ++e, to += step) {
      if (i + e >= share.end) break;
      *to = x;
      x = {kept * x.x + added[e].x, kept * x.y + added[e].y};
    }
  }
  if (!share.last && column < p.v_dim) *own_state = x;  // for the next launch
}

}  // namespace

void run_linear_chunks(const Stream& stream, const Recurrence& p, const State& state, int64_t tokens) {
  static const bool ready = [] {
    allow_shared(segments_kernel<false>, kShared);
    allow_shared(segments_kernel<true>, kShared);
    return true;
  }();
  CHECK(ready);
  const auto columns = static_cast<unsigned>((p.v_dim + kDim - 1) / kDim);
  const auto heads = static_cast<unsigned>(p.heads);
  const int most = std::max(1, kBlocksOfSequence / p.heads);
  const int64_t sequences = std::min<int64_t>(state.sequences, tokens / kLeastInChunks);
  // As many segments as there can be; a launch has as many as there is scratch memory for.
  const int64_t all = std::min(sequences * most, tokens / kTokens + sequences);
  const int64_t bytes = int64_t{kDim} * kDim * 4 * heads * columns;
  const int64_t each = std::clamp<int64_t>(kChunkScratch / bytes, 1, all);
  auto* states = static_cast<float*>(device_of(stream).scratch(each * bytes));
  for (int64_t first = 0; first < all; first += each) {
    const SegmentParams params = {.p = p,
                                  .states = states,
                                  .most = most,
                                  .first = static_cast<int>(first),
                                  .count = static_cast<int>(std::min(each, all - first))};
    const dim3 grid(static_cast<unsigned>(params.count), heads, columns);
    if (all > 1) {
      segments_kernel<true><<<grid, kThreads, kShared, handle_of(stream)>>>(params, state);
      CUDA_LAUNCHED("segments_kernel");
    }
    const dim3 pairs(kDim * kDim / 2 / 256, heads * columns,
                     static_cast<unsigned>(std::min<int64_t>(sequences, params.count)));
    starts_kernel<<<pairs, 256, 0, handle_of(stream)>>>(params, state, static_cast<int>(columns));
    CUDA_LAUNCHED("starts_kernel");
    segments_kernel<false><<<grid, kThreads, kShared, handle_of(stream)>>>(params, state);
    CUDA_LAUNCHED("segments_kernel");
  }
}

}  // namespace heed::cuda
