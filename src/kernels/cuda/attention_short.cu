// Attention of short sequences over bfloat16, and the merge of parts. The scheme: attention_short.cuh.
#include "kernels/cuda/attention_short.cuh"

namespace heed::cuda {
namespace {

// Queries, keys and values lie in rows in shared memory.
struct Bf16 {
  using Type = __nv_bfloat16;
  static constexpr int row_bytes(int dim) { return dim * 2; }
  template <int kRowBytes>
  static __device__ int swizzle(int row) {
    return row % 8;
  }

  template <class C>
  static __device__ void store_query(uint32_t q, int row, int column, float4 x, float /*scale*/) {
    ptx::store8(q + place_of<Bf16, C::kK * 2>(row, column * 2), {ptx::pack(x.x, x.y), ptx::pack(x.z, x.w)});
  }

  template <class C>
  static __device__ void score(uint32_t q, uint32_t k, int lane, float (&s)[2][4]) {
    q += place_of<Bf16, C::kK * 2>(lane % 16, lane / 16 * 16);
    k += place_of<Bf16, C::kKRow>(lane % 8 + lane / 16 * 8, lane / 8 % 2 * 16);
#pragma unroll
    for (int d = 0; d < C::kK; d += 16) {
      uint32_t a[4];
      uint32_t b[4];
      ptx::load_matrices(a, further(q, d * 2));
      ptx::load_matrices(b, further(k, d * 2));
      ptx::multiply(s[0], a, b[0], b[1]);
      ptx::multiply(s[1], a, b[2], b[3]);
    }
  }

  template <class C>
  static __device__ void add_values(uint32_t v, int lane, int part, const float (&s)[2][4],
                                    float (&out)[C::kColumns / 8][4]) {
    const uint32_t a[4] = {ptx::pack(s[0][0], s[0][1]), ptx::pack(s[0][2], s[0][3]),
                           ptx::pack(s[1][0], s[1][1]), ptx::pack(s[1][2], s[1][3])};
    v += place_of<Bf16, C::kVRow>(lane % 16, lane / 16 * 16) + part * (C::kColumns * 2);
    static_assert(C::kColumns % 64 == 0);
#pragma unroll
    for (int c = 0; c < C::kColumns; c += 16) {
      uint32_t b[4];
      ptx::load_transposed(b, further(v, c * 2));
      ptx::multiply(out[c / 8], a, b[0], b[1]);
      ptx::multiply(out[c / 8 + 1], a, b[2], b[3]);
    }
  }

  // A warp's columns of row lane / 4 (i: 0), or of that 8 further.
  template <class C>
  static __device__ void put_row(float* to, int lane, int i, const float (&out)[C::kColumns / 8][4]) {
    to += lane % 4 * 2;
#pragma unroll
    for (int c = 0; c < C::kColumns; c += 8)
      *reinterpret_cast<float2*>(to + c) = {out[c / 8][2 * i], out[c / 8][2 * i + 1]};
  }
};

// A warp merges a row's parts: each lane some columns of 4, over the parts in their order.
__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ AttentionParams p) {
  constexpr int kAtOnce = 16;  // loads in flight
  const auto* merges = in_plan<AttentionMerge>(p, p.plan->merge_offset);
  const int work = p.plan->merges * kShortTile * p.kv_heads;
  ptx::let_next_start();
  if (blockIdx.x > 0 && blockIdx.x * (kThreads / 32) >= work) return;
  // Plans are there before the step's first kernel.
  ptx::wait_for_previous();
  for (int i = blockIdx.x * (kThreads / 32) + threadIdx.x / 32; i < work; i += gridDim.x * (kThreads / 32)) {
    const AttentionMerge& merge = merges[i / (kShortTile * p.kv_heads)];
    const int row = i / p.kv_heads % kShortTile;
    const int head = i % p.kv_heads;
    if (row >= merge.rows) continue;
    const int64_t first = (int64_t{merge.slot} * p.kv_heads + head) * kShortTile + row;
    const int64_t step = int64_t{p.kv_heads} * kShortTile;  // from part to part
    for (int column = threadIdx.x % 32 * 4; column < p.v_dim; column += 32 * 4) {
      float2 all = {kNone, 0};
      float4 value = {0, 0, 0, 0};
      for (int part = 0; part < merge.slots; part += kAtOnce) {
        float2 stats[kAtOnce];
        float4 sums[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          const int64_t place = first + min(part + j, merge.slots - 1) * step;
          stats[j] = p.stats[place];
          sums[j] = *reinterpret_cast<const float4*>(p.partial + place * p.v_dim + column);
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          if (part + j >= merge.slots) break;
          const Sum sum(all, stats[j]);
          value = sum.of(value, sums[j]);
          all = sum.stats;
        }
      }
      store_row(p, merge.token, merge.row + row, head, column, value, all);
    }
  }
}

}  // namespace

void run_merge(const AttentionLaunch& how, const AttentionParams& params) {
  launch(how.stream, {.blocks = static_cast<unsigned>(4 * how.sms), .threads = kThreads}, merge_kernel,
         params);
}

namespace {

template <class F>
auto with_config(int k, int v, bool aliased, const F& run) {
  if (k <= 64 && v <= 64) return run(Config<Bf16, 64, 64, 1, 3, 4, 4>{});
  if (k <= 128 && v <= 128) return run(Config<Bf16, 128, 128, 1, 3, 4, 3>{});
  if (k <= 256 && v <= 256) return run(Config<Bf16, 256, 256, 2, 3, 4, 2>{});
  CHECK(k <= 576 && v <= 512, k, v);
  if (aliased) return run(Config<Bf16, 576, 512, 4, 3, 16, 2, true>{});
  return run(Config<Bf16, 576, 512, 4, 3, 16, 1>{});
}

}  // namespace

void run_short(const AttentionLaunch& launch, const AttentionParams& params) {
  with_config(params.head_dim, params.v_dim, is_aliased(params),
              [&]<class C>(C) { launch_for<C>(launch, params); });
}

int short_blocks(int head_dim, int v_dim) {
  return with_config(head_dim, v_dim, head_dim > v_dim, []<class C>(C) { return blocks_of<C>(); });
}

}  // namespace heed::cuda
