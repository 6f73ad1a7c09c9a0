// Attention of short sequences over a cache of FP8 E4M3. The scheme: attention_short.cuh; definition:
// kernels/ref/ref.cpp, attention. Bound by memory.
//
// Keys and values lie in shared memory as in the cache and become float16, which holds all of E4M3, in
// registers on the way to the tensor cores; queries, times all that scores are multiplied with, and weights
// are rounded to float16 as well. A product's sum does not ask for an order of its terms, nor its result for
// one of its columns, so a thread takes what lies together. Of a slice, with t = lane % 4 and g = lane / 4:
//
//   keys      16 bytes of key g, and of key g + 8: from 64 c + 16 t on, four steps of 16 terms
//   queries   as such a step wants them, 8 bytes for each lane and 8 rows
//   values    of keys 2t, 2t + 1, 2t + 8, 2t + 9 a warp's columns / 8 bytes each, from column g * that on
//
// so rows g and g + 8 of the m-th tile of results are columns g * columns / 8 + 2m and the next.
#include "kernels/cuda/attention_short.cuh"

namespace heed::cuda {
namespace {

struct E4m3 {
  using Type = e4m3;
  static constexpr int row_bytes(int dim) { return dim <= 64 ? 64 : (dim + 127) / 128 * 128; }
  // Rows 2i and 2i + 1 lie in different halves of the banks, for keys; of rows 0, 2, 4, 6 and of 1, 3, 5, 7
  // each in another quarter, for values.
  template <int kRowBytes>
  static __device__ int swizzle(int row) {
    const int quarter = row / 2 % 4 * 2;
    return kRowBytes == 64 ? quarter : quarter ^ row % 2 * 4;
  }

  template <class C>
  static __device__ void store_query(uint32_t q, int row, int column, float4 x, float scale) {
    const int step = column / 64 * 4 + column % 16 / 4;
    const int lane = row % 8 * 4 + column % 64 / 16;
    ptx::store8(q + ((step * 32 + lane) * C::kRowGroups + row / 8) * 8,
                {ptx::pack_halves(scaled_query(x.x, scale), scaled_query(x.y, scale)),
                 ptx::pack_halves(scaled_query(x.z, scale), scaled_query(x.w, scale))});
  }
  template <class C>
  static __device__ uint32_t queries_of(uint32_t q, int lane) {
    return q + lane * C::kRowGroups * 8;
  }
  template <class C>
  static __device__ void load_query(uint32_t from, int step, uint32_t (&b)[C::kRowGroups][2]) {
#pragma unroll
    for (int n = 0; n < C::kRowGroups; ++n) {
      const uint2 row = ptx::load8(from + (step * 32 * C::kRowGroups + n) * 8);
      b[n][0] = row.x, b[n][1] = row.y;
    }
  }

  template <class C>
  static __device__ void score(const Queries<C>& queries, uint32_t k, int lane,
                               float (&s)[C::kRowGroups][4]) {
    k += place_of<E4m3, C::kKRow>(lane / 4, lane % 4 * 16);
#pragma unroll
    for (int d = 0; d < C::kK; d += 64) {
      const uint4 first = ptx::load16(further(k, d));
      const uint4 second = ptx::load16(further(k, d) + 8 * C::kKRow);
      const uint32_t keys[2][4] = {{first.x, first.y, first.z, first.w},
                                   {second.x, second.y, second.z, second.w}};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        uint32_t b[C::kRowGroups][2];
        queries.of(d / 16 + j, b);
        const uint32_t a[4] = {ptx::halves_of_e4m3<false>(keys[0][j]), ptx::halves_of_e4m3<false>(keys[1][j]),
                               ptx::halves_of_e4m3<true>(keys[0][j]), ptx::halves_of_e4m3<true>(keys[1][j])};
#pragma unroll
        for (int n = 0; n < C::kRowGroups; ++n) ptx::multiply_halves(s[n], a, b[n][0], b[n][1]);
      }
    }
  }

  // Two numbers as products want them, which they become.
  static __device__ uint32_t round(float& low, float& high) {
    const __half2 pair = __floats2half2_rn(low, high);
    low = __low2float(pair);
    high = __high2float(pair);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }

  template <int kWords>
  static __device__ void load(uint32_t from, uint32_t (&to)[kWords]) {
    if constexpr (kWords == 4) {
      const uint4 all = ptx::load16(from);
      to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
    } else {
      const uint2 all = ptx::load8(from);
      to[0] = all.x, to[1] = all.y;
    }
  }

  // A slice's values for a warp's columns.
  template <class C>
  struct Values {
    static constexpr int kBytes = C::kColumns / 8;
    static_assert(kBytes == 8 || kBytes == 16);
    uint32_t rows[4][kBytes / 4];

    __device__ Values(uint32_t v, int lane, int part) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t at =
            v + place_of<E4m3, C::kVRow>(lane % 4 * 2 + i % 2, part * C::kColumns + lane / 4 * kBytes);
        load<kBytes / 4>(at + i / 2 * 8 * C::kVRow, rows[i]);
      }
    }
    __device__ void add(const uint32_t (&weights)[C::kRowGroups][2],
                        float (&out)[C::kRowGroups][C::kTiles][4]) {
#pragma unroll
      for (int m = 0; m < C::kTiles; ++m) {
        // Bytes of two keys beside each other: of two columns.
        const int which = m % 2 == 0 ? 0x5140 : 0x7362;
        const uint32_t low = __byte_perm(rows[0][m / 2], rows[1][m / 2], which);
        const uint32_t high = __byte_perm(rows[2][m / 2], rows[3][m / 2], which);
        const uint32_t a[4] = {ptx::halves_of_e4m3<false>(low), ptx::halves_of_e4m3<true>(low),
                               ptx::halves_of_e4m3<false>(high), ptx::halves_of_e4m3<true>(high)};
#pragma unroll
        for (int n = 0; n < C::kRowGroups; ++n)
          ptx::multiply_halves(out[n][m], a, weights[n][0], weights[n][1]);
      }
    }
  };

  // A warp's columns of the row that a thread has as its e-th.
  template <class C>
  static __device__ void put_row(float* to, int lane, int e, const float (&out)[C::kTiles][4]) {
    to += lane / 4 * (C::kColumns / 8);
#pragma unroll
    for (int m = 0; m < C::kTiles; m += 2) {
      *reinterpret_cast<float4*>(to + m * 2) = {out[m][e], out[m][2 + e], out[m + 1][e], out[m + 1][2 + e]};
    }
  }

  template <int kRowGroups, class F>
  static auto with_rows(int k, int v, bool aliased, const F& run) {
    if (k <= 64 && v <= 64) return run(Config<E4m3, kRowGroups, 64, 64, 1, 3, 2, 4>{});
    if (k <= 128 && v <= 128) return run(Config<E4m3, kRowGroups, 128, 128, 1, 3, 2, 3>{});
    if (k <= 256 && v <= 256) return run(Config<E4m3, kRowGroups, 256, 256, 2, 3, 4, 2>{});
    CHECK(k <= 576 && v <= 512, k, v);
    if (aliased) return run(Config<E4m3, kRowGroups, 576, 512, 4, 6, 8, 2, true>{});
    return run(Config<E4m3, kRowGroups, 576, 512, 4, 3, 8, 2>{});
  }
};

}  // namespace

void run_short_fp8(const AttentionLaunch& launch, const AttentionParams& params) {
  run_short_of<E4m3>(launch, params);
}
int short_blocks_fp8(int head_dim, int v_dim) { return short_blocks_of<E4m3>(head_dim, v_dim); }

}  // namespace heed::cuda
