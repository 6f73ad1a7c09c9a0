// Weights in blocks as kernels read them: codes in pairs of neighbours, as bfloat16, which holds every code
// exactly, and the scale and offset of each group. tensor/blocks.cpp defines the formats; here are the same
// bytes, read two at a time.
//
// pair(block, base, r): codes of elements base + r and base + r + 1; base is a multiple of 8, r is even and
// below 8. What bytes are read depends on `base` in ways that unrolled loops know at compile time.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/ptx.cuh"
#include "tensor/dtype.h"

namespace heed::cuda {

struct Group {
  float scale, offset;  // offset: 0 in formats without
};

namespace blocks {

__device__ __forceinline__ uint32_t subtract(uint32_t a, uint32_t b) {
  const __nv_bfloat162 c =
      __hsub2(*reinterpret_cast<__nv_bfloat162*>(&a), *reinterpret_cast<__nv_bfloat162*>(&b));
  return *reinterpret_cast<const uint32_t*>(&c);
}
__device__ __forceinline__ uint32_t multiply(uint32_t a, uint32_t b) {
  const __nv_bfloat162 c =
      __hmul2(*reinterpret_cast<__nv_bfloat162*>(&a), *reinterpret_cast<__nv_bfloat162*>(&b));
  return *reinterpret_cast<const uint32_t*>(&c);
}

// Two bytes, in the low bytes of the halves of a word. kEven: they begin at an even address.
template <bool kEven>
__device__ __forceinline__ uint32_t two_bytes(const uint8_t* at) {
  if constexpr (kEven) return __byte_perm(*reinterpret_cast<const uint16_t*>(at), 0, 0x4140);
  return at[0] | uint32_t{at[1]} << 16;
}
template <bool kEven>
__device__ __forceinline__ float half_at(const uint8_t* at) {
  if constexpr (kEven) return __half2float(*reinterpret_cast<const __half*>(at));
  return __half2float(__ushort_as_half(static_cast<uint16_t>(at[0] | uint32_t{at[1]} << 8)));
}
// f32 at a multiple of 2.
__device__ __forceinline__ float float_at(const uint8_t* at) {
  const auto* halves = reinterpret_cast<const uint16_t*>(at);
  return __uint_as_float(halves[0] | uint32_t{halves[1]} << 16);
}

// 128 + n is the bfloat16 whose mantissa is n.
__device__ __forceinline__ uint32_t with_exponent(uint32_t a, uint32_t mask) {
  return ptx::and_or(a, mask, 0x43004300);
}
// Whole numbers below 64 in bits of `mask` of the halves of a word: less kZero, as bfloat16.
template <int kZero>
__device__ __forceinline__ uint32_t whole(uint32_t numbers, uint32_t mask = 0x003f003f) {
  return subtract(with_exponent(numbers, mask), 0x43004300 + kZero * 0x00010001);
}
// int8 in the low bytes of the halves: the low seven bits, less 128 where the eighth is set.
__device__ __forceinline__ uint32_t signed_bytes(uint32_t bytes) {
  return subtract(with_exponent(bytes, 0x007f007f), with_exponent(bytes, 0x00800080));
}

__device__ __forceinline__ uint32_t nibbles(uint32_t bytes, bool high) {
  return (high ? bytes >> 4 : bytes) & 0x000f000f;
}
// The same as bfloat16, less kZero.
template <int kZero>
__device__ __forceinline__ uint32_t whole_nibbles(uint32_t bytes, bool high) {
  return whole<kZero>(high ? bytes >> 4 : bytes, 0x000f000f);
}

template <DType kType, int kGroupSize, bool kHasOffset = false, bool kEvenBytes = true>
struct Format {
  static constexpr DType kDType = kType;
  static constexpr int kSize = static_cast<int>(block_of(kType).elements);
  static constexpr int kBytes = static_cast<int>(block_of(kType).bytes);
  static constexpr int kGroup = kGroupSize;
  static constexpr bool kOffset = kHasOffset;
  static constexpr bool kEven = kEvenBytes;  // blocks begin at even addresses
};

// ---- Blocks of 32 ----

// 16 bytes of nibbles: elements i and i + 16 in byte i.
template <bool kEven>
__device__ __forceinline__ uint32_t nibbles_of_32(const uint8_t* bytes, int base, int r) {
  return nibbles(two_bytes<kEven>(bytes + base % 16 + r), base >= 16);
}
template <bool kEven, int kZero>
__device__ __forceinline__ uint32_t whole_of_32(const uint8_t* bytes, int base, int r) {
  return whole_nibbles<kZero>(two_bytes<kEven>(bytes + base % 16 + r), base >= 16);
}
// The fifth bits of two elements, as 16 each.
__device__ __forceinline__ uint32_t fifths_of_32(const uint8_t* bits, int base, int r) {
  const uint32_t two = *reinterpret_cast<const uint16_t*>(bits + base / 16 * 2) >> (base % 16 + r);
  return (two & 1) << 4 | (two & 2) << 19;
}

struct Q40 : Format<DType::kQ40, 32> {
  static __device__ Group group(const uint8_t* b, int /*g*/) { return {half_at<true>(b), 0}; }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return whole_of_32<true, 8>(b + 2, base, r);
  }
};
struct Q41 : Format<DType::kQ41, 32, true> {
  static __device__ Group group(const uint8_t* b, int /*g*/) {
    return {half_at<true>(b), half_at<true>(b + 2)};
  }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return whole_of_32<true, 0>(b + 4, base, r);
  }
};
struct Q50 : Format<DType::kQ50, 32> {
  static __device__ Group group(const uint8_t* b, int /*g*/) { return {half_at<true>(b), 0}; }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return whole<16>(nibbles_of_32<true>(b + 6, base, r) | fifths_of_32(b + 2, base, r));
  }
};
struct Q51 : Format<DType::kQ51, 32, true> {
  static __device__ Group group(const uint8_t* b, int /*g*/) {
    return {half_at<true>(b), half_at<true>(b + 2)};
  }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return whole<0>(nibbles_of_32<true>(b + 8, base, r) | fifths_of_32(b + 4, base, r));
  }
};
struct Q80 : Format<DType::kQ80, 32> {
  static __device__ Group group(const uint8_t* b, int /*g*/) { return {half_at<true>(b), 0}; }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return signed_bytes(two_bytes<true>(b + 2 + base + r));
  }
};
struct Q8F : Format<DType::kQ8F, 32> {
  static __device__ Group group(const uint8_t* b, int /*g*/) { return {float_at(b), 0}; }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return signed_bytes(two_bytes<true>(b + 4 + base + r));
  }
};
struct Q4Z : Format<DType::kQ4Z, 32, true, false> {
  static __device__ Group group(const uint8_t* b, int /*g*/) {
    const float scale = half_at<false>(b);
    return {scale, -(scale * static_cast<float>(b[2]))};
  }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return whole_of_32<false, 0>(b + 3, base, r);
  }
};
struct Q8Z : Format<DType::kQ8Z, 32, true, false> {
  static __device__ Group group(const uint8_t* b, int /*g*/) {
    const float scale = half_at<false>(b);
    return {scale, -(scale * static_cast<float>(b[2] - 128))};
  }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return signed_bytes(two_bytes<false>(b + 3 + base + r));
  }
};
struct Iq4Nl : Format<DType::kIq4Nl, 32> {
  static __device__ Group group(const uint8_t* b, int /*g*/) { return {half_at<true>(b), 0}; }
  // Bytes of the table (-127, -104, ...) are picked by number: three bits among eight, the fourth by mask.
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    const uint32_t n = nibbles_of_32<true>(b + 2, base, r);
    const uint32_t low = __byte_perm(0xbfad9881, 0xf6eaddcf, (n & 7) | (n >> 12 & 0x70));
    const uint32_t high = __byte_perm(0x26190d01, 0x71594535, (n & 7) | (n >> 12 & 0x70));
    const uint32_t mask = (n >> 3 & 1) * 0xff | (n >> 19 & 1) * 0xff00;
    return signed_bytes(__byte_perm((low & ~mask) | (high & mask), 0, 0x4140));
  }
};
struct Mxfp4 : Format<DType::kMxfp4, 32, false, false> {
  // 2^(byte - 128): codes are in halves. The smallest two are no normal numbers.
  static __device__ Group group(const uint8_t* b, int /*g*/) {
    const uint32_t e = b[0];
    return {__uint_as_float(e > 1 ? (e - 1) << 23 : 0x00200000U << e), 0};
  }
  // Sign, two bits of exponent and one of mantissa as those of a bfloat16, whose exponent counts otherwise.
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    const uint32_t n = nibbles_of_32<false>(b + 1, base, r);
    return multiply((n & 0x00080008) << 12 | (n & 0x00070007) << 6, 0x7f007f00);  // 2^127
  }
};

