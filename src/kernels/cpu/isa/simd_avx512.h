// Vec on AVX-512 (F, BW, VL, DQ): 16 lanes. Included by simd.h only.
#pragma once
#include <immintrin.h>

namespace heed {
namespace {

constexpr int kLanes = 16;
struct Vec {
  __m512 v;
};
struct LaneMask {
  __mmask16 m;
};
struct Pairs {
  __m512i v;
};

HEED_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
HEED_INLINE Vec set(float x) { return {_mm512_set1_ps(x)}; }
HEED_INLINE Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
HEED_INLINE Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
HEED_INLINE Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
HEED_INLINE Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
HEED_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
HEED_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }  // b where either is NaN
HEED_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
HEED_INLINE Vec magnitude(Vec a) { return {_mm512_abs_ps(a.v)}; }
HEED_INLINE Vec with_sign_of(Vec a, Vec sign) {
  return {_mm512_or_ps(_mm512_abs_ps(a.v), _mm512_and_ps(sign.v, _mm512_set1_ps(-0.0F)))};
}

HEED_INLINE __mmask16 first(int n) { return static_cast<__mmask16>((1U << n) - 1U); }
HEED_INLINE LaneMask mask_of(uint64_t bits) { return {static_cast<__mmask16>(bits)}; }
HEED_INLINE LaneMask less(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
HEED_INLINE Vec select(LaneMask m, Vec a, Vec b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }

HEED_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
HEED_INLINE Vec load_first(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
HEED_INLINE Vec widened(__m256i bits) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
HEED_INLINE __m256i load_16(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i_u*>(p)); }
HEED_INLINE __m256i load_16(const void* p, int n) { return _mm256_maskz_loadu_epi16(first(n), p); }
HEED_INLINE Vec load(const bf16* p) { return widened(load_16(p)); }
HEED_INLINE Vec load_first(const bf16* p, int n) { return widened(load_16(p, n)); }
HEED_INLINE Vec load(const f16* p) { return {_mm512_cvtph_ps(load_16(p))}; }
HEED_INLINE Vec load_first(const f16* p, int n) { return {_mm512_cvtph_ps(load_16(p, n))}; }

HEED_INLINE Vec load(const int8_t* p) {
  return {_mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i_u*>(static_cast<const void*>(p)))))};
}
HEED_INLINE Vec load_first(const int8_t* p, int n) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first(n), p)))};
}
// As float16, which is 2^8 times smaller; 480 would be NaN's code.
HEED_INLINE Vec widened_e4m3(__m128i bits) {
  const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bits), 7);
  const __m256i half = _mm256_and_si256(wide, _mm256_set1_epi16(static_cast<int16_t>(0xbfff)));
  const __m512 value = _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256));
  const __mmask16 nan = _mm512_cmp_ps_mask(_mm512_abs_ps(value), _mm512_set1_ps(480), _CMP_EQ_OQ);
  return {_mm512_mask_blend_ps(nan, value, _mm512_set1_ps(__builtin_nanf("")))};
}
HEED_INLINE Vec load(const e4m3* p) {
  return widened_e4m3(_mm_loadu_si128(static_cast<const __m128i_u*>(static_cast<const void*>(p))));
}
HEED_INLINE Vec load_first(const e4m3* p, int n) { return widened_e4m3(_mm_maskz_loadu_epi8(first(n), p)); }

HEED_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
HEED_INLINE void store_first(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, first(n), a.v); }
HEED_INLINE __m256i narrowed(Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i top = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(rounded, nan, top, _mm512_set1_epi32(64)));
}
HEED_INLINE void store(bf16* p, Vec a) {
  _mm256_storeu_si256(static_cast<__m256i_u*>(static_cast<void*>(p)), narrowed(a));
}
HEED_INLINE void store_first(bf16* p, Vec a, int n) { _mm256_mask_storeu_epi16(p, first(n), narrowed(a)); }

