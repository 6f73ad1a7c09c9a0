// What kernels over weights in blocks need of an instruction set besides Vec: Bytes, kLanes words of 4 bytes.
//
// A lane belongs to a column of the product (a row of weights), and its word holds 4 consecutive codes of it.
// All implementations offer:
//   words(rows, at)                4 bytes from each row; pieces(rows, at, out): 16, as 4 words
//   load_bytes, store_bytes        aligned
//   &, |, ^, up(v, n), down(v, n)  bitwise; shifts of whole words
//   spread(v)                      bits 0 to 3 of each word as the lowest bits of its 4 bytes; the rest is 0
//   look_up(table, v)              table[byte] of each byte, which is at most 15
//   floats(v), halves(v)           words as numbers; the f16 in the low half of each word
//   as_floats(v)                   words that are the bits of numbers
//   plus(a, b)                     sums of words
//   dot(sums, v, x)                sums + the 4 products with x[0..4); bytes of v are 0 to 127
//   dot_wide(sums, v, x)           the same where v holds int8 that wide() has prepared: kWideBias too high
//   dot_pairs(v, x)                where kHasPairs: sums of 2 products, 16 bits each
//   plus_pairs(a, b)               their sums; widened(sums, pairs): sums + both of each word
#pragma once
#include "kernels/cpu/isa/simd.h"

namespace heed {
namespace {

struct BlockRows {
  const uint8_t* row[kLanes];
  alignas(64) int32_t offset[kLanes];  // bytes from row 0
};

HEED_INLINE uint32_t word_at(const void* p) {
  uint32_t word;
  memcpy(&word, p, sizeof word);
  return word;
}

#if defined(__AVX512F__)
using Bits = __m512i;
#elif defined(__AVX2__)
using Bits = __m256i;
#else
using Bits = Words;
#endif
struct Bytes {
  Bits v;
};

#if defined(__AVX512F__)
HEED_INLINE Bytes load_bytes(const void* p) { return {_mm512_load_si512(p)}; }
HEED_INLINE void store_bytes(void* p, Bytes a) { _mm512_store_si512(p, a.v); }
HEED_INLINE Bytes same(uint32_t word) { return {_mm512_set1_epi32(static_cast<int>(word))}; }
HEED_INLINE Bytes operator&(Bytes a, Bytes b) { return {_mm512_and_si512(a.v, b.v)}; }
HEED_INLINE Bytes operator|(Bytes a, Bytes b) { return {_mm512_or_si512(a.v, b.v)}; }
HEED_INLINE Bytes operator^(Bytes a, Bytes b) { return {_mm512_xor_si512(a.v, b.v)}; }
HEED_INLINE Bytes up(Bytes a, int n) { return {_mm512_slli_epi32(a.v, static_cast<unsigned>(n))}; }
HEED_INLINE Bytes down(Bytes a, int n) { return {_mm512_srli_epi32(a.v, static_cast<unsigned>(n))}; }
HEED_INLINE Bytes times(Bytes a, Bytes b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
HEED_INLINE Bytes plus(Bytes a, Bytes b) { return {_mm512_add_epi32(a.v, b.v)}; }
HEED_INLINE Bytes words(const BlockRows& r, int64_t at) {  // a gather takes several times as long
  const auto four = [&](int i) __attribute__((always_inline)) {
    const auto word = [&](int row) __attribute__((always_inline)) {
      return static_cast<int>(word_at(r.row[row] + at));
    };
    return _mm_setr_epi32(word(i), word(i + 1), word(i + 2), word(i + 3));
  };
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(four(0)), four(4), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(four(8)), four(12), 1);
  return {_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)};
}
HEED_INLINE Bytes look_up(const int8_t* table, Bytes a) {
  const __m128i t = _mm_loadu_si128(static_cast<const __m128i_u*>(static_cast<const void*>(table)));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), a.v)};
}
HEED_INLINE Vec floats(Bytes a) { return {_mm512_cvtepi32_ps(a.v)}; }
HEED_INLINE Vec as_floats(Bytes a) { return {_mm512_castsi512_ps(a.v)}; }
HEED_INLINE Vec halves(Bytes a) { return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a.v))}; }