// ---- Blocks of 128: FP8 ----

struct Fp8 : Format<DType::kFp8, 128> {
  static __device__ Group group(const uint8_t* b, int /*g*/) { return {float_at(b), 0}; }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    const uint32_t n = two_bytes<true>(b + 4 + base + r);
    return multiply((n & 0x00800080) << 8 | (n & 0x007f007f) << 4, 0x7b807b80);  // 2^120
  }
};

// ---- Blocks of 256 ----

__device__ __forceinline__ uint32_t low_bits(const uint8_t* bytes, int base, int r) {  // Q2_K, Q3_K
  return two_bytes<true>(bytes + base / 128 * 32 + base % 32 + r) >> (base % 128 / 32 * 2) & 0x00030003;
}

struct Q2K : Format<DType::kQ2K, 16, true> {
  static __device__ Group group(const uint8_t* b, int g) {
    return {half_at<true>(b + 80) * static_cast<float>(b[g] & 15),
            -(half_at<true>(b + 82) * static_cast<float>(b[g] >> 4))};
  }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return whole<0>(low_bits(b + 16, base, r));
  }
};
struct Q3K : Format<DType::kQ3K, 16> {
  static __device__ Group group(const uint8_t* b, int g) {
    const uint8_t* s = b + 96;
    const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    const int high = (s[8 + g % 4] >> (g / 4 * 2)) & 3;
    return {half_at<true>(b + 108) * static_cast<float>((low | (high << 4)) - 32), 0};
  }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    const uint32_t third = two_bytes<true>(b + base % 32 + r) >> (base / 32) & 0x00010001;
    return whole<4>(low_bits(b + 32, base, r) | third << 2);
  }
};

