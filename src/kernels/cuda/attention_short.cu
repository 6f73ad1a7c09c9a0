// Attention of short sequences over bfloat16. The scheme: attention_short.cuh.
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
  static __device__ uint32_t queries_of(uint32_t q, int lane) {
    return q + place_of<Bf16, C::kK * 2>(lane % 8, lane / 8 % 2 * 16);
  }
  template <class C>
  static __device__ void load_query(uint32_t from, int step, uint32_t (&b)[C::kRowGroups][2]) {
#pragma unroll
    for (int n = 0; n < C::kRowGroups; ++n)
      ptx::load_matrices(b[n], further(from, step * 32) + n * 8 * C::kK * 2);
  }

  // Fragments are loaded kAtOnce steps ahead of their products, which are two sums.
  template <class C>
  static __device__ void score(const Queries<C>& queries, uint32_t k, int lane,
                               float (&s)[C::kRowGroups][4]) {
    constexpr int kSteps = C::kK / 16, kAtOnce = C::kRowGroups == 1 ? 8 : 4;
    k += place_of<Bf16, C::kKRow>(lane % 16, lane / 16 * 16);
    float odd[C::kRowGroups][4] = {};
#pragma unroll
    for (int first = 0; first < kSteps; first += kAtOnce) {
      uint32_t a[kAtOnce][4];
#pragma unroll
      for (int i = 0; i < kAtOnce && first + i < kSteps; ++i)
        ptx::load_matrices(a[i], further(k, (first + i) * 32));
#pragma unroll
      for (int i = 0; i < kAtOnce && first + i < kSteps; ++i) {
        uint32_t b[C::kRowGroups][2];
        queries.of(first + i, b);
#pragma unroll
        for (int n = 0; n < C::kRowGroups; ++n)
          ptx::multiply(i % 2 == 0 ? s[n] : odd[n], a[i], b[n][0], b[n][1]);
      }
    }
#pragma unroll
    for (int n = 0; n < C::kRowGroups; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) s[n][j] += odd[n][j];
    }
  }

  // Two numbers as products want them, which they become.
  static __device__ uint32_t round(float& low, float& high) {
    const uint32_t pair = ptx::pack(low, high);
    low = __uint_as_float(pair << 16);
    high = __uint_as_float(pair & 0xffff0000);
    return pair;
  }

  // A slice's values for a warp's columns: loaded before their weights are known where registers suffice.
  template <class C>
  struct Values {
    static constexpr bool kAhead = C::kRowGroups == 1 && C::kTiles <= 8;
    static_assert(C::kColumns % 64 == 0);
    uint32_t from;
    uint32_t held[kAhead ? C::kTiles : 1][4];

    __device__ Values(uint32_t v, int lane, int part)
        : from(v + place_of<Bf16, C::kVRow>(lane % 8 + lane / 16 * 8, lane / 8 % 2 * 16) +
               part * (C::kColumns * 2)) {
      if constexpr (kAhead) {
#pragma unroll
        for (int m = 0; m < C::kTiles; ++m) ptx::load_transposed(held[m], further(from, m * 32));
      }
    }
    __device__ void add(const uint32_t (&weights)[C::kRowGroups][2],
                        float (&out)[C::kRowGroups][C::kTiles][4]) {
#pragma unroll
      for (int m = 0; m < C::kTiles; ++m) {
        uint32_t(&a)[4] = held[kAhead ? m : 0];
        if constexpr (!kAhead) ptx::load_transposed(a, further(from, m * 32));
#pragma unroll
        for (int n = 0; n < C::kRowGroups; ++n) ptx::multiply(out[n][m], a, weights[n][0], weights[n][1]);
      }
    }
  };

  // A warp's columns of the row that a thread has as its e-th.
  template <class C>
  static __device__ void put_row(float* to, int lane, int e, const float (&out)[C::kTiles][4]) {
    to += lane / 4;
#pragma unroll
    for (int m = 0; m < C::kTiles; ++m) {
      to[m * 16] = out[m][e];
      to[m * 16 + 8] = out[m][2 + e];
    }
  }

  template <int kRowGroups, class F>
  static auto with_rows(int k, int v, bool aliased, const F& run) {
    if (k <= 64 && v <= 64) return run(Config<Bf16, kRowGroups, 64, 64, 1, 2, 4, 4>{});
    if (k <= 128 && v <= 128) return run(Config<Bf16, kRowGroups, 128, 128, 1, 2, 4, 3>{});
    if (k <= 256 && v <= 256) return run(Config<Bf16, kRowGroups, 256, 256, 2, 2, 4, 2>{});
    CHECK(k <= 576 && v <= 512, k, v);
    if (aliased) return run(Config<Bf16, kRowGroups, 576, 512, 4, 3, 16, 2, true>{});
    return run(Config<Bf16, kRowGroups, 576, 512, 4, 3, 16, 1>{});
  }
};

}  // namespace

void run_short(const AttentionLaunch& launch, const AttentionParams& params) {
  run_short_of<Bf16>(launch, params);
}
int short_blocks(int head_dim, int v_dim) { return short_blocks_of<Bf16>(head_dim, v_dim); }

}  // namespace heed::cuda
