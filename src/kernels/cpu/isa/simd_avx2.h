// Vec on AVX2, FMA and F16C: 8 lanes. Included by simd.h only.
#pragma once
#include <immintrin.h>

namespace heed {
namespace {

constexpr int kLanes = 8;
struct Vec {
  __m256 v;
};
struct LaneMask {
  __m256 m;
};
struct Pairs {
  __m256i v;
};

HEED_INLINE Vec zero() { return {_mm256_setzero_ps()}; }
HEED_INLINE Vec set(float x) { return {_mm256_set1_ps(x)}; }
HEED_INLINE Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
HEED_INLINE Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
HEED_INLINE Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
HEED_INLINE Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
HEED_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
HEED_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }  // b where either is NaN
HEED_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
HEED_INLINE Vec magnitude(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0F), a.v)}; }
HEED_INLINE Vec with_sign_of(Vec a, Vec sign) {
  return {_mm256_or_ps(magnitude(a).v, _mm256_and_ps(sign.v, _mm256_set1_ps(-0.0F)))};
}

HEED_INLINE __m256i lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
HEED_INLINE __m256i first(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane_numbers()); }
HEED_INLINE LaneMask mask_of(uint64_t bits) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i all = _mm256_set1_epi32(static_cast<int>(bits & 255U));
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit))};
}
HEED_INLINE LaneMask less(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
HEED_INLINE Vec select(LaneMask m, Vec a, Vec b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }

HEED_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
HEED_INLINE Vec load_first(const float* p, int n) { return {_mm256_maskload_ps(p, first(n))}; }
HEED_INLINE __m128i load_16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i_u*>(p)); }
HEED_INLINE __m128i load_16(const void* p, int n) {
  uint16_t some[8] = {};
  memcpy(some, p, sizeof(uint16_t) * static_cast<size_t>(n));
  return load_16(some);
}
HEED_INLINE Vec widened(__m128i bits) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
}
HEED_INLINE Vec load(const bf16* p) { return widened(load_16(p)); }
HEED_INLINE Vec load_first(const bf16* p, int n) { return widened(load_16(p, n)); }
HEED_INLINE Vec load(const f16* p) { return {_mm256_cvtph_ps(load_16(p))}; }
HEED_INLINE Vec load_first(const f16* p, int n) { return {_mm256_cvtph_ps(load_16(p, n))}; }

HEED_INLINE Vec load(const int8_t* p) {
  int64_t bits;
  memcpy(&bits, p, sizeof(bits));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bits)))};
}
HEED_INLINE Vec load_first(const int8_t* p, int n) {
  int8_t some[8] = {};
  memcpy(some, p, static_cast<size_t>(n));
  return load(some);
}
// As float16, which is 2^8 times smaller; 480 would be NaN's code.
HEED_INLINE Vec load(const e4m3* p) {
  int64_t bits;
  memcpy(&bits, p, sizeof(bits));
  const __m128i wide = _mm_slli_epi16(_mm_cvtepi8_epi16(_mm_cvtsi64_si128(bits)), 7);
  const __m128i half = _mm_and_si128(wide, _mm_set1_epi16(static_cast<int16_t>(0xbfff)));
  const __m256 value = _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256));
  const __m256 nan = _mm256_cmp_ps(magnitude({value}).v, _mm256_set1_ps(480), _CMP_EQ_OQ);
  return {_mm256_or_ps(value, nan)};
}
HEED_INLINE Vec load_first(const e4m3* p, int n) {
  e4m3 some[8] = {};
  memcpy(some, p, static_cast<size_t>(n));
  return load(some);
}

HEED_INLINE void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
HEED_INLINE void store_first(float* p, Vec a, int n) { _mm256_maskstore_ps(p, first(n), a.v); }
HEED_INLINE __m128i narrowed(Vec a) {
  const __m256i bits = _mm256_castps_si256(a.v);
  const __m256i top = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  const __m256i all = _mm256_blendv_epi8(rounded, _mm256_or_si256(top, _mm256_set1_epi32(64)), nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}
HEED_INLINE void store(bf16* p, Vec a) {
  _mm_storeu_si128(static_cast<__m128i_u*>(static_cast<void*>(p)), narrowed(a));
}
HEED_INLINE void store_first(bf16* p, Vec a, int n) {
  bf16 some[8];
  store(some, a);
  memcpy(p, some, sizeof(bf16) * static_cast<size_t>(n));
}

HEED_INLINE Pairs load_pairs(const bf16* p) {
  return {_mm256_loadu_si256(static_cast<const __m256i_u*>(static_cast<const void*>(p)))};
}
HEED_INLINE Pairs load_pairs_first(const bf16* p, int64_t n) {
  bf16 some[16] = {};
  memcpy(some, p, sizeof(bf16) * static_cast<size_t>(n));
  return load_pairs(some);
}
HEED_INLINE Vec even(Pairs a) { return {_mm256_castsi256_ps(_mm256_slli_epi32(a.v, 16))}; }
HEED_INLINE Vec odd(Pairs a) {  // two shifts, for a mask would take one of 16 registers
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(a.v, 16), 16))};
}
HEED_INLINE void deinterleave(Vec a, Vec b, Vec& evens, Vec& odds) {
  const __m256d e = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0x88));
  const __m256d o = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0xdd));
  evens.v = _mm256_castpd_ps(_mm256_permute4x64_pd(e, 0xd8));
  odds.v = _mm256_castpd_ps(_mm256_permute4x64_pd(o, 0xd8));
}

HEED_INLINE void interleave(Vec evens, Vec odds, Vec& a, Vec& b) {
  const __m256 low = _mm256_unpacklo_ps(evens.v, odds.v);
  const __m256 high = _mm256_unpackhi_ps(evens.v, odds.v);
  a.v = _mm256_permute2f128_ps(low, high, 0x20);
  b.v = _mm256_permute2f128_ps(low, high, 0x31);
}

HEED_INLINE void sum4(Vec a, Vec b, Vec c, Vec d, float* out) {
  const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v));
  const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c.v, d.v), _mm256_unpackhi_ps(c.v, d.v));
  const __m256 quads = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1)));
}
HEED_INLINE float sum(Vec a) {
  float out[4];
  sum4(a, a, a, a, out);
  return out[0];
}
HEED_INLINE float first_lane(Vec a) { return _mm256_cvtss_f32(a.v); }
HEED_INLINE float largest(Vec a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

HEED_INLINE Vec nearest(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
HEED_INLINE Vec power_of_two(__m256i n) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23))};
}
HEED_INLINE Vec scaled(Vec a, Vec n) {  // in two steps, each within the range of a normal power of two
  const __m256i whole = _mm256_cvtps_epi32(n.v);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  return mul(mul(a, power_of_two(half)), power_of_two(_mm256_sub_epi32(whole, half)));
}

HEED_INLINE void transpose(Vec (&rows)[8]) {
  __m256 t[8];
  __m256 u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {  // u[i + j]: elements j, j + 4 of rows i .. i + 3
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    rows[j].v = _mm256_permute2f128_ps(u[j], u[4 + j], 0x20);
    rows[4 + j].v = _mm256_permute2f128_ps(u[j], u[4 + j], 0x31);
  }
}

}  // namespace
}  // namespace heed