// Scales and offsets of Q4_K and Q5_K.
__device__ __forceinline__ Group six_bits(const uint8_t* b, int g) {
  const uint8_t* s = b + 4;
  const int scale = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | (s[g - 4] >> 6 << 4);
  const int offset = g < 4 ? s[g + 4] & 63 : (s[g + 4] >> 4) | (s[g] >> 6 << 4);
  return {half_at<true>(b) * static_cast<float>(scale), -(half_at<true>(b + 2) * static_cast<float>(offset))};
}
__device__ __forceinline__ uint32_t nibbles_of_64(const uint8_t* bytes, int base, int r) {
  return nibbles(two_bytes<true>(bytes + base / 64 * 32 + base % 32 + r), base % 64 >= 32);
}

struct Q4K : Format<DType::kQ4K, 32, true> {
  static __device__ Group group(const uint8_t* b, int g) { return six_bits(b, g); }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    return whole_nibbles<0>(two_bytes<true>(b + 16 + base / 64 * 32 + base % 32 + r), base % 64 >= 32);
  }
};
struct Q5K : Format<DType::kQ5K, 32, true> {
  static __device__ Group group(const uint8_t* b, int g) { return six_bits(b, g); }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    const uint32_t fifth = two_bytes<true>(b + 16 + base % 32 + r) >> (base / 32) & 0x00010001;
    return whole<0>(nibbles_of_64(b + 48, base, r) | fifth << 4);
  }
};
struct Q6K : Format<DType::kQ6K, 16> {
  static __device__ Group group(const uint8_t* b, int g) {
    return {half_at<true>(b + 208) * static_cast<float>(static_cast<int8_t>(b[192 + g])), 0};
  }
  static __device__ uint32_t pair(const uint8_t* b, int base, int r) {
    const int run = base / 128;
    const int at = base % 128;
    const uint32_t low = nibbles(two_bytes<true>(b + run * 64 + at % 64 + r), at >= 64);
    const uint32_t high = two_bytes<true>(b + 128 + run * 32 + at % 32 + r) >> (at / 32 * 2) & 0x00030003;
    return whole<32>(low | high << 4);
  }
};

}  // namespace blocks

// body(format) for the format of a dtype.
template <class Body>
void with_format(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kQ40:
      return body(blocks::Q40());
    case DType::kQ41:
      return body(blocks::Q41());
    case DType::kQ50:
      return body(blocks::Q50());
    case DType::kQ51:
      return body(blocks::Q51());
    case DType::kQ80:
      return body(blocks::Q80());
    case DType::kQ2K:
      return body(blocks::Q2K());
    case DType::kQ3K:
      return body(blocks::Q3K());
    case DType::kQ4K:
      return body(blocks::Q4K());
    case DType::kQ5K:
      return body(blocks::Q5K());
    case DType::kQ6K:
      return body(blocks::Q6K());
    case DType::kIq4Nl:
      return body(blocks::Iq4Nl());
    case DType::kMxfp4:
      return body(blocks::Mxfp4());
    case DType::kQ4Z:
      return body(blocks::Q4Z());
    case DType::kQ8F:
      return body(blocks::Q8F());
    case DType::kQ8Z:
      return body(blocks::Q8Z());
    case DType::kFp8:
      return body(blocks::Fp8());
    default:
      CHECK(false, name_of(dtype), "has no blocks");
  }
}

}  // namespace heed::cuda
