// The ops of vision towers, and those that copy and sharpen, on the cuda backend: against ref over the common
// cases.
#include "tests/kernels/cases_vision.h"
#include "tests/kernels/cuda/gpu.h"

namespace heed {
namespace {

using namespace cases;

class CudaVision : public Gpu {
 protected:
  static std::string suffixed(std::string op, DType dtype) {
    return dtype == DType::kBF16 ? op + " bfloat16" : op;
  }
};

TEST_F(CudaVision, row_ops_equal_ref) {
  for (const RowCase& c : row_cases()) {
    if (c.heads > 0 || c.accumulate) continue;
    SCOPED_TRACE(std::to_string(c.rows) + "x" + std::to_string(c.dim));
    VisionRows rows(c, 3);
    ref.clamp(host, {.lowest = -1.5F, .highest = 2.25F, .x = rows.want.t});
    Tensor x = put(rows.got);
    cuda.clamp(stream, {.lowest = -1.5F, .highest = 2.25F, .x = x});
    get(rows.got, x);
    expect_close(rows.got.values(), rows.want.values(), "clamp");

    RowCase f32 = c;
    f32.dtype = DType::kF32;
    VisionRows y(f32, 5);
    Array want(c.dtype, {c.rows, c.dim}, c.pad);
    Array got = twin_of(want);
    LayerNormArgs norm = {
        .x = y.want.t, .weight = y.first.t, .bias = y.second.t, .eps = 1e-6F, .out = want.t};
    ref.layer_norm(host, norm);
    norm = {.x = put(y.got), .weight = put(y.first), .bias = put(y.second), .eps = 1e-6F, .out = put(got)};
    cuda.layer_norm(stream, norm);
    get(got, norm.out);
    expect_close(got.values(), want.values(), suffixed("layer_norm", c.dtype));

    ref.standardise(host, {.shift = y.second.t, .scale = y.first.t, .x = y.want.t});
    x = put(y.got);
    cuda.standardise(stream, {.shift = put(y.second), .scale = put(y.first), .x = x});
    get(y.got, x);
    expect_close(y.got.values(), y.want.values(), "standardise");
    forget();
  }
}

TEST_F(CudaVision, averages_equal_ref) {
  for (const AverageCase& c : average_cases()) {
    SCOPED_TRACE(std::to_string(c.columns) + "x" + std::to_string(c.rows));
    Random random(9);
    Array x(DType::kF32, {int64_t{c.columns} * c.rows, c.dim}, c.pad);
    x.fill(random);
    Array want(DType::kF32, {int64_t{c.columns} * c.rows / c.pool / c.pool, c.dim}, c.pad);
    Array got = twin_of(want);
    AveragePatchesArgs args = {.x = x.t, .columns = c.columns, .pool = c.pool, .scale = 1.5F, .out = want.t};
    ref.average_patches(host, args);
    args.x = put(x);
    args.out = put(got);
    cuda.average_patches(stream, args);
    get(got, args.out);
    expect_close(got.values(), want.values(), "average_patches");
    forget();
  }
}

TEST_F(CudaVision, copies_equal_ref) {
  for (const RowCase& c : row_cases()) {
    for (const auto& [from, to] : {std::pair{DType::kF32, DType::kF32},
                                   {DType::kF32, DType::kBF16},
                                   {DType::kBF16, DType::kF32},
                                   {DType::kBF16, DType::kBF16}}) {
      Random random(13);
      Array x = row_array(c, from);
      x.fill(random);
      Array want = row_array(c, to);
      Array got = twin_of(want);
      ref.copy(host, {.x = x.t, .out = want.t});
      const Tensor out = put(got);
      cuda.copy(stream, {.x = put(x), .out = out});
      get(got, out);
      expect_close(got.values(), want.values(), "gather_rows");
      forget();
    }
  }
}

TEST_F(CudaVision, temper_equals_ref) {
  const std::vector<int32_t> positions = {0, 8190, 8191, 500000};
  Random random(17);
  Array want(DType::kF32, {4, 3, 36}, 4);
  want.fill(random);
  Array got = twin_of(want);
  TemperArgs args = {.positions = positions.data(), .temperature = 0.1F, .floor_scale = 8192, .x = want.t};
  ref.temper(host, args);
  args.positions = put(positions);
  args.x = put(got);
  cuda.temper(stream, args);
  get(got, args.x);
  expect_close(got.values(), want.values(), "temper");
}

TEST_F(CudaVision, an_activation_needs_no_factor) {
  for (const Act act : kActs) {
    const RowCase c = {5, 64};
    Random random(19);
    Array gate = row_array(c);
    gate.fill(random, -6, 6);
    Array want = row_array(c);
    Array got = twin_of(want);
    ref.gated_act(host, {.act = act, .gate = gate.t, .up = {}, .out = want.t});
    const Tensor out = put(got);
    cuda.gated_act(stream, {.act = act, .gate = put(gate), .up = {}, .out = out});
    get(got, out);
    expect_close(got.values(), want.values(), "gated_act");
  }
}

}  // namespace
}  // namespace heed