HEED_INLINE Pairs load_pairs(const bf16* p) { return {_mm512_loadu_si512(p)}; }
HEED_INLINE Pairs load_pairs_first(const bf16* p, int64_t n) {
  return {_mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << n) - 1), p)};
}
HEED_INLINE Vec even(Pairs a) { return {_mm512_castsi512_ps(_mm512_slli_epi32(a.v, 16))}; }
HEED_INLINE Vec odd(Pairs a) {
  return {_mm512_castsi512_ps(_mm512_and_si512(a.v, _mm512_set1_epi32(static_cast<int>(0xffff0000U))))};
}
HEED_INLINE void deinterleave(Vec a, Vec b, Vec& evens, Vec& odds) {
  const __m512i index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  evens.v = _mm512_permutex2var_ps(a.v, index, b.v);
  odds.v = _mm512_permutex2var_ps(a.v, _mm512_add_epi32(index, _mm512_set1_epi32(1)), b.v);
}
HEED_INLINE void interleave(Vec evens, Vec odds, Vec& a, Vec& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  a.v = _mm512_permutex2var_ps(evens.v, low, odds.v);
  b.v = _mm512_permutex2var_ps(evens.v, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odds.v);
}
#if defined(__AVX512BF16__)
#define HEED_HAS_PAIR_DOT 1
// c + the products of even and of odd elements of a and b.
HEED_INLINE Vec pair_dot(Pairs a, Pairs b, Vec c) {
  return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)};
}
HEED_INLINE Pairs no_pairs() { return {_mm512_setzero_si512()}; }
HEED_INLINE Pairs set_pair(uint32_t bits) { return {_mm512_set1_epi32(static_cast<int>(bits))}; }
HEED_INLINE Pairs halves_of(Pairs a, uint32_t bits) { return {_mm512_and_si512(a.v, set_pair(bits).v)}; }
HEED_INLINE Pairs load_packed(const float* p) { return {_mm512_loadu_si512(p)}; }
HEED_INLINE Vec bits_of(Pairs a) { return {_mm512_castsi512_ps(a.v)}; }
// Elements of two rows beside each other. Of 32 columns, `low` has 0-3, 8-11, 16-19 and 24-27, `high` the
// others; in_order(low, high): what was computed with them, in the order of columns.
HEED_INLINE void beside(Pairs a, Pairs b, Pairs& low, Pairs& high) {
  low.v = _mm512_unpacklo_epi16(a.v, b.v);
  high.v = _mm512_unpackhi_epi16(a.v, b.v);
}
HEED_INLINE void in_order(Vec& low, Vec& high) {
  const __m512i first_half = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512 a = _mm512_permutex2var_ps(low.v, first_half, high.v);
  high.v = _mm512_permutex2var_ps(low.v, _mm512_add_epi32(first_half, _mm512_set1_epi32(8)), high.v);
  low.v = a;
}
HEED_INLINE void store_rounded(bf16* p, Vec a) {  // subnormal results are 0
  _mm256_storeu_si256(static_cast<__m256i_u*>(static_cast<void*>(p)), (__m256i)_mm512_cvtneps_pbh(a.v));
}
#endif

HEED_INLINE void sum4(Vec a, Vec b, Vec c, Vec d, float* out) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a.v, b.v), _mm512_unpackhi_ps(a.v, b.v));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c.v, d.v), _mm512_unpackhi_ps(c.v, d.v));
  const __m512 quads = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quads), _mm512_extractf32x8_ps(quads, 1));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)));
}
HEED_INLINE float sum(Vec a) {
  float out[4];
  sum4(a, a, a, a, out);
  return out[0];
}
HEED_INLINE float first_lane(Vec a) { return _mm512_cvtss_f32(a.v); }
HEED_INLINE float largest(Vec a) { return _mm512_reduce_max_ps(a.v); }

HEED_INLINE Vec nearest(Vec a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
HEED_INLINE Vec scaled(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }

HEED_INLINE void transpose(Vec (&rows)[16]) {
  __m512 t[16];
  __m512 u[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {  // pairs of rows, element by element
    t[i] = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // u[i + j]: elements j, j + 4, j + 8, j + 12 of rows i .. i + 3
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 a = _mm512_shuffle_f32x4(u[j], u[4 + j], 0x88);  // lanes 0, 2 of rows 0-3, then of rows 4-7
    const __m512 b = _mm512_shuffle_f32x4(u[j], u[4 + j], 0xdd);  // lanes 1, 3
    const __m512 c = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0xdd);
    rows[j].v = _mm512_shuffle_f32x4(a, c, 0x88);
    rows[4 + j].v = _mm512_shuffle_f32x4(b, d, 0x88);
    rows[8 + j].v = _mm512_shuffle_f32x4(a, c, 0xdd);
    rows[12 + j].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

}  // namespace
}  // namespace heed
