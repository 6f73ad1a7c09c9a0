// Vec in the compiler's own vectors: 4 lanes, SSE2 on x86-64 and whatever else has on another machine.
// Included by simd.h only.
#pragma once

namespace heed {
namespace {

constexpr int kLanes = 4;
using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));
using Words = uint32_t __attribute__((vector_size(16)));
struct Vec {
  Floats v;
};
struct LaneMask {
  Ints m;
};
struct Pairs {
  Words v;
};

HEED_INLINE Vec zero() { return {Floats{0, 0, 0, 0}}; }
HEED_INLINE Vec set(float x) { return {Floats{x, x, x, x}}; }
HEED_INLINE Vec add(Vec a, Vec b) { return {a.v + b.v}; }
HEED_INLINE Vec sub(Vec a, Vec b) { return {a.v - b.v}; }
HEED_INLINE Vec mul(Vec a, Vec b) { return {a.v * b.v}; }
HEED_INLINE Vec div(Vec a, Vec b) { return {a.v / b.v}; }
HEED_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
HEED_INLINE LaneMask less(Vec a, Vec b) { return {a.v < b.v}; }
HEED_INLINE Vec select(LaneMask m, Vec a, Vec b) {
  return {(Floats)((m.m & (Ints)a.v) | (~m.m & (Ints)b.v))};
}
HEED_INLINE Vec max(Vec a, Vec b) { return select({a.v > b.v}, a, b); }  // b where either is NaN
HEED_INLINE Vec min(Vec a, Vec b) { return select({a.v < b.v}, a, b); }
HEED_INLINE Vec magnitude(Vec a) { return {(Floats)((Ints)a.v & 0x7fffffff)}; }
HEED_INLINE Vec with_sign_of(Vec a, Vec sign) {
  return {(Floats)((Ints)magnitude(a).v |
                   ((Ints)sign.v & ~Ints{0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}))};
}
HEED_INLINE LaneMask mask_of(uint64_t bits) {
  const auto all = static_cast<int32_t>(bits & 15U);
  const Ints bit = {1, 2, 4, 8};
  return {(Ints{all, all, all, all} & bit) == bit};
}

HEED_INLINE Vec load_first(const float* p, int n) {
  Vec a = zero();
  memcpy(&a.v, p, sizeof(float) * static_cast<size_t>(n));
  return a;
}
HEED_INLINE Vec load(const float* p) { return load_first(p, 4); }
HEED_INLINE Vec load_first(const bf16* p, int n) {
  uint16_t bits[4] = {};
  memcpy(bits, p, sizeof(uint16_t) * static_cast<size_t>(n));
  const Words wide = {bits[0], bits[1], bits[2], bits[3]};
  return {(Floats)(wide << 16)};
}
HEED_INLINE Vec load(const bf16* p) { return load_first(p, 4); }
HEED_INLINE Vec load_first(const f16* p, int n) {
  uint16_t bits[4] = {};
  memcpy(bits, p, sizeof(uint16_t) * static_cast<size_t>(n));
  const Words wide = {bits[0], bits[1], bits[2], bits[3]};
  const Words sign = (wide & 0x8000U) << 16;
  const Words rest = wide & 0x7fffU;
  // Exponent and mantissa moved into place and scaled by 2^112, which is exact, subnormals included.
  const Floats finite = (Floats)(rest << 13) * set(0x1p112F).v;
  const Words special = (Words)(rest >= 0x7c00U);
  const Words value = (special & ((rest << 13) | 0x7f800000U)) | (~special & (Words)finite);
  return {(Floats)(value | sign)};
}
HEED_INLINE Vec load(const f16* p) { return load_first(p, 4); }

HEED_INLINE Vec load_first(const int8_t* p, int n) {
  Vec a = {Floats{0, 0, 0, 0}};
  for (int i = 0; i < n; ++i) a.v[i] = static_cast<float>(p[i]);
  return a;
}
HEED_INLINE Vec load(const int8_t* p) { return load_first(p, 4); }
HEED_INLINE Vec load_first(const e4m3* p, int n) {
  uint8_t bits[4] = {};
  memcpy(bits, p, static_cast<size_t>(n));
  const Words wide = {bits[0], bits[1], bits[2], bits[3]};
  const Words sign = (wide & 0x80U) << 24;
  const Words rest = wide & 0x7fU;
  const Floats small = __builtin_convertvector((Ints)rest, Floats) * set(0x1p-9F).v;
  const auto is_small = (Words)(rest < 8U);
  const auto nan = (Words)(rest == 0x7fU);
  const Words value = (is_small & (Words)small) | (~is_small & ((rest << 20) + 0x3c000000U));
  return {(Floats)(value | (nan & 0x7fc00000U) | sign)};
}
HEED_INLINE Vec load(const e4m3* p) { return load_first(p, 4); }

