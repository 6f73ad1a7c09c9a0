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

  // Row lane / 4 (i: 0), or that 8 further, of the sums so far.
  template <class C>
  static __device__ void add_row(float* to, int lane, int i, const float (&out)[C::kColumns / 8][4],
                                 float weight, bool add) {
    to += lane % 4 * 2;
#pragma unroll
    for (int c = 0; c < C::kColumns; c += 8) {
      auto* pair = reinterpret_cast<float2*>(to + c);
      const float2 before = add ? *pair : float2{0, 0};
      *pair = {before.x + out[c / 8][2 * i] * weight, before.y + out[c / 8][2 * i + 1] * weight};
    }
  }
};

// A warp merges a row's parts: each lane some columns of 4, over the parts in their order.
__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ AttentionParams p) {
  constexpr int kAtOnce = 16;  // loads in flight
  const auto* merges =
      reinterpret_cast<const AttentionMerge*>(reinterpret_cast<const char*>(p.plan) + p.plan->merge_offset);
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
      float2 whole = {-INFINITY, 0};
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
        float most = whole.x;
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) most = fmaxf(most, stats[j].x);
        const float keep = weight_of(whole, most);
        whole = {most, whole.y * keep};
        value = {value.x * keep, value.y * keep, value.z * keep, value.w * keep};
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          const float weight = part + j < merge.slots ? weight_of(stats[j], most) : 0;
          whole.y += stats[j].y * weight;
          add_scaled(value, sums[j], weight);
        }
      }
      store_row(p, merge.token, merge.row + row, head, column, value, whole);
    }
  }
}

}  // namespace

void run_merge(const AttentionLaunch& how, const AttentionParams& params) {
  launch(how.stream, {.blocks = static_cast<unsigned>(4 * how.sms), .threads = kThreads}, merge_kernel,
         params);
}

void run_short(const AttentionLaunch& launch, const AttentionParams& params) {
  const int k = params.head_dim;
  const int v = params.v_dim;
  if (k <= 64 && v <= 64) return launch_for<Config<Bf16, 64, 64, 1, 3>>(launch, params);
  if (k <= 128 && v <= 128) return launch_for<Config<Bf16, 128, 128, 1, 3>>(launch, params);
  if (k <= 256 && v <= 256) return launch_for<Config<Bf16, 256, 256, 2, 3>>(launch, params);
  CHECK(k <= 576 && v <= 512, k, v);
  if (is_aliased(params)) return launch_for<Config<Bf16, 576, 512, 4, 3, true>>(launch, params);
  launch_for<Config<Bf16, 576, 512, 4, 3>>(launch, params);
}

}  // namespace heed::cuda