// 16 bytes of rows i, i + 4, i + 8, i + 12.
HEED_INLINE __m512i piece(const BlockRows& r, int i, int64_t at) {
  const auto load_piece = [&](int row) __attribute__((always_inline)) {
    return _mm_loadu_si128(static_cast<const __m128i_u*>(static_cast<const void*>(r.row[row] + at)));
  };
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load_piece(i)), load_piece(i + 4), 1);
  const __m256i high =
      _mm256_inserti128_si256(_mm256_castsi128_si256(load_piece(i + 8)), load_piece(i + 12), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
HEED_INLINE void pieces(const BlockRows& r, int64_t at, Bytes* out) {
  const __m512i a = piece(r, 0, at);
  const __m512i b = piece(r, 1, at);
  const __m512i c = piece(r, 2, at);
  const __m512i d = piece(r, 3, at);
  const __m512i ab = _mm512_unpacklo_epi32(a, b);
  const __m512i ab2 = _mm512_unpackhi_epi32(a, b);
  const __m512i cd = _mm512_unpacklo_epi32(c, d);
  const __m512i cd2 = _mm512_unpackhi_epi32(c, d);
  out[0].v = _mm512_unpacklo_epi64(ab, cd);
  out[1].v = _mm512_unpackhi_epi64(ab, cd);
  out[2].v = _mm512_unpacklo_epi64(ab2, cd2);
  out[3].v = _mm512_unpackhi_epi64(ab2, cd2);
}

#if defined(__AVX512VNNI__)
constexpr bool kHasPairs = false;
constexpr int kWideBias = 128;
HEED_INLINE Bytes wide(Bytes a) { return a ^ same(0x80808080U); }
HEED_INLINE Bytes dot(Bytes sums, Bytes w, const int8_t* x) {
  return {_mm512_dpbusd_epi32(sums.v, w.v, same(word_at(x)).v)};
}
HEED_INLINE Bytes dot_wide(Bytes sums, Bytes w, const int8_t* x) { return dot(sums, w, x); }
#else
constexpr bool kHasPairs = true;
constexpr int kWideBias = 0;
HEED_INLINE Bytes wide(Bytes a) { return a; }
HEED_INLINE Bytes dot_pairs(Bytes w, const int8_t* x) {
  return {_mm512_maddubs_epi16(w.v, same(word_at(x)).v)};
}
HEED_INLINE Bytes plus_pairs(Bytes a, Bytes b) { return {_mm512_add_epi16(a.v, b.v)}; }
HEED_INLINE Bytes widened(Bytes sums, Bytes pairs) {
  return {_mm512_add_epi32(sums.v, _mm512_madd_epi16(pairs.v, _mm512_set1_epi16(1)))};
}
HEED_INLINE Bytes dot(Bytes sums, Bytes w, const int8_t* x) { return widened(sums, dot_pairs(w, x)); }
// |w| x with the sign of w: 128 * 127 * 2 is within int16.
HEED_INLINE Bytes dot_wide(Bytes sums, Bytes w, const int8_t* x) {
  const __m512i from = same(word_at(x)).v;
  const __m512i turned = _mm512_mask_sub_epi8(from, _mm512_movepi8_mask(w.v), _mm512_setzero_si512(), from);
  return widened(sums, {_mm512_maddubs_epi16(_mm512_abs_epi8(w.v), turned)});
}
#endif

#elif defined(__AVX2__)
HEED_INLINE Bytes load_bytes(const void* p) { return {_mm256_load_si256(static_cast<const __m256i*>(p))}; }
HEED_INLINE void store_bytes(void* p, Bytes a) { _mm256_store_si256(static_cast<__m256i*>(p), a.v); }
HEED_INLINE Bytes same(uint32_t word) { return {_mm256_set1_epi32(static_cast<int>(word))}; }
HEED_INLINE Bytes operator&(Bytes a, Bytes b) { return {_mm256_and_si256(a.v, b.v)}; }
HEED_INLINE Bytes operator|(Bytes a, Bytes b) { return {_mm256_or_si256(a.v, b.v)}; }
HEED_INLINE Bytes operator^(Bytes a, Bytes b) { return {_mm256_xor_si256(a.v, b.v)}; }
HEED_INLINE Bytes up(Bytes a, int n) { return {_mm256_slli_epi32(a.v, n)}; }
HEED_INLINE Bytes down(Bytes a, int n) { return {_mm256_srli_epi32(a.v, n)}; }
HEED_INLINE Bytes times(Bytes a, Bytes b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
HEED_INLINE Bytes plus(Bytes a, Bytes b) { return {_mm256_add_epi32(a.v, b.v)}; }
HEED_INLINE Bytes words(const BlockRows& r, int64_t at) {  // a gather takes twice as many operations
  const auto word = [&](int i) __attribute__((always_inline)) {
    return static_cast<int>(word_at(r.row[i] + at));
  };
  return {_mm256_setr_epi32(word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7))};
}
HEED_INLINE Bytes look_up(const int8_t* table, Bytes a) {
  const __m128i t = _mm_loadu_si128(static_cast<const __m128i_u*>(static_cast<const void*>(table)));
  return {_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), a.v)};
}
HEED_INLINE Vec floats(Bytes a) { return {_mm256_cvtepi32_ps(a.v)}; }
HEED_INLINE Vec as_floats(Bytes a) { return {_mm256_castsi256_ps(a.v)}; }
HEED_INLINE Vec halves(Bytes a) {
  const __m256i low = _mm256_and_si256(a.v, _mm256_set1_epi32(0xffff));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0xd8);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(packed))};
}