HEED_INLINE void store_first(float* p, Vec a, int n) {
  memcpy(p, &a.v, sizeof(float) * static_cast<size_t>(n));
}
HEED_INLINE void store(float* p, Vec a) { store_first(p, a, 4); }
HEED_INLINE void store_first(bf16* p, Vec a, int n) {
  const auto bits = (Words)a.v;
  const Words rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const auto nan = (Words)((bits & 0x7fffffffU) > 0x7f800000U);
  const Words all = (nan & ((bits >> 16) | 64U)) | (~nan & rounded);
  uint16_t out[4];
  for (int i = 0; i < 4; ++i) out[i] = static_cast<uint16_t>(all[i]);
  memcpy(p, out, sizeof(uint16_t) * static_cast<size_t>(n));
}
HEED_INLINE void store(bf16* p, Vec a) { store_first(p, a, 4); }

HEED_INLINE Pairs load_pairs_first(const bf16* p, int64_t n) {
  Pairs a = {Words{0, 0, 0, 0}};
  memcpy(&a.v, p, sizeof(bf16) * static_cast<size_t>(n));
  return a;
}
HEED_INLINE Pairs load_pairs(const bf16* p) { return load_pairs_first(p, 8); }
HEED_INLINE Vec even(Pairs a) { return {(Floats)(a.v << 16)}; }
HEED_INLINE Vec odd(Pairs a) { return {(Floats)(a.v & 0xffff0000U)}; }
HEED_INLINE void deinterleave(Vec a, Vec b, Vec& evens, Vec& odds) {
  evens.v = __builtin_shufflevector(a.v, b.v, 0, 2, 4, 6);
  odds.v = __builtin_shufflevector(a.v, b.v, 1, 3, 5, 7);
}
HEED_INLINE void interleave(Vec evens, Vec odds, Vec& a, Vec& b) {
  a.v = __builtin_shufflevector(evens.v, odds.v, 0, 4, 1, 5);
  b.v = __builtin_shufflevector(evens.v, odds.v, 2, 6, 3, 7);
}

HEED_INLINE void transpose(Vec (&rows)[4]) {
  const Floats ab = __builtin_shufflevector(rows[0].v, rows[1].v, 0, 4, 1, 5);
  const Floats ab2 = __builtin_shufflevector(rows[0].v, rows[1].v, 2, 6, 3, 7);
  const Floats cd = __builtin_shufflevector(rows[2].v, rows[3].v, 0, 4, 1, 5);
  const Floats cd2 = __builtin_shufflevector(rows[2].v, rows[3].v, 2, 6, 3, 7);
  rows[0].v = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  rows[1].v = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  rows[2].v = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
  rows[3].v = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
}
HEED_INLINE void sum4(Vec a, Vec b, Vec c, Vec d, float* out) {
  Vec rows[4] = {a, b, c, d};
  transpose(rows);
  store(out, add(add(rows[0], rows[2]), add(rows[1], rows[3])));
}
HEED_INLINE float sum(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
HEED_INLINE float first_lane(Vec a) { return a.v[0]; }
HEED_INLINE float largest(Vec a) {
  const float ab = a.v[0] > a.v[1] ? a.v[0] : a.v[1];
  const float cd = a.v[2] > a.v[3] ? a.v[2] : a.v[3];
  return ab > cd ? ab : cd;
}

// Adding and taking away 1.5 * 2^23 leaves the nearest integer of anything below 2^22, which is all we round.
HEED_INLINE Vec nearest(Vec a) { return {(a.v + 0x1.8p23F) - 0x1.8p23F}; }
HEED_INLINE Vec power_of_two(Ints n) { return {(Floats)((n + 127) << 23)}; }
HEED_INLINE Vec scaled(Vec a, Vec n) {  // in two steps, each within the range of a normal power of two
  const Ints whole = __builtin_convertvector(n.v, Ints);
  const Ints half = whole >> 1;
  return mul(mul(a, power_of_two(half)), power_of_two(whole - half));
}

}  // namespace
}  // namespace heed
