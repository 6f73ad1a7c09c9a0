// The warpgroups of the prefill kernel that compute.
#pragma once
#include "kernels/cuda/attention_tiles.cuh"

namespace heed::cuda::prefill {

template <class C>
struct Consumer {
  using Place = PlaceIn<C::kStages>;

  const PrefillParams& params;
  const AttentionParams& p;
  const Memory<C>& memory;
  const int group, thread, lane;
  int done = 0;  // tiles of all units so far

  RowMask mask[2];  // of the thread's two rows
  float largest[2], sum[2], scale[2];
  float out[C::kDim / 2];
  float scores[C::kKeys / 2];
  uint32_t weights[C::kKeys / 16][4];

  __device__ __forceinline__ Consumer(const PrefillParams& all, const Memory<C>& m)
      : params(all),
        p(all.attention),
        memory(m),
        group(__shfl_sync(~0U, static_cast<int>(threadIdx.x) / kGroupThreads - 1,
                          0)),  // so it is known to be uniform
        thread(static_cast<int>(threadIdx.x) % kGroupThreads),
        lane(thread % 32) {}

  __device__ int row(int i) const {
    return group * kGroupRows + thread / 32 * 16 + lane / 4 + 8 * i;
  }  // of the unit

  // With kRescales the sums of values shrink meanwhile: the compiler puts that between the products.
  template <bool kRescales>
  __device__ __forceinline__ void issue_scores(int stage) {
    wgmma::pin(scores);
    wgmma::fence();
#pragma unroll
    for (int d = 0; d < C::kDim; d += 16) {
      const int at = d / kAtom * kAtomBytes + d % kAtom * 2;
      C::Type::multiply(scores, wgmma::rows_descriptor(memory.q(group) + at, C::kStep),
                        wgmma::rows_descriptor(memory.k(stage) + at, C::kStep), d > 0);
      if constexpr (kRescales) rescale(d / 2, d / 2 + 8);
    }
    wgmma::commit();
  }

  __device__ __forceinline__ void issue_values(int stage) {
    wgmma::pin(out);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < C::kKeys; k += 16) {
      C::Type::multiply(out, weights[k / 16],
                        wgmma::columns_descriptor(memory.v(stage) + k / kAtomRows * C::kStep, C::kStep));
    }
    wgmma::commit();
  }

  // Values of the tile that the unit does not visit become zero.
  __device__ __forceinline__ void clear_values(const AttentionUnit& unit, int key, int stage) const {
    if ((unit.key_lo <= key && key + C::kKeys <= unit.key_hi) || key + C::kKeys <= unit.sink_hi) return;
    for (int c = thread; c < C::kKeys * C::kAtoms * (kRowBytes / 16); c += kGroupThreads) {
      const int k = key + c * 16 / C::kStep * kAtomRows + c * 16 % kAtomBytes / kRowBytes;
      if (!visits(unit, k, k + 1)) ptx::store16(memory.v(stage) + c * 16, {0, 0, 0, 0});
    }
    ptx::shared_writes_to_engines();
    ptx::threads_sync(kOwn + group, kGroupThreads);
  }

