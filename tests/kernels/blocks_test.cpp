// Linear layers and lookups over weights in blocks: every format on every instruction set against ref, and
// ref against double precision.
#include <gtest/gtest.h>

#include "tests/kernels/cases_blocks.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/on_isa.h"

namespace heed {
namespace {

using namespace cases;

TEST(RefBlocks, linear_is_the_product_of_rounded_x_and_widened_weights) {
  ThreadPool pool(1);
  Stream stream{&pool};
  for (const DType type : kBlockTypes) {
    SCOPED_TRACE(std::string(name_of(type)));
    BlockLinearProblem p({2, 2, 3, DType::kF32, true}, type, 5);
    const int64_t in = p.x.t.size[1];
    std::vector<double> want;
    for (int64_t t = 0; t < 2; ++t) {
      std::vector<double> rounded;
      for (int64_t i = 0; i < in; i += 32) {
        double largest = 0;
        for (int64_t j = i; j < i + 32; ++j)
          largest = std::max(largest, std::abs(double{p.x.t.f32()[t * in + j]}));
        for (int64_t j = i; j < i + 32; ++j)
          rounded.push_back(std::nearbyint(p.x.t.f32()[t * in + j] * (127 / largest)) * largest / 127);
      }
      for (int64_t o = 0; o < 3; ++o) {
        std::vector<float> row(static_cast<size_t>(in));
        widen_blocks(type, p.weight.t.slice(o, o + 1).data, in, row.data());
        double sum = p.bias.t.f32()[o];
        for (int64_t i = 0; i < in; ++i)
          sum += rounded[static_cast<size_t>(i)] * double{row[static_cast<size_t>(i)]};
        want.push_back(sum);
      }
    }
    ref_kernels().linear(stream, p.args);
    expect_close(p.out.values(), want, "linear blocks");
  }
}

class CpuBlocks : public OnIsa {};
INSTANTIATE_ON_ISA(CpuBlocks);

TEST_P(CpuBlocks, linear_equals_ref) {
  for (const DType type : kBlockTypes) {
    for (const BlockLinearCase& c : block_linear_cases()) {
      SCOPED_TRACE(std::string(name_of(type)) + " " + std::to_string(c.tokens) + "x" +
                   std::to_string(width_of(c, type)) + "x" + std::to_string(c.out));
      BlockLinearProblem want(c, type, 3);
      BlockLinearProblem got(c, type, 3);
      ref.linear(stream, want.args);
      kernels->linear(stream, got.args);
      expect_close(got.out.values(), want.out.values(), "linear blocks");
    }
  }
}

TEST_P(CpuBlocks, a_row_has_the_same_bits_in_every_batch_and_on_every_number_of_threads) {
  constexpr int64_t kMost = 41;
  constexpr int64_t kOut = 70;
  for (const DType type : kBlockTypes) {
    SCOPED_TRACE(std::string(name_of(type)));
    BlockLinearProblem whole({kMost, 2, kOut, DType::kBF16, true}, type, 7);
    kernels->linear(stream, whole.args);
    const std::vector<float> all = whole.out.values();
    for (int64_t rows = 1; rows < kMost; rows += rows < 18 ? 1 : 9) {
      ThreadPool other(static_cast<int>(rows % 4) + 1);
      Stream other_stream{&other};
      const int64_t first = kMost - rows;
      Array out(DType::kF32, {rows, kOut});
      LinearArgs args = whole.args;
      args.x = whole.x.t.slice(first, kMost);
      args.out = out.t;
      kernels->linear(other_stream, args);
      ASSERT_TRUE(same_bits(out.values(), std::vector<float>(all.begin() + first * kOut, all.end())))
          << rows << " rows";
    }
  }
}

TEST_P(CpuBlocks, the_largest_codes_do_not_overflow) {
  for (const DType type : kBlockTypes) {
    for (const int byte : {0x00, 0x80, 0x7f, 0xff}) {
      SCOPED_TRACE(std::string(name_of(type)) + " of bytes " + std::to_string(byte));
      BlockLinearProblem p({3, 2, 20}, type, 11);
      const BlockFactors factors = factors_of(type);
      for (int64_t b = 0; b < std::ssize(p.weight.memory); b += block_of(type).bytes) {
        std::memset(p.weight.memory.data() + b, byte, static_cast<size_t>(block_of(type).bytes));
        const f16 one = from_float<f16>(factors.largest / 4);  // so that ref's own sums stay near
        for (const int at : factors.at) std::memcpy(p.weight.memory.data() + b + at, &one, sizeof one);
        if (type == DType::kMxfp4) p.weight.memory[b] = 126;
        const float quarter = 1 / 508.0F;
        if (type == DType::kQ8F) std::memcpy(p.weight.memory.data() + b, &quarter, sizeof quarter);
      }
      for_each(p.x.t, [&](int64_t at) { write(p.x.t, at, at % 3 == 0 ? 1.0F : -1.0F); });
      ref.linear(stream, p.args);
      const std::vector<float> want = p.out.values();
      kernels->linear(stream, p.args);
      expect_close(p.out.values(), want, "linear blocks");
    }
  }
}

TEST_P(CpuBlocks, what_is_not_finite_reaches_its_row_and_no_other) {
  const float odd[] = {NAN, INFINITY, -INFINITY};
  for (const DType x : {DType::kF32, DType::kBF16}) {
    for (const float value : odd) {
      BlockLinearProblem clean({9, 1, 20, x}, DType::kQ80, 13);
      BlockLinearProblem poisoned({9, 1, 20, x}, DType::kQ80, 13);
      write(poisoned.x.t, 4 * poisoned.x.t.stride[0] + 33, value);
      kernels->linear(stream, clean.args);
      kernels->linear(stream, poisoned.args);
      const std::vector<float> want = clean.out.values();
      const std::vector<float> got = poisoned.out.values();
      for (size_t i = 0; i < want.size(); ++i) {
        if (i / 20 == 4) {
          EXPECT_TRUE(std::isnan(got[i])) << i;
        } else {
          EXPECT_EQ(got[i], want[i]) << i;
        }
      }
    }
  }
}

TEST_P(CpuBlocks, zeros_and_the_smallest_numbers_give_zero) {
  for (const float value : {0.0F, 1e-38F, -1e-45F, 9e-31F}) {
    BlockLinearProblem p({2, 1, 20}, DType::kQ40, 17);
    for_each(p.x.t, [&](int64_t at) { write(p.x.t, at, value); });
    kernels->linear(stream, p.args);
    for (const float out : p.out.values()) EXPECT_EQ(out, 0) << value;
  }
}

TEST_P(CpuBlocks, expert_linear_equals_ref_and_linear_on_each_row) {
  for (const DType type : kBlockTypes) {
    SCOPED_TRACE(std::string(name_of(type)));
    Random random(19);
    const int64_t in = block_of(type).elements == 32 ? 96 : 256;
    const std::vector<int32_t> starts = {0, 1, 1, 12, 14};
    std::vector<BlockArray> arrays;
    std::vector<Tensor> weights;
    for (int e = 0; e < 4; ++e) arrays.emplace_back(type, 21, in, random);
    for (const BlockArray& array : arrays) weights.push_back(array.t);
    Array x(DType::kBF16, {14, in}, 32);
    x.fill(random);
    Array bias(DType::kF32, {4, 21}, 1);
    bias.fill(random);
    std::vector<int32_t> rows;
    for (int i = 0; i < 14; ++i) rows.push_back(random.below(14));
    for (const bool gathered : {true, false}) {
      Array want(DType::kF32, {14, 21}, 3);
      Array got(DType::kF32, {14, 21}, 3);
      ExpertLinearArgs args = {.x = x.t,
                               .rows = gathered ? rows.data() : nullptr,
                               .expert_start = starts.data(),
                               .weights = weights,
                               .bias = bias.t,
                               .out = want.t};
      ref.expert_linear(stream, args);
      args.out = got.t;
      kernels->expert_linear(stream, args);
      expect_close(got.values(), want.values(), "linear blocks");
      Array alone(DType::kF32, {14, 21}, 3);
      for (int e = 0; e < 4; ++e) {
        for (int i = starts[e]; i < starts[e + 1]; ++i) {
          const int row = gathered ? rows[i] : i;
          Tensor own_bias(bias.t.as<float>() + e * bias.t.stride[0], DType::kF32, {21});
          kernels->linear(stream, {.x = x.t.slice(row, row + 1),
                                   .weight = weights[e],
                                   .bias = own_bias,
                                   .out = alone.t.slice(i, i + 1)});
        }
      }
      EXPECT_TRUE(same_bits(got.values(), alone.values()));
    }
  }
}

TEST_P(CpuBlocks, embed_equals_ref) {
  for (const DType type : kBlockTypes) {
    Random random(23);
    const BlockArray table(type, 7, 512, random, 1, 1);
    const int32_t ids[] = {3, 6, 0, 3};
    Array want(DType::kF32, {4, 512}, 2);
    Array got(DType::kF32, {4, 512}, 2);
    ref.embed(stream, {.table = table.t, .ids = ids, .scale = 3.3F, .out = want.t});
    kernels->embed(stream, {.table = table.t, .ids = ids, .scale = 3.3F, .out = got.t});
    expect_close(got.values(), want.values(), "embed");
  }
}

}  // namespace
}  // namespace heed
