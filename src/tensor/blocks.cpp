#include "tensor/blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace heed {
namespace {

float half_at(const uint8_t* p) {
  f16 value;
  std::memcpy(&value, p, sizeof value);
  return to_float(value);
}

int nibble(const uint8_t* bytes, int i) { return i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4; }

// The fifth bit of element i.
int fifth(const uint8_t* bits, int i) { return (bits[i / 8] >> (i % 8)) & 1; }

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// E2M1 in halves, so that codes are whole.
constexpr int8_t kFp4Halves[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct Group {
  float scale, offset;
};
constexpr float kNone = -0.0F;  // the offset that changes no value, a zero's sign included

// Each format: kSize elements of a block, kGroup of a group; group(g) and code(i) of a block.
template <DType kType, int kElements, int kGroupSize>
struct Format {
  static constexpr DType kDType = kType;
  static constexpr int kSize = kElements;
  static constexpr int kGroup = kGroupSize;
};

struct Q40 : Format<DType::kQ40, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) { return {half_at(b), kNone}; }
  static int code(const uint8_t* b, int i) { return nibble(b + 2, i) - 8; }
};
struct Q41 : Format<DType::kQ41, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) { return {half_at(b), half_at(b + 2)}; }
  static int code(const uint8_t* b, int i) { return nibble(b + 4, i); }
};
struct Q50 : Format<DType::kQ50, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) { return {half_at(b), kNone}; }
  static int code(const uint8_t* b, int i) { return nibble(b + 6, i) + 16 * fifth(b + 2, i) - 16; }
};
struct Q51 : Format<DType::kQ51, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) { return {half_at(b), half_at(b + 2)}; }
  static int code(const uint8_t* b, int i) { return nibble(b + 8, i) + 16 * fifth(b + 4, i); }
};
struct Q80 : Format<DType::kQ80, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) { return {half_at(b), kNone}; }
  static int code(const uint8_t* b, int i) { return static_cast<int8_t>(b[2 + i]); }
};
struct Iq4Nl : Format<DType::kIq4Nl, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) { return {half_at(b), kNone}; }
  static int code(const uint8_t* b, int i) { return kIq4Values[nibble(b + 2, i)]; }
};
struct Mxfp4 : Format<DType::kMxfp4, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) { return {std::ldexp(1.0F, b[0] - 128), kNone}; }
  static int code(const uint8_t* b, int i) { return kFp4Halves[nibble(b + 1, i)]; }
};

struct Q4Z : Format<DType::kQ4Z, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) {
    const float scale = half_at(b);
    return {scale, -(scale * static_cast<float>(b[2]))};
  }
  static int code(const uint8_t* b, int i) { return nibble(b + 3, i); }
};
struct Q8F : Format<DType::kQ8F, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) {
    float scale = 0;
    std::memcpy(&scale, b, sizeof scale);
    return {scale, kNone};
  }
  static int code(const uint8_t* b, int i) { return static_cast<int8_t>(b[4 + i]); }
};

struct Q8Z : Format<DType::kQ8Z, 32, 32> {
  static Group group(const uint8_t* b, int /*g*/) {
    const float scale = half_at(b);
    return {scale, -(scale * static_cast<float>(b[2] - 128))};
  }
  static int code(const uint8_t* b, int i) { return static_cast<int8_t>(b[3 + i]); }
};

// Sign, 4 bits of exponent, 3 of mantissa; the smallest number but 0 is 2^-9.
struct Fp8 : Format<DType::kFp8, 128, 128> {
  static Group group(const uint8_t* b, int /*g*/) {
    float scale = 0;
    std::memcpy(&scale, b, sizeof scale);
    return {scale / 512, kNone};
  }
  static int code(const uint8_t* b, int i) {
    const int byte = b[4 + i];
    const int exponent = (byte >> 3) & 15;
    const int whole = exponent == 0 ? byte & 7 : (8 + (byte & 7)) << (exponent - 1);
    return byte >= 128 ? -whole : whole;
  }
};

