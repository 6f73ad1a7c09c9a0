// linear: panels of weights, each of which stays in a core's cache while the rows of x pass it.
//
// A few rows: every weight is read once, so threads take contiguous parts of them. Many rows: panels of 512
// KiB of float32 (and, where those are too few to keep every thread busy, parts of the rows too), handed to
// threads as they get free.
#include <algorithm>

#include "base/checked.h"
#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace heed::cpu {
namespace {

constexpr int64_t kPanelBytes = 512 * 1024;
constexpr int64_t kColumns = 4;                // columns of the kernels' register tile
constexpr int64_t kProductsPerThread = 32768;  // below which another thread costs more than it saves
constexpr int64_t kTasksPerThread = 4;

auto kernel_for(const LinearTable& isa, const LinearArgs& args) {
  if (args.x.dtype == DType::kBF16) return isa.bf16_bf16;
  if (args.weight.dtype == DType::kBF16) return isa.f32_bf16;
  if (args.weight.dtype == DType::kF16) return isa.f32_f16;
  return isa.f32_f32;
}

struct Part {
  int64_t row, row_end, col, col_end;
};

void run_part(const LinearTable& isa, const LinearArgs& args, const Part& part) {
  const int64_t in = args.x.size[1];
  const int64_t rows = part.row_end - part.row;
  const int64_t cols = part.col_end - part.col;
  const Buffer scratch(isa.scratch(rows, cols, in) * size_of(DType::kF32));
  const LinearPanel panel = {
      .x = args.x.as<char>() + part.row * args.x.stride[0] * size_of(args.x.dtype),
      .w = args.weight.as<char>() + part.col * args.weight.stride[0] * size_of(args.weight.dtype),
      .bias = args.bias.defined() ? args.bias.f32() + part.col : nullptr,
      .out = args.out.mutable_f32() + part.row * args.out.stride[0] + part.col,
      .x_stride = args.x.stride[0],
      .w_stride = args.weight.stride[0],
      .out_stride = args.out.stride[0],
      .rows = rows,
      .cols = cols,
      .in = in,
      .accumulate = args.accumulate,
      .scratch = static_cast<float*>(scratch.data()),
  };
  kernel_for(isa, args)(panel);
}

}  // namespace

void linear(const LinearTable& isa, Stream& stream, const LinearArgs& args) {
  const Shapes n = check(args);
  const int64_t rows = n["tokens"];
  const int64_t cols = n["out"];
  const int64_t in = std::max<int64_t>(n["in"], 1);
  if (rows == 0 || cols == 0) return;
  const int64_t tiles = div_up(cols, kColumns);
  const int64_t products = rows * kColumns * in;  // of one column tile
  if (rows <= isa.tile_rows || products * tiles <= kProductsPerThread) {
    stream.pool->parallel_for(tiles, div_up(kProductsPerThread, products), [&](int64_t begin, int64_t end) {
      run_part(isa, args, {0, rows, begin * kColumns, std::min(end * kColumns, cols)});
    });
    return;
  }
  const int64_t wanted = kTasksPerThread * stream.pool->size();
  const int64_t fitting = std::max<int64_t>(kPanelBytes / (in * size_of(DType::kF32) * kColumns), 4);
  const int64_t panel = kColumns * std::min(fitting, std::max<int64_t>(div_up(tiles, wanted), 4));
  const int64_t panels = div_up(cols, panel);
  const int64_t row_parts = std::min(div_up(wanted, panels), div_up(rows, isa.tile_rows));
  const int64_t part = round_up(div_up(rows, row_parts), isa.tile_rows);
  const int64_t parts = div_up(rows, part);
  stream.pool->parallel_tasks(panels * parts, [&](int64_t task) {
    const int64_t row = task % parts * part;
    const int64_t col = task / parts * panel;
    run_part(isa, args, {row, std::min(row + part, rows), col, std::min(col + panel, cols)});
  });
}

// Many rows run in panels of kPanelBytes or of four tiles of columns, whichever is wider; few rows ask for
// less, unless the whole product is tiny.
int64_t linear_scratch_bytes(const LinearTable& isa, const StepSize& size) {
  const int64_t in = std::max<int64_t>(size.width, 1);
  const int64_t row_bytes = in * size_of(DType::kF32);
  const int64_t cols = std::max<int64_t>(kPanelBytes / row_bytes, 4 * kColumns);
  const int64_t panel = isa.scratch(std::max<int64_t>(size.tokens, 1), cols, in);
  return size.threads * std::max(panel, 2 * kProductsPerThread) * size_of(DType::kF32);
}

}  // namespace heed::cpu
