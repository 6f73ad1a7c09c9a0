// Blocks by hand; tools/block_formats_diff.py compares every format with another implementation, bit by bit.
#include "tensor/blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace heed {
namespace {

TEST(Blocks, float16_rounds_to_the_nearest_and_ties_to_even) {
  for (int bits = 0; bits < 0x7c00; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = to_float(f16{half});
    ASSERT_EQ(from_float<f16>(value).bits, half);
    ASSERT_EQ(from_float<f16>(-value).bits, half | 0x8000);
    const float above = bits == 0x7bff ? 65536.0F : to_float(f16{static_cast<uint16_t>(bits + 1)});
    const float middle = value + (above - value) / 2;
    const int even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(from_float<f16>(middle).bits, even) << value;
    ASSERT_EQ(from_float<f16>(std::nextafter(middle, 0.0F)).bits, bits);
    ASSERT_EQ(from_float<f16>(std::nextafter(middle, 1e9F)).bits, bits + 1);
  }
  EXPECT_EQ(from_float<f16>(INFINITY).bits, 0x7c00);
  EXPECT_EQ(from_float<f16>(-1e10F).bits, 0xfc00);
  EXPECT_TRUE(std::isnan(to_float(from_float<f16>(NAN))));
}

TEST(Blocks, a_q8_block_and_a_q4_block_are_by_hand) {
  uint8_t q8[34] = {0x00, 0x38};  // f16 0.5
  q8[2] = 3;
  q8[33] = 0x80;
  EXPECT_EQ(block_element(DType::kQ80, q8, 0), 1.5F);
  EXPECT_EQ(block_element(DType::kQ80, q8, 31), -64.0F);
  uint8_t q4[18] = {0x00, 0x40};  // 2
  q4[2] = 0xf1;
  EXPECT_EQ(block_element(DType::kQ40, q4, 0), -14.0F);
  EXPECT_EQ(block_element(DType::kQ40, q4, 16), 14.0F);
  EXPECT_EQ(block_element(DType::kQ40, q4, 1), -16.0F);
}

TEST(Blocks, an_element_is_what_its_row_holds) {
  std::mt19937 random(1);
  for (int d = static_cast<int>(DType::kQ40); d <= static_cast<int>(kLastDType); ++d) {
    const auto dtype = static_cast<DType>(d);
    std::vector<uint8_t> blocks(static_cast<size_t>(bytes_of(dtype, 512)));
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
    std::vector<float> row(512);
    widen_blocks(dtype, blocks.data(), 512, row.data());
    for (int64_t i = 0; i < 512; ++i) {
      const float value = block_element(dtype, blocks.data(), i);
      ASSERT_TRUE(value == row[i] || (std::isnan(value) && std::isnan(row[i]))) << name_of(dtype) << " " << i;
    }
  }
}

TEST(Blocks, narrowed_values_are_within_half_a_step) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const DType dtype : {DType::kQ80, DType::kQ40}) {
    for (const float size : {1.0F, 0.1F, 300.0F}) {
      std::vector<float> x(320);
      for (float& value : x) value = size * normal(random);
      std::fill_n(x.begin() + 32, 32, 0.0F);
      std::vector<uint8_t> blocks(static_cast<size_t>(bytes_of(dtype, 320)));
      narrow_blocks(dtype, x.data(), 320, blocks.data());
      std::vector<float> back(320);
      widen_blocks(dtype, blocks.data(), 320, back.data());
      for (size_t i = 0; i < 320; ++i) {
        float largest = 0;
        for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) largest = std::max(largest, std::abs(x[j]));
        // Q4_0 has one code more below zero than above: the other end is cut. f16 scales are off by up to
        // 2^-11.
        const float step = dtype == DType::kQ80 ? 0.5F / 127 + 5e-4F : 1.0F / 8 + 5e-4F;
        EXPECT_LE(std::abs(back[i] - x[i]), step * largest) << name_of(dtype) << " " << i;
      }
      EXPECT_EQ(back[40], 0);
    }
  }
}

TEST(Blocks, a_rounded_group_has_its_largest_at_127) {
  float x[kRoundedGroup] = {};
  int8_t codes[kRoundedGroup];
  x[3] = -2;
  x[4] = 1;
  x[5] = 0.5F / 127;
  EXPECT_EQ(round_group(x, codes), 2.0F / 127);
  EXPECT_EQ(codes[3], -127);
  EXPECT_EQ(codes[4], 64);  // 63.5: ties to even
  EXPECT_EQ(codes[5], 0);
  x[9] = INFINITY;
  EXPECT_TRUE(std::isnan(round_group(x, codes)));
  const float small[kRoundedGroup] = {1e-31F};
  EXPECT_EQ(round_group(small, codes), 0);
}

}  // namespace
}  // namespace heed