HEED_INLINE __m256i piece(const BlockRows& r, int i, int64_t at) {
  const auto load_piece = [&](int row) __attribute__((always_inline)) {
    return _mm_loadu_si128(static_cast<const __m128i_u*>(static_cast<const void*>(r.row[row] + at)));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_piece(i)), load_piece(i + 4), 1);
}
HEED_INLINE void pieces(const BlockRows& r, int64_t at, Bytes* out) {
  const __m256i a = piece(r, 0, at);
  const __m256i b = piece(r, 1, at);
  const __m256i c = piece(r, 2, at);
  const __m256i d = piece(r, 3, at);
  const __m256i ab = _mm256_unpacklo_epi32(a, b);
  const __m256i ab2 = _mm256_unpackhi_epi32(a, b);
  const __m256i cd = _mm256_unpacklo_epi32(c, d);
  const __m256i cd2 = _mm256_unpackhi_epi32(c, d);
  out[0].v = _mm256_unpacklo_epi64(ab, cd);
  out[1].v = _mm256_unpackhi_epi64(ab, cd);
  out[2].v = _mm256_unpacklo_epi64(ab2, cd2);
  out[3].v = _mm256_unpackhi_epi64(ab2, cd2);
}

constexpr bool kHasPairs = true;
constexpr int kWideBias = 0;
HEED_INLINE Bytes wide(Bytes a) { return a; }
HEED_INLINE Bytes dot_pairs(Bytes w, const int8_t* x) {
  return {_mm256_maddubs_epi16(w.v, same(word_at(x)).v)};
}
HEED_INLINE Bytes plus_pairs(Bytes a, Bytes b) { return {_mm256_add_epi16(a.v, b.v)}; }
HEED_INLINE Bytes widened(Bytes sums, Bytes pairs) {
  return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(pairs.v, _mm256_set1_epi16(1)))};
}
HEED_INLINE Bytes dot(Bytes sums, Bytes w, const int8_t* x) { return widened(sums, dot_pairs(w, x)); }
// |w| x with the sign of w: 128 * 127 * 2 is within int16.
HEED_INLINE Bytes dot_wide(Bytes sums, Bytes w, const int8_t* x) {
  const __m256i turned = _mm256_sign_epi8(same(word_at(x)).v, w.v);
  return widened(sums, {_mm256_maddubs_epi16(_mm256_abs_epi8(w.v), turned)});
}

