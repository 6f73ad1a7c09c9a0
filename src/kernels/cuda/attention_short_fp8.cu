// Attention of short sequences over a cache of FP8 E4M3. The scheme: attention_short.cuh; definition:
// kernels/ref/ref.cpp, attention. Bound by memory.
//
// Keys and values lie in shared memory as in the cache and become float16, which holds all of E4M3, in
// registers on the way to the tensor cores; queries, times all that scores are multiplied with, and weights
// are rounded to float16 as well. A product's sum does not ask for an order of its terms, nor its result for
// one of its columns, so a thread takes what lies together. Of a slice, with t = lane % 4 and g = lane / 4:
//
//   keys      16 bytes of key g, and of key g + 8: from 64 c + 16 t on, four steps of 16 terms
//   queries   as such a step wants them, 16 bytes for each lane
//   values    of keys 2t, 2t + 1, 2t + 8, 2t + 9 a warp's columns / 8 bytes each, from column g * that on
//
// so register j of a result is column g' * columns / 8 + j, g' being its column among eight.
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
    q += (step * 32 + lane) * 16 + row / 8 * 4;
    ptx::store4(q, ptx::pack_halves(scaled_query(x.x, scale), scaled_query(x.y, scale)));
    ptx::store4(q + 8, ptx::pack_halves(scaled_query(x.z, scale), scaled_query(x.w, scale)));
  }

  template <class C>
  static __device__ void score(uint32_t q, uint32_t k, int lane, float (&s)[2][4]) {
    q += lane * 16;
    k += place_of<E4m3, C::kKRow>(lane / 4, lane % 4 * 16);
#pragma unroll
    for (int d = 0; d < C::kK; d += 64) {
      const uint4 first = ptx::load16(further(k, d));
      const uint4 second = ptx::load16(further(k, d) + 8 * C::kKRow);
      const uint32_t keys[2][4] = {{first.x, first.y, first.z, first.w},
                                   {second.x, second.y, second.z, second.w}};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint4 row = ptx::load16(q + (d / 16 + j) * 512);
        const uint32_t a[4] = {row.x, row.y, row.z, row.w};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          ptx::multiply_halves(s[i], a, ptx::halves_of_e4m3<false>(keys[i][j]),
                               ptx::halves_of_e4m3<true>(keys[i][j]));
        }
      }
    }
  }

  template <class C>
  static __device__ void add_values(uint32_t v, int lane, int part, const float (&s)[2][4],
                                    float (&out)[C::kColumns / 8][4]) {
    constexpr int kBytes = C::kColumns / 8;
    static_assert(kBytes == 8 || kBytes == 16);
    const uint32_t a[4] = {ptx::pack_halves(s[0][0], s[0][1]), ptx::pack_halves(s[0][2], s[0][3]),
                           ptx::pack_halves(s[1][0], s[1][1]), ptx::pack_halves(s[1][2], s[1][3])};
    uint32_t rows[4][kBytes / 4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t at =
          v + place_of<E4m3, C::kVRow>(lane % 4 * 2 + i % 2, part * C::kColumns + lane / 4 * kBytes);
      load<kBytes / 4>(at + i / 2 * 8 * C::kVRow, rows[i]);
    }
#pragma unroll
    for (int c = 0; c < kBytes / 4; ++c) {
      // Bytes of two keys beside each other: of columns 0 and 1, and of 2 and 3.
      const uint32_t low[2] = {__byte_perm(rows[0][c], rows[1][c], 0x5140),
                               __byte_perm(rows[2][c], rows[3][c], 0x5140)};
      const uint32_t high[2] = {__byte_perm(rows[0][c], rows[1][c], 0x7362),
                                __byte_perm(rows[2][c], rows[3][c], 0x7362)};
      add_columns(out[4 * c], out[4 * c + 1], a, low);
      add_columns(out[4 * c + 2], out[4 * c + 3], a, high);
    }
  }
  static __device__ void add_columns(float (&first)[4], float (&second)[4], const uint32_t (&a)[4],
                                     const uint32_t (&codes)[2]) {
    ptx::multiply_halves(first, a, ptx::halves_of_e4m3<false>(codes[0]),
                         ptx::halves_of_e4m3<false>(codes[1]));
    ptx::multiply_halves(second, a, ptx::halves_of_e4m3<true>(codes[0]), ptx::halves_of_e4m3<true>(codes[1]));
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

  // A warp's columns of row lane / 4 (i: 0), or of that 8 further.
  template <class C>
  static __device__ void put_row(float* to, int lane, int i, const float (&out)[C::kColumns / 8][4]) {
    constexpr int kRun = C::kColumns / 8;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
#pragma unroll
      for (int j = 0; j < kRun; j += 4) {
        *reinterpret_cast<float4*>(to + (lane % 4 * 2 + e) * kRun + j) = {
            out[j][2 * i + e], out[j + 1][2 * i + e], out[j + 2][2 * i + e], out[j + 3][2 * i + e]};
      }
    }
  }
};

template <class F>
auto with_config(int k, int v, bool aliased, const F& run) {
  if (k <= 64 && v <= 64) return run(Config<E4m3, 64, 64, 1, 4, 2, 4>{});
  if (k <= 128 && v <= 128) return run(Config<E4m3, 128, 128, 1, 4, 2, 3>{});
  if (k <= 256 && v <= 256) return run(Config<E4m3, 256, 256, 2, 5, 4, 2>{});
  CHECK(k <= 576 && v <= 512, k, v);
  if (aliased) return run(Config<E4m3, 576, 512, 4, 6, 8, 2, true>{});
  return run(Config<E4m3, 576, 512, 4, 3, 8, 2>{});
}

}  // namespace

void run_short_fp8(const AttentionLaunch& launch, const AttentionParams& params) {
  with_config(params.head_dim, params.v_dim, is_aliased(params),
              [&]<class C>(C) { launch_for<C>(launch, params); });
}

int short_blocks_fp8(int head_dim, int v_dim) {
  return with_config(head_dim, v_dim, head_dim > v_dim, []<class C>(C) { return blocks_of<C>(); });
}

}  // namespace heed::cuda