  __device__ __forceinline__ void hide(int key) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int from = key + lane % 4 * 2;
      const int lo = mask[i].lo - from;
      const int hi = mask[i].hi - from;
      const int sinks = mask[i].sinks - from;
#pragma unroll
      for (int j = 0; j < C::kKeys / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int column = j * 8 + e;
          if ((column < lo || column >= hi) && column >= sinks) scores[4 * j + 2 * i + e] = -INFINITY;
        }
      }
    }
  }

  // A row's largest score so far, which exponents are counted from, and by how much earlier sums shrink.
  __device__ __forceinline__ void find_largest(float unit_scale, float (&base)[2]) {
    constexpr int kChains = 4;  // of maxima, that do not wait for each other
    float all[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float most[kChains];
#pragma unroll
      for (int j = 0; j < C::kKeys / 8; ++j) {
        const float larger = fmaxf(scores[4 * j + 2 * i], scores[4 * j + 2 * i + 1]);
        most[j % kChains] = j < kChains ? larger : fmaxf(most[j % kChains], larger);
      }
      all[i] = fmaxf(fmaxf(most[0], most[1]), fmaxf(most[2], most[3]));
    }
#pragma unroll
    for (int lanes = 1; lanes < 4; lanes *= 2) {
      const float other[2] = {__shfl_xor_sync(~0U, all[0], lanes), __shfl_xor_sync(~0U, all[1], lanes)};
      all[0] = fmaxf(all[0], other[0]);
      all[1] = fmaxf(all[1], other[1]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      all[i] = fmaxf(largest[i], all[i] * unit_scale);
      base[i] = all[i] == -INFINITY ? 0 : all[i];
      scale[i] = ptx::exp2(largest[i] - base[i]);
      largest[i] = all[i];
    }
  }

  // Scores to weights.
  __device__ __forceinline__ void weigh(const AttentionUnit& unit, int key) {
    float unit_scale = p.scale_log2;
    if (p.cap_log2 != 0) {
#pragma unroll
      for (int j = 0; j < C::kKeys / 2; ++j) scores[j] = score_log2(p, scores[j]);
      unit_scale = 1;
    }
    if (key < unit.full_lo || key + C::kKeys > unit.full_hi) hide(key);
    float base[2];
    find_largest(unit_scale, base);
    constexpr int kChains = 4;  // of sums
    float added[2][kChains] = {};
#pragma unroll
    for (int j = 0; j < C::kKeys / 2; ++j) {
      const int i = j / 2 % 2;
      scores[j] = ptx::exp2(fmaf(scores[j], unit_scale, -base[i]));
      added[i][(j / 4 * 2 + j % 2) % kChains] += scores[j];
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
      sum[i] = sum[i] * scale[i] + ((added[i][0] + added[i][1]) + (added[i][2] + added[i][3]));
#pragma unroll
    for (int k = 0; k < C::kKeys / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        weights[k][i] = C::Type::pack(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
    }
  }

  __device__ __forceinline__ void rescale(int from, int to) {
#pragma unroll
    for (int j = from; j < to; ++j) out[j] *= scale[j / 2 % 2];
  }

  __device__ __forceinline__ void free(uint32_t barrier) const {
    if (lane == 0) ptx::barrier_arrive(barrier);
  }
  __device__ __forceinline__ void take_turn() const { ptx::threads_sync(kTurn + group, 2 * kGroupThreads); }
  __device__ __forceinline__ void give_turn() const {
    ptx::threads_arrive(kTurn + (group + 1) % C::kGroups, 2 * kGroupThreads);
  }

  // ---- Queries: 8 columns at a time, kEach of each thread ----

  static constexpr int kChunk = 8;
  static constexpr int kChunks = C::kDim / kChunk;  // of a row
  static constexpr int kEach = kGroupRows * kChunks / kGroupThreads;
  static constexpr int kPart = kEach < 8 ? kEach : 8;  // at once
  // Whether they fit into the registers of the scores, and into those that are left.
  static constexpr bool kFit = C::kDim == 128;

  // What lies beyond the unit's rows and columns is read elsewhere, and replaced when stored: no load may be
  // under a condition, or the next waits for it.
  template <int kCount>
  __device__ __forceinline__ void load_queries(const AttentionUnit& unit, int head, int part,
                                               float (&to)[kCount]) const {
    const float* queries = p.q + (unit.token + unit.row / p.group) * p.q_token + head * p.group * p.q_head;
    const int first = unit.row % p.group;
    const float tokens = 1 / static_cast<float>(p.group);  // of a row
#pragma unroll
    for (int i = 0; i < kPart; ++i) {
      const int c = (part * kPart + i) * kGroupThreads + thread;
      const int r = first + min(group * kGroupRows + c / kChunks, unit.rows - 1);
      const int column = min(c % kChunks * kChunk, p.head_dim - kChunk);
      const int token = static_cast<int>((static_cast<float>(r) + 0.5F) * tokens);  // r / group, in less time
      const auto* from = reinterpret_cast<const float4*>(queries + token * p.q_token +
                                                         (r - token * p.group) * p.q_head + column);
      const float4 a = __ldg(from);
      const float4 b = __ldg(from + 1);
      float* x = to + i * kChunk;
      x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
      x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    }
  }
  // Rounded, in the layout that the products read.
  template <int kCount>
  __device__ __forceinline__ void store_queries(int part, float by, const float (&from)[kCount]) const {
    const auto pair = [&](float low, float high) {
      return C::Type::pack(C::Type::query(low, by), C::Type::query(high, by));
    };
#pragma unroll
    for (int i = 0; i < kPart; ++i) {
      const int c = (part * kPart + i) * kGroupThreads + thread;
      const int r = c / kChunks;
      const int column = c % kChunks * kChunk;
      const uint32_t to = memory.q(group) + r / kAtomRows * C::kStep + column / kAtom * kAtomBytes +
                          r % kAtomRows * kRowBytes + ((column % kAtom / kChunk) ^ (r % 8)) * 16;
      const float* x = from + i * kChunk;
      const bool real = column < p.head_dim;
      ptx::store16(to, {real ? pair(x[0], x[1]) : 0, real ? pair(x[2], x[3]) : 0, real ? pair(x[4], x[5]) : 0,
                        real ? pair(x[6], x[7]) : 0});
    }
  }

  // ---- Units ----

  __device__ __forceinline__ const Packet& packet_of(int n) const {
    const PlaceIn<C::kPackets> place(n);
    ptx::barrier_wait(memory.unit_full(place.stage), place.parity);
    return memory.packet(place.stage);
  }
  __device__ __forceinline__ float scale_of(int kv_head) const {
    return C::Type::kWidens ? query_scale(p, kv_head) : 1;
  }
  __device__ __forceinline__ void queries_done() const {
    ptx::shared_writes_to_engines();
    ptx::threads_sync(kOwn + group, kGroupThreads);
  }

  __device__ __forceinline__ void run() {
    const Packet& first = packet_of(0);
    float by = scale_of(first.head);
#pragma unroll
    for (int part = 0; part < kEach / kPart; ++part) {
      load_queries(first.unit, first.head, part, out);
      store_queries(part, by, out);
    }
    queries_done();
    for (int n = 0;; ++n) {
      const Packet& packet = packet_of(n);
      const AttentionUnit unit = packet.unit;
      if (unit.sequence < 0) return;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        mask[i] = packet.rows[row(i)];
        largest[i] = -INFINITY;
        sum[i] = 0;
      }
#pragma unroll
      for (int j = 0; j < C::kDim / 2; ++j) out[j] = 0;
      const int stage = run_tiles(unit);
      // The next unit's queries are on their way while this one ends; where they do not fit beside its
      // results, while these are written.
      const Packet& next = packet_of(n + 1);
      by = scale_of(next.head);
      if constexpr (kFit) load_queries(next.unit, next.head, 0, scores);
      wgmma::wait<0>();
      wgmma::pin(out);
      free(memory.v_free(stage));
      write(packet.unit, packet.head);  // read again: registers are short
      __syncwarp();                     // every lane has read
      free(memory.unit_free(PlaceIn<C::kPackets>(n).stage));
      if constexpr (!kFit) load_queries(next.unit, next.head, 0, out);
      ptx::threads_sync(kOwn + group, kGroupThreads);  // the last scores of every warp are done
      if constexpr (kFit) {
        store_queries(0, by, scores);
      } else {
        store_queries(0, by, out);
#pragma unroll
        for (int part = 1; part < kEach / kPart; ++part) {
          load_queries(next.unit, next.head, part, out);
          store_queries(part, by, out);
        }
      }
      queries_done();
    }
  }

  // All but the last product's end; that one's stage.
  __device__ __forceinline__ int run_tiles(const AttentionUnit& unit) {
    const Tiles<C::kKeys> tiles(unit);
    Place place(done++);
    ptx::barrier_wait(memory.k_full(place.stage), place.parity);
    issue_scores<false>(place.stage);
    wgmma::wait<0>();
    wgmma::pin(scores);
    free(memory.k_free(place.stage));
    weigh(unit, tiles.key(0));
    for (int i = 1; i < tiles.count; ++i) {
      const Place next(done++);
      ptx::barrier_wait(memory.k_full(next.stage), next.parity);
      ptx::barrier_wait(memory.v_full(place.stage), place.parity);
      clear_values(unit, tiles.key(i - 1), place.stage);
      take_turn();
      issue_scores<true>(next.stage);
      issue_values(place.stage);
      give_turn();
      wgmma::wait<0>();
      wgmma::pin(scores);
      wgmma::pin(out);
      free(memory.k_free(next.stage));
      free(memory.v_free(place.stage));
      weigh(unit, tiles.key(i));
      place = next;
    }
    ptx::barrier_wait(memory.v_full(place.stage), place.parity);
    clear_values(unit, tiles.key(tiles.count - 1), place.stage);
    rescale(0, C::kDim / 2);
    issue_values(place.stage);
    return place.stage;
  }

  // ---- Results ----

  __device__ __forceinline__ void write(const AttentionUnit& unit, int kv_head) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum[i] += __shfl_xor_sync(~0U, sum[i], 1);
      sum[i] += __shfl_xor_sync(~0U, sum[i], 2);
      const int packed = unit.row + row(i);
      const int head = kv_head * p.group + packed % p.group;
      const bool real = row(i) < unit.rows;
      const float2 stats = real ? with_sink(p, head, {largest[i], sum[i]}) : float2{0, 0};
      float factor = stats.y == 0 ? 0 : ptx::exp2(largest[i] - stats.x) / stats.y;
      if constexpr (C::Type::kWidens) factor *= value_scale(p, kv_head);
      const int64_t at = (unit.token + packed / p.group) * p.out_token + head * p.out_head;
      if (params.wide) {
        write_wide(i, factor, at, real);
      } else if (real) {
#pragma unroll
        for (int j = 0; j < C::kDim / 8; ++j) {
          const int column = j * 8 + lane % 4 * 2;
          if (column < p.v_dim)
            store2(p, at + column, out[4 * j + 2 * i] * factor, out[4 * j + 2 * i + 1] * factor);
        }
      }
    }
  }

  // The four threads of a row have two columns each of every eight; four such exchange them, so that each has
  // eight columns to write.
  __device__ __forceinline__ void write_wide(int i, float factor, int64_t at, bool real) {
    auto* to = static_cast<__nv_bfloat16*>(p.out) + at + lane % 4 * 8;
    const bool odd = lane % 2 != 0;
    const bool high = lane % 4 >= 2;
#pragma unroll
    for (int j = 0; j < C::kDim / 8; j += 4) {
      uint32_t x[4];
#pragma unroll
      for (int b = 0; b < 4; ++b) {
        x[b] = ptx::pack(out[4 * (j + b) + 2 * i] * factor, out[4 * (j + b) + 2 * i + 1] * factor);
      }
      // A transposition of 4 by 4: of 2 by 2 within pairs of lanes, then of such blocks.
#pragma unroll
      for (int b = 0; b < 4; b += 2) {
        const uint32_t other = __shfl_xor_sync(~0U, odd ? x[b] : x[b + 1], 1);
        x[b] = odd ? other : x[b];
        x[b + 1] = odd ? x[b + 1] : other;
      }
#pragma unroll
      for (int b = 0; b < 2; ++b) {
        const uint32_t other = __shfl_xor_sync(~0U, high ? x[b] : x[b + 2], 2);
        x[b] = high ? other : x[b];
        x[b + 2] = high ? x[b + 2] : other;
      }
      if (real && j * 8 < p.v_dim) *reinterpret_cast<uint4*>(to + j * 8) = {x[0], x[1], x[2], x[3]};
    }
  }
};

}  // namespace heed::cuda::prefill
