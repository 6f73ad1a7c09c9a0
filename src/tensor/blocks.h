// Numbers in blocks: what each format of quantised weights stores, and the float32 that it stands for.
//
// Every format is a whole number (a code) for each element, and for each group of 16, 32 or 128 a scale and
// perhaps an offset: value = scale * code + offset, in float32 with each operation rounded. Codes are within
// int8, but those of FP8. This is the definition; kernels read the same bytes in their own ways. Layouts
// (f16: IEEE half; a nibble is half a byte, the low one first; `l` and `h` are the low and high nibbles of
// byte i, elements i and i + 16):
//
//   Q8_0    f16 d | 32 int8                      d * q
//   Q4_0    f16 d | 16 bytes                     d * (nibble - 8)
//   Q4_1    f16 d | f16 m | 16 bytes             d * nibble + m
//   Q5_0    f16 d | 32 fifth bits | 16 bytes     d * (nibble + 16 * bit - 16)
//   Q5_1    f16 d | f16 m | 32 bits | 16 bytes   d * (nibble + 16 * bit) + m
//   IQ4_NL  f16 d | 16 bytes                     d * table[nibble]
//   MXFP4   scale 2^(byte - 127) | 16 bytes      FP4 E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives
//   Q4_Z    f16 d | u8 z | 16 bytes              d * nibble - d * z
//   Q8_F    f32 d | 32 int8                      d * q
//   Q8_Z    f16 d | u8 z | 32 int8               d * q - d * (z - 128)
//   FP8     f32 d | 128 bytes                    d * FP8 E4M3, as d / 512 * (512 * E4M3): whole numbers
//   K       256 elements: f16 scales of the block, times 4, 6 or 8-bit ones of its 8 or 16 groups; Q2_K, Q4_K
//   and
//           Q5_K have offsets likewise, which are subtracted. blocks.cpp shows each.
//
// Q4_Z, Q8_F, Q8_Z and FP8 are this project's, for checkpoints whose weights are d * (q - z): what such a
// scale and zero point stand for is exact in them (docs/quantisation.md). FP8's E4M3 has no infinities and
// here no NaN: a block that had one has d = NaN.
//
// Sources: github.com/ggml-org/ggml, src/ggml-common.h (layouts); OCP Microscaling Formats 1.0 (MXFP4); OCP
// 8-bit Floating Point Specification 1.0 (E4M3).
#pragma once
#include <cstdint>

#include "tensor/dtype.h"

namespace heed {

// Elements that share a scale: 16, 32 or 128.
int group_of(DType dtype);

// Whether codes are within int8: then linear layers may round what is multiplied with them.
constexpr bool has_byte_codes(DType dtype) { return is_blocks(dtype) && dtype != DType::kFp8; }

// What `elements` of a row, whole blocks of byte codes, hold: codes [elements], scales and offsets [elements
// / group].
struct BlockCodes {
  int8_t* codes;
  float* scales;
  float* offsets;
};
void read_blocks(DType dtype, const void* blocks, int64_t elements, const BlockCodes& out);

// The same as float32.
void widen_blocks(DType dtype, const void* blocks, int64_t elements, float* out);
// Element `index` of a row that begins at `blocks`.
float block_element(DType dtype, const void* blocks, int64_t index);

// Whether narrow_blocks() writes a format: Q8_0 and Q4_0.
bool can_narrow(DType dtype);
// Rounds `elements` of a row, whole blocks, to Q8_0 (scale: the largest magnitude over 127) or Q4_0 (the
// element of largest magnitude becomes -8). Values are finite.
void narrow_blocks(DType dtype, const float* x, int64_t elements, void* blocks);

// How linear layers round what is multiplied with blocks: 32 elements share scale = largest magnitude / 127,
// and a code is the nearest whole number to x * (127 / largest), ties to even. Where the largest is below
// 1e-30 all is zero; where an element is not finite the scale is NaN. x = scale * code.
inline constexpr int kRoundedGroup = 32;
float round_group(const float* x, int8_t* codes);  // returns the scale

}  // namespace heed