// Q2_K: 16 bytes of [4-bit scale | 4-bit offset] | 64 bytes of 2-bit codes | f16 scale | f16 offset. A run of
// 128 elements lies in 32 bytes: four times 32 elements, by pairs of bits.
struct Q2K : Format<DType::kQ2K, 256, 16> {
  static Group group(const uint8_t* b, int g) {
    return {half_at(b + 80) * static_cast<float>(b[g] & 15),
            -(half_at(b + 82) * static_cast<float>(b[g] >> 4))};
  }
  static int code(const uint8_t* b, int i) {
    return (b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
  }
};

// Q3_K: 32 bytes of third bits (bit i / 32 of byte i % 32) | 64 bytes of 2-bit codes as Q2_K has them | 12
// bytes of 6-bit scales | f16 scale. A third bit that is not set takes 4 away; scales count from -32. Scale g
// has its low 4 bits in nibbles of the first 8 bytes, its high 2 in the last 4.
struct Q3K : Format<DType::kQ3K, 256, 16> {
  static Group group(const uint8_t* b, int g) {
    const uint8_t* s = b + 96;
    const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    const int high = (s[8 + g % 4] >> (g / 4 * 2)) & 3;
    return {half_at(b + 108) * static_cast<float>((low | (high << 4)) - 32), kNone};
  }
  static int code(const uint8_t* b, int i) {
    const int low = (b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    return low - (((b[i % 32] >> (i / 32)) & 1) != 0 ? 0 : 4);
  }
};

// The 6-bit scales and offsets of Q4_K and Q5_K in 12 bytes: those of groups 0 to 3 in the low 6 bits of
// bytes 0 to 3 and 4 to 7, those of groups 4 to 7 in nibbles of the last 4 bytes, with their high 2 bits
// above the first ones.
Group six_bits(const uint8_t* b, int g) {
  const uint8_t* s = b + 4;
  const int scale = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | (s[g - 4] >> 6 << 4);
  const int offset = g < 4 ? s[g + 4] & 63 : (s[g + 4] >> 4) | (s[g] >> 6 << 4);
  return {half_at(b) * static_cast<float>(scale), -(half_at(b + 2) * static_cast<float>(offset))};
}

// Q4_K: f16 scale | f16 offset | 12 bytes of scales | 128 bytes of nibbles; 64 elements lie in 32 bytes.
struct Q4K : Format<DType::kQ4K, 256, 32> {
  static Group group(const uint8_t* b, int g) { return six_bits(b, g); }
  static int code(const uint8_t* b, int i) {
    const int byte = b[16 + i / 64 * 32 + i % 32];
    return i % 64 < 32 ? byte & 15 : byte >> 4;
  }
};

// Q5_K: as Q4_K, with 32 bytes of fifth bits (bit i / 32 of byte i % 32) before the nibbles.
struct Q5K : Format<DType::kQ5K, 256, 32> {
  static Group group(const uint8_t* b, int g) { return six_bits(b, g); }
  static int code(const uint8_t* b, int i) {
    const int byte = b[48 + i / 64 * 32 + i % 32];
    return (i % 64 < 32 ? byte & 15 : byte >> 4) + (((b[16 + i % 32] >> (i / 32)) & 1) << 4);
  }
};

// Q6_K: 128 bytes of low nibbles | 64 bytes of pairs of high bits | 16 int8 scales | f16 scale. A run of 128
// elements has 64 bytes of nibbles, low ones first, and 32 of high bits; codes count from -32.
struct Q6K : Format<DType::kQ6K, 256, 16> {
  static Group group(const uint8_t* b, int g) {
    return {half_at(b + 208) * static_cast<float>(static_cast<int8_t>(b[192 + g])), kNone};
  }
  static int code(const uint8_t* b, int i) {
    const int run = i / 128;
    const int at = i % 128;
    const int byte = b[run * 64 + at % 64];
    const int low = at < 64 ? byte & 15 : byte >> 4;
    const int high = (b[128 + run * 32 + at % 32] >> (at / 32 * 2)) & 3;
    return (low | (high << 4)) - 32;
  }
};

// body(format) for the format of a dtype.
template <class Body>
auto with_format(DType dtype, Body body) {
  switch (dtype) {
    case DType::kQ40:
      return body(Q40());
    case DType::kQ41:
      return body(Q41());
    case DType::kQ50:
      return body(Q50());
    case DType::kQ51:
      return body(Q51());
    case DType::kQ80:
      return body(Q80());
    case DType::kQ2K:
      return body(Q2K());
    case DType::kQ3K:
      return body(Q3K());
    case DType::kQ4K:
      return body(Q4K());
    case DType::kQ5K:
      return body(Q5K());
    case DType::kQ6K:
      return body(Q6K());
    case DType::kIq4Nl:
      return body(Iq4Nl());
    case DType::kMxfp4:
      return body(Mxfp4());
    case DType::kQ4Z:
      return body(Q4Z());
    case DType::kQ8F:
      return body(Q8F());
    case DType::kQ8Z:
      return body(Q8Z());
    case DType::kFp8:
      return body(Fp8());
    default:
      break;
  }
  CHECK(false, name_of(dtype), "has no blocks");
  return body(Q80());
}

float value_of(const Group& group, int code) { return group.scale * static_cast<float>(code) + group.offset; }

void narrow_q8(const float* x, uint8_t* block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[i]));
  const float scale = largest / 127;
  const float inverse = scale > 0 ? 1 / scale : 0;
  const f16 stored = from_float<f16>(scale);
  std::memcpy(block, &stored, sizeof stored);
  for (int i = 0; i < 32; ++i) {
    const float code = std::clamp(std::nearbyint(x[i] * inverse), -127.0F, 127.0F);
    block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(code));
  }
}