#else
HEED_INLINE Bytes load_bytes(const void* p) {
  Bytes a;
  memcpy(&a.v, p, sizeof a.v);
  return a;
}
HEED_INLINE void store_bytes(void* p, Bytes a) { memcpy(p, &a.v, sizeof a.v); }
HEED_INLINE Bytes same(uint32_t word) { return {Words{word, word, word, word}}; }
HEED_INLINE Bytes operator&(Bytes a, Bytes b) { return {a.v & b.v}; }
HEED_INLINE Bytes operator|(Bytes a, Bytes b) { return {a.v | b.v}; }
HEED_INLINE Bytes operator^(Bytes a, Bytes b) { return {a.v ^ b.v}; }
HEED_INLINE Bytes up(Bytes a, int n) { return {a.v << static_cast<unsigned>(n)}; }
HEED_INLINE Bytes down(Bytes a, int n) { return {a.v >> static_cast<unsigned>(n)}; }
HEED_INLINE Bytes times(Bytes a, Bytes b) { return {a.v * b.v}; }
HEED_INLINE Bytes plus(Bytes a, Bytes b) { return {a.v + b.v}; }
HEED_INLINE Bytes words(const BlockRows& r, int64_t at) {
  Bytes out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = word_at(r.row[i] + at);
  return out;
}
HEED_INLINE Bytes look_up(const int8_t* table, Bytes a) {
  uint8_t bytes[16];
  store_bytes(bytes, a);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(table[byte]);
  return load_bytes(bytes);
}
HEED_INLINE Vec floats(Bytes a) { return {__builtin_convertvector((Ints)a.v, Floats)}; }
HEED_INLINE Vec as_floats(Bytes a) { return {(Floats)a.v}; }
HEED_INLINE Vec halves(Bytes a) {
  f16 some[kLanes];
  for (int i = 0; i < kLanes; ++i) some[i].bits = static_cast<uint16_t>(a.v[i]);
  return load(some);
}
HEED_INLINE void pieces(const BlockRows& r, int64_t at, Bytes* out) {
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < kLanes; ++i) out[j].v[i] = word_at(r.row[i] + at + 4 * j);
  }
}

constexpr bool kHasPairs = false;
constexpr int kWideBias = 0;
HEED_INLINE Bytes wide(Bytes a) { return a; }
HEED_INLINE Bytes dot_wide(Bytes sums, Bytes w, const int8_t* x) {
  auto total = (Ints)sums.v;
  const auto bytes = (Ints)w.v;
  for (int i = 0; i < 4; ++i) total += (bytes << (24 - 8 * i) >> 24) * static_cast<int32_t>(x[i]);
  return {(Words)total};
}
HEED_INLINE Bytes dot(Bytes sums, Bytes w, const int8_t* x) { return dot_wide(sums, w, x); }
#endif

HEED_INLINE Bytes spread(Bytes a) { return times(a & same(15), same(0x00204081U)) & same(0x01010101U); }
HEED_INLINE Bytes low_nibbles(Bytes a) { return a & same(0x0f0f0f0fU); }
HEED_INLINE Bytes high_nibbles(Bytes a) { return down(a, 4) & same(0x0f0f0f0fU); }
// Byte `i` of each word.
HEED_INLINE Vec byte_of(Bytes a, int i) { return floats(down(a, 8 * i) & same(255)); }

}  // namespace
}  // namespace heed
