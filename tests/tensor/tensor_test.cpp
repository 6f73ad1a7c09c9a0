#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/arena.h"
#include "tensor/shape.h"

namespace heed {
namespace {

TEST(DType, bfloat16_rounds_to_the_nearest_even) {
  EXPECT_EQ(from_float<bf16>(1.0F).bits, 0x3f80);
  EXPECT_EQ(from_float<bf16>(std::bit_cast<float>(0x3f808000U)).bits, 0x3f80) << "halfway: to even";
  EXPECT_EQ(from_float<bf16>(std::bit_cast<float>(0x3f818000U)).bits, 0x3f82) << "halfway: to even";
  EXPECT_EQ(from_float<bf16>(std::bit_cast<float>(0x3f808001U)).bits, 0x3f81);
  EXPECT_TRUE(std::isnan(rounded_to_bf16(std::bit_cast<float>(0x7f800001U))))
      << "a NaN must not become infinite";
  EXPECT_EQ(rounded_to_bf16(INFINITY), INFINITY);
  EXPECT_EQ(rounded_to_bf16(3.4e38F), INFINITY);
}

TEST(DType, every_float16_widens_to_its_value) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>((bits >> 10) & 31);
    const double mantissa = bits & 1023;
    double want = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    if ((bits & 0x8000) != 0) want = -want;
    const float got = to_float(f16{static_cast<uint16_t>(bits)});
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(got), mantissa != 0);
    } else {
      ASSERT_EQ(got, static_cast<float>(want)) << bits;
    }
  }
}

TEST(DType, every_fp8_widens_to_its_value_and_rounds_back_to_its_code) {
  for (int bits = 0; bits < 256; ++bits) {
    const e4m3 code = {static_cast<uint8_t>(bits)};
    const int exponent = (bits >> 3) & 15;
    const double mantissa = bits & 7;
    double want = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    if (bits >= 128) want = -want;
    if ((bits & 127) == 127) {
      EXPECT_TRUE(std::isnan(to_float(code))) << bits;
      EXPECT_EQ(from_float<e4m3>(to_float(code)).bits, 0x7f);
      continue;
    }
    ASSERT_EQ(to_float(code), static_cast<float>(want)) << bits;
    ASSERT_EQ(std::signbit(to_float(code)), bits >= 128) << bits;
    ASSERT_EQ(from_float<e4m3>(to_float(code)).bits, bits);
  }
}

TEST(DType, fp8_rounds_to_the_nearest_even_and_ends_at_448) {
  for (int bits = 0; bits < 126; ++bits) {  // between a code and the next
    const float low = to_float(e4m3{static_cast<uint8_t>(bits)});
    const float high = to_float(e4m3{static_cast<uint8_t>(bits + 1)});
    const float middle = (low + high) / 2;
    for (const float sign : {1.0F, -1.0F}) {
      const int s = sign < 0 ? 128 : 0;
      EXPECT_EQ(from_float<e4m3>(sign * middle).bits, s + bits + bits % 2) << bits;
      EXPECT_EQ(from_float<e4m3>(sign * std::nextafter(middle, 0.0F)).bits, s + bits) << bits;
      EXPECT_EQ(from_float<e4m3>(sign * std::nextafter(middle, 500.0F)).bits, s + bits + 1) << bits;
    }
  }
  for (const float large : {449.0F, 464.0F, 480.0F, 1e30F, INFINITY}) {
    EXPECT_EQ(from_float<e4m3>(large).bits, 0x7e) << large;
    EXPECT_EQ(from_float<e4m3>(-large).bits, 0xfe) << large;
  }
  EXPECT_EQ(from_float<e4m3>(-0.0F).bits, 0x80);
  EXPECT_EQ(from_float<e4m3>(1e-40F).bits, 0);
  EXPECT_EQ(from_float<e4m3>(std::bit_cast<float>(0xff800001U)).bits, 0x7f) << "a NaN stays NaN";
}

TEST(Tensor, views_share_memory) {
  float data[24];
  for (int i = 0; i < 24; ++i) data[i] = static_cast<float>(i);
  const Tensor t(data, DType::kF32, {4, 6});
  EXPECT_EQ(t.slice(1, 3).f32()[0], 6);
  EXPECT_EQ(t.slice(1, 3).size[0], 2);
  const Tensor heads = t.split_last(2, 3);
  EXPECT_EQ(heads.rank, 3);
  EXPECT_EQ(heads.f32()[1 * heads.stride[0] + 1 * heads.stride[1] + 2], 6 + 3 + 2);
  EXPECT_TRUE(heads.contiguous());
  EXPECT_EQ(describe(t), "float32 [4, 6]");
}

TEST(Shapes, a_mismatch_aborts_naming_op_tensor_and_sizes) {
  float data[24];
  const Tensor a(data, DType::kF32, {4, 6}), b(data, DType::kF32, {3, 5});
  EXPECT_EQ(Shapes("op").match(a, "a", {"rows", "in"})["in"], 6);
  EXPECT_DEATH(Shapes("op").match(a, "a", {"rows", "in"}).match(b, "b", {"out", "in"}), "op.*b.*in.*6.*5");
  EXPECT_DEATH(Shapes("op").match(a, "a", {"rows"}), "op.*a");
}

TEST(Arena, released_memory_is_taken_again_at_the_same_place) {
  Arena arena;
  const Tensor first = arena.take(DType::kF32, {10});
  void* place = nullptr;
  {
    const ArenaScope scope(arena);
    place = arena.take(DType::kBF16, {100, 100}).data;
  }
  EXPECT_EQ(arena.take(DType::kBF16, {100, 100}).data, place);
  EXPECT_NE(first.data, place);
}

TEST(Arena, grows_without_moving_what_was_taken) {
  Arena arena;
  std::vector<Tensor> taken;
  for (int i = 0; i < 50; ++i) {
    taken.push_back(arena.take(DType::kF32, {100'000}));
    std::fill_n(taken.back().mutable_f32(), 100'000, static_cast<float>(i));
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(taken[i].f32()[99'999], static_cast<float>(i));
  const int64_t capacity = arena.capacity();
  arena.release({});
  for (int i = 0; i < 50; ++i) arena.take(DType::kF32, {100'000});
  EXPECT_EQ(arena.capacity(), capacity) << "the same step needs no more memory the second time";
}

}  // namespace
}  // namespace heed