void narrow_q4(const float* x, uint8_t* block) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i) extreme = std::abs(x[i]) > std::abs(extreme) ? x[i] : extreme;
  const float scale = extreme / -8;
  const float inverse = scale != 0 ? 1 / scale : 0;
  const f16 stored = from_float<f16>(scale);
  std::memcpy(block, &stored, sizeof stored);
  const auto code = [&](int i) {
    return static_cast<unsigned>(std::clamp(std::nearbyint(x[i] * inverse) + 8, 0.0F, 15.0F));
  };
  for (int i = 0; i < 16; ++i) block[2 + i] = static_cast<uint8_t>(code(i) | (code(i + 16) << 4));
}

}  // namespace

int group_of(DType dtype) {
  return with_format(dtype, [](auto format) { return decltype(format)::kGroup; });
}

void read_blocks(DType dtype, const void* blocks, int64_t elements, const BlockCodes& out) {
  CHECK(has_byte_codes(dtype), name_of(dtype));
  with_format(dtype, [&](auto format) {
    using F = decltype(format);
    const auto* b = static_cast<const uint8_t*>(blocks);
    for (int64_t first = 0; first < elements; first += F::kSize, b += block_of(F::kDType).bytes) {
      for (int g = 0; g < F::kSize / F::kGroup; ++g) {
        const Group group = F::group(b, g);
        out.scales[first / F::kGroup + g] = group.scale;
        out.offsets[first / F::kGroup + g] = group.offset;
      }
      for (int i = 0; i < F::kSize; ++i) out.codes[first + i] = static_cast<int8_t>(F::code(b, i));
    }
  });
}

void widen_blocks(DType dtype, const void* blocks, int64_t elements, float* out) {
  with_format(dtype, [&](auto format) {
    using F = decltype(format);
    const auto* b = static_cast<const uint8_t*>(blocks);
    for (int64_t first = 0; first < elements; first += F::kSize, b += block_of(F::kDType).bytes) {
      for (int g = 0; g < F::kSize; g += F::kGroup) {
        const Group group = F::group(b, g / F::kGroup);
        for (int i = g; i < g + F::kGroup; ++i) out[first + i] = value_of(group, F::code(b, i));
      }
    }
  });
}

float block_element(DType dtype, const void* blocks, int64_t index) {
  return with_format(dtype, [&](auto format) {
    using F = decltype(format);
    const auto* b = static_cast<const uint8_t*>(blocks) + index / F::kSize * block_of(F::kDType).bytes;
    const auto i = static_cast<int>(index % F::kSize);
    return value_of(F::group(b, i / F::kGroup), F::code(b, i));
  });
}

bool can_narrow(DType dtype) { return dtype == DType::kQ80 || dtype == DType::kQ40; }

void narrow_blocks(DType dtype, const float* x, int64_t elements, void* blocks) {
  CHECK(can_narrow(dtype), name_of(dtype));
  auto* b = static_cast<uint8_t*>(blocks);
  for (int64_t i = 0; i < elements; i += 32, b += block_of(dtype).bytes) {
    if (dtype == DType::kQ80) {
      narrow_q8(x + i, b);
    } else {
      narrow_q4(x + i, b);
    }
  }
}

float round_group(const float* x, int8_t* codes) {
  float largest = 0;
  bool finite = true;
  for (int i = 0; i < kRoundedGroup; ++i) {
    largest = std::max(largest, std::abs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  const bool usable = finite && largest >= 1e-30F;
  const float inverse = usable ? 127 / largest : 0;
  for (int i = 0; i < kRoundedGroup; ++i)
    codes[i] = usable ? static_cast<int8_t>(std::nearbyint(x[i] * inverse)) : int8_t{0};
  if (!finite) return NAN;
  return usable ? largest / 127 : 0;
}

}  // namespace heed
