// The ops of vision towers: ref by hand, then the cpu backend against ref on every instruction set.
#include <gtest/gtest.h>

#include "tests/kernels/cases_vision.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/on_isa.h"

namespace heed {
namespace {

using namespace cases;

TEST(RefVision, by_hand) {
  ThreadPool pool(1);
  Stream stream{&pool};
  const Kernels& ref = ref_kernels();
  const auto view = [](std::vector<float>& v, std::initializer_list<int64_t> sizes) {
    return Tensor(v.data(), DType::kF32, sizes);
  };
  std::vector<float> x = {1, 3, 5, 7};
  std::vector<float> weight = {1, 1, 2, 1};
  std::vector<float> bias = {0, 0, 0, 10};
  std::vector<float> out(4);
  ref.layer_norm(stream, {.x = view(x, {1, 4}),
                          .weight = view(weight, {4}),
                          .bias = view(bias, {4}),
                          .eps = 0,
                          .out = view(out, {1, 4})});
  const double deviation = std::sqrt(5.0);
  EXPECT_NEAR(out[0], -3 / deviation, 1e-6);
  EXPECT_NEAR(out[2], 2 / deviation, 1e-6);
  EXPECT_NEAR(out[3], 10 + 3 / deviation, 1e-6);

  ref.clamp(stream, {.lowest = 2, .highest = 5, .x = view(x, {2, 2})});
  EXPECT_EQ(x, (std::vector<float>{2, 3, 5, 5}));
  ref.standardise(stream, {.shift = view(bias, {4}), .scale = view(weight, {4}), .x = view(x, {1, 4})});
  EXPECT_EQ(x, (std::vector<float>{2, 3, 10, -5}));

  // A grid of 4 x 2: columns 0 and 1, then 2 and 3, of both rows.
  std::vector<float> grid = {1, 2, 30, 40, 3, 6, 10, 40};
  std::vector<float> averages(2);
  ref.average_patches(
      stream, {.x = view(grid, {8, 1}), .columns = 4, .pool = 2, .scale = 2, .out = view(averages, {2, 1})});
  EXPECT_EQ(averages, (std::vector<float>{6, 60}));

  std::vector<float> gate = {-1, 2};
  std::vector<float> act(2);
  ref.gated_act(stream, {.act = Act::kRelu, .gate = view(gate, {1, 2}), .up = {}, .out = view(act, {1, 2})});
  EXPECT_EQ(act, (std::vector<float>{0, 2}));
}

class CpuVision : public OnIsa {};

TEST_P(CpuVision, row_ops_equal_ref) {
  for (const RowCase& c : row_cases()) {
    if (c.heads > 0 || c.accumulate) continue;
    SCOPED_TRACE(std::to_string(c.rows) + "x" + std::to_string(c.dim));
    VisionRows rows(c, 3);
    for (const auto& [k, x] : {std::pair{&ref, &rows.want}, {kernels, &rows.got}})
      k->clamp(stream, {.lowest = -1.5F, .highest = 2.25F, .x = x->t});
    expect_close(rows.got.values(), rows.want.values(), "clamp");

    RowCase f32 = c;
    f32.dtype = DType::kF32;
    VisionRows x(f32, 5);
    Array want(c.dtype, {c.rows, c.dim}, c.pad);
    Array got = twin_of(want);
    for (const auto& [k, out] : {std::pair{&ref, &want}, {kernels, &got}}) {
      k->layer_norm(stream,
                    {.x = x.want.t, .weight = x.first.t, .bias = x.second.t, .eps = 1e-6F, .out = out->t});
    }
    expect_close(got.values(), want.values(), suffixed("layer_norm", c.dtype));
    kernels->layer_norm(
        stream, {.x = x.got.t, .weight = x.first.t, .bias = x.second.t, .eps = 1e-6F, .out = x.got.t});
    EXPECT_TRUE(c.dtype != DType::kF32 || same_bits(x.got.values(), got.values())) << "in place";

    VisionRows y(f32, 7);
    for (const auto& [k, t] : {std::pair{&ref, &y.want}, {kernels, &y.got}})
      k->standardise(stream, {.shift = y.second.t, .scale = y.first.t, .x = t->t});
    expect_close(y.got.values(), y.want.values(), "standardise");
  }
}

TEST_P(CpuVision, averages_equal_ref) {
  for (const AverageCase& c : average_cases()) {
    SCOPED_TRACE(std::to_string(c.columns) + "x" + std::to_string(c.rows));
    Random random(9);
    Array x(DType::kF32, {int64_t{c.columns} * c.rows, c.dim}, c.pad);
    x.fill(random);
    Array want(DType::kF32, {int64_t{c.columns} * c.rows / c.pool / c.pool, c.dim}, c.pad);
    Array got = twin_of(want);
    for (const auto& [k, out] : {std::pair{&ref, &want}, {kernels, &got}}) {
      k->average_patches(stream,
                         {.x = x.t, .columns = c.columns, .pool = c.pool, .scale = 1.5F, .out = out->t});
    }
    expect_close(got.values(), want.values(), "average_patches");
  }
}

TEST_P(CpuVision, an_activation_without_a_factor_equals_one_with_ones) {
  for (const Act act : kActs) {
    for (const RowCase& c : row_cases()) {
      Random random(11);
      Array gate = row_array(c);
      gate.fill(random, -6, 6);
      Array ones = row_array(c);
      ones.fill(random, 1, 1);
      Array want = row_array(c, c.dtype);
      Array got = twin_of(want);
      kernels->gated_act(stream, {.act = act, .gate = gate.t, .up = ones.t, .out = want.t});
      kernels->gated_act(stream, {.act = act, .gate = gate.t, .up = {}, .out = got.t});
      EXPECT_TRUE(same_bits(got.values(), want.values()));
    }
  }
}

INSTANTIATE_ON_ISA(CpuVision);

}  // namespace
}  // namespace heed
