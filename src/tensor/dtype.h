// Element types, and the exact conversions between float32 and its narrow relatives (IEEE round to nearest
// even).
//
// Besides plain elements there are blocks: 32, 128 or 256 consecutive numbers of a row that share scales
// (tensor/blocks.h says what each format holds). Sizes and strides of such a tensor count elements all the
// same; rows are whole blocks.
#pragma once
#include <bit>
#include <cstdint>
#include <string_view>

namespace heed {

enum class DType : uint8_t {
  kF32,
  kBF16,
  kF16,
  kI32,
  kI64,
  kU8,
  kI8,
  kE4M3,  // FP8, see below
  // Blocks, by the names that GGUF gives them: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K ... Q6_K, IQ4_NL, MXFP4.
  kQ40,
  kQ41,
  kQ50,
  kQ51,
  kQ80,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
  kMxfp4,
  // Blocks of our own, for quantised safetensors.
  kQ4Z,
  kQ8F,
  kQ8Z,
  kFp8,
};

struct BlockShape {
  int64_t elements, bytes;
};

// The block of a format; plain types have blocks of one element.
constexpr BlockShape block_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return {1, 4};
    case DType::kBF16:
    case DType::kF16:
      return {1, 2};
    case DType::kI64:
      return {1, 8};
    case DType::kU8:
    case DType::kI8:
    case DType::kE4M3:
      return {1, 1};
    case DType::kQ40:
    case DType::kIq4Nl:
      return {32, 18};
    case DType::kQ41:
      return {32, 20};
    case DType::kQ50:
      return {32, 22};
    case DType::kQ51:
      return {32, 24};
    case DType::kQ80:
      return {32, 34};
    case DType::kQ2K:
      return {256, 84};
    case DType::kQ3K:
      return {256, 110};
    case DType::kQ4K:
      return {256, 144};
    case DType::kQ5K:
      return {256, 176};
    case DType::kQ6K:
      return {256, 210};
    case DType::kMxfp4:
      return {32, 17};
    case DType::kQ4Z:
      return {32, 19};
    case DType::kQ8F:
      return {32, 36};
    case DType::kQ8Z:
      return {32, 35};
    case DType::kFp8:
      return {128, 132};
  }
  return {1, 0};
}

inline constexpr DType kLastDType = DType::kFp8;

constexpr bool is_blocks(DType dtype) { return block_of(dtype).elements > 1; }

// Of whole blocks.
constexpr int64_t bytes_of(DType dtype, int64_t elements) {
  const BlockShape block = block_of(dtype);
  return elements / block.elements * block.bytes;
}

// The bytes of one plain element.
constexpr int64_t size_of(DType dtype) { return is_blocks(dtype) ? 0 : block_of(dtype).bytes; }

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
    case DType::kI32:
      return "int32";
    case DType::kI64:
      return "int64";
    case DType::kU8:
      return "uint8";
    case DType::kI8:
      return "int8";
    case DType::kE4M3:
      return "fp8";
    case DType::kQ40:
      return "Q4_0";
    case DType::kQ41:
      return "Q4_1";
    case DType::kQ50:
      return "Q5_0";
    case DType::kQ51:
      return "Q5_1";
    case DType::kQ80:
      return "Q8_0";
    case DType::kQ2K:
      return "Q2_K";
    case DType::kQ3K:
      return "Q3_K";
    case DType::kQ4K:
      return "Q4_K";
    case DType::kQ5K:
      return "Q5_K";
    case DType::kQ6K:
      return "Q6_K";
    case DType::kIq4Nl:
      return "IQ4_NL";
    case DType::kMxfp4:
      return "MXFP4";
    case DType::kQ4Z:
      return "Q4_Z";
    case DType::kQ8F:
      return "Q8_F";
    case DType::kQ8Z:
      return "Q8_Z";
    case DType::kFp8:
      return "FP8";
  }
  return "?";
}

struct bf16 {  // NOLINT(readability-identifier-naming): reads as the built-in types do
  uint16_t bits;
};
struct f16 {  // NOLINT(readability-identifier-naming)
  uint16_t bits;
};
// FP8 E4M3 (OCP 8-bit Floating Point Specification 1.0): sign, 4 bits of exponent, 3 of mantissa. Numbers up
// to 448, the smallest but 0 is 2^-9; no infinities; 0x7f and 0xff are NaN.
struct e4m3 {  // NOLINT(readability-identifier-naming)
  uint8_t bits;
};

constexpr float to_float(float value) { return value; }
constexpr float to_float(bf16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }
constexpr float to_float(f16 value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  const uint32_t exponent = (value.bits >> 10) & 31u;
  const uint32_t mantissa = value.bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float small = static_cast<float>(mantissa) * 0x1p-24f;  // zero and subnormals
  return sign != 0 ? -small : small;
}
constexpr float to_float(e4m3 value) {
  const uint32_t sign = uint32_t{value.bits & 0x80u} << 24;
  const uint32_t rest = value.bits & 0x7fu;
  if (rest == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (rest >= 8) return std::bit_cast<float>(sign | ((rest << 20) + 0x3c000000u));
  const float small = static_cast<float>(rest) * 0x1p-9f;  // zero and subnormals
  return sign != 0 ? -small : small;
}

template <class T>
constexpr T from_float(float value);
template <>
constexpr float from_float<float>(float value) {
  return value;
}
template <>
constexpr bf16 from_float<bf16>(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<uint16_t>((bits >> 16) | 64u)};  // NaN stays NaN
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
template <>
constexpr f16 from_float<f16>(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};  // NaN
  if (rest < 0x38800000u) {  // below 2^-14: counted in steps of 2^-24, to which adding 2^23 rounds
    const float steps = std::bit_cast<float>(rest) * 0x1p24f + 0x1p23f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(steps) & 0x7fffffu))};
  }
  const uint32_t rounded = rest + 0xfffu + ((rest >> 13) & 1u);
  if (rounded >= 0x47800000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 and more: infinity
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}
// What is beyond 448, infinities among it, becomes 448; NaN becomes 0x7f.
template <>
constexpr e4m3 from_float<e4m3>(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return {0x7f};
  if (rest >= 0x43e00000u) return {static_cast<uint8_t>(sign | 0x7eu)};
  if (rest < 0x3c800000u) {  // below 2^-6: counted in steps of 2^-9, to which adding 2^23 rounds
    const float steps = std::bit_cast<float>(rest) * 0x1p9f + 0x1p23f;
    return {static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(steps) & 0x7fu))};
  }
  const uint32_t rounded = rest + 0x7ffffu + ((rest >> 20) & 1u);
  return {static_cast<uint8_t>(sign | ((rounded - 0x3c000000u) >> 20))};
}

// The value rounded to bfloat16 and back.
constexpr float rounded_to_bf16(float value) { return to_float(from_float<bf16>(value)); }

}  // namespace heed
