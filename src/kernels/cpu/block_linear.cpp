// linear and expert_linear over weights in blocks: x is rounded once, then columns are split over threads.
#include "kernels/cpu/block_linear.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/checked.h"
#include "kernels/checks.h"
#include "kernels/cpu/few_rows.h"
#include "tensor/blocks.h"

namespace heed::cpu {
namespace {

constexpr int64_t kProductsPerThread = 65536;  // below which another thread costs more than it saves
constexpr int64_t kElementsPerThread = 16384;

// Rows of x, rounded, in one allocation.
class Rounded {
 public:
  Rounded(int64_t rows, int64_t in, DType weight)
      : in_(in), groups_(in / group_of(weight)), memory_(bytes(rows, in)) {
    CHECK(has_byte_codes(weight), name_of(weight));
    auto* floats = static_cast<float*>(memory_.data());
    view_.scales = floats;
    view_.sums = view_.scales + rows * (in / kRoundedGroup);
    view_.starts = static_cast<int32_t*>(static_cast<void*>(view_.sums + rows * groups_));
    view_.codes = static_cast<int8_t*>(static_cast<void*>(view_.starts + rows * groups_));
  }
  // From a row on.
  RoundedRows at(int64_t row) const {
    return {view_.codes + row * in_, view_.scales + row * (in_ / kRoundedGroup), view_.starts + row * groups_,
            view_.sums + row * groups_};
  }
  void copy_row(int64_t to, const Rounded& from, int64_t row) const {
    const RoundedRows x = from.at(row);
    const RoundedRows out = at(to);
    std::copy_n(x.codes, in_, out.codes);
    std::copy_n(x.scales, in_ / kRoundedGroup, out.scales);
    std::copy_n(x.starts, groups_, out.starts);
    std::copy_n(x.sums, groups_, out.sums);
  }
  // At most, whatever the format: 16 elements share a scale.
  static int64_t bytes(int64_t rows, int64_t in) {
    return rows * (in + in / kRoundedGroup * 4 + 2 * (in / 16) * 4) + 64;
  }

 private:
  int64_t in_, groups_;
  Buffer memory_;
  RoundedRows view_ = {};
};

void round_all(const BlockTable& isa, ThreadPool& pool, const Tensor& x, DType weight, const Rounded& out) {
  const int64_t in = x.size[1];
  pool.parallel_for(x.size[0], kElementsPerThread / std::max<int64_t>(in, 1) + 1,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row)
                        isa.round(x.at(row * x.stride[0]), x.dtype, in, weight, row, out.at(0));
                    });
}

// One row for each assignment, those of an expert side by side: a row of x is rounded once.
Rounded rounded_assignments(const BlockTable& isa, ThreadPool& pool, const ExpertLinearArgs& args, int64_t in,
                            int64_t assignments) {
  const DType dtype = args.weights[0].dtype;
  const int64_t x_rows = args.x.size[0];
  Rounded x(x_rows, in, dtype);
  round_all(isa, pool, args.x, dtype, x);
  if (args.rows == nullptr) return x;
  Rounded all(assignments, in, dtype);
  pool.parallel_for(assignments, kElementsPerThread / std::max<int64_t>(in, 1) + 1,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        const int64_t row = args.rows[i];
                        CHECK(row >= 0 && row < x_rows, i, row, x_rows);
                        all.copy_row(i, x, row);
                      }
                    });
  return all;
}

BlockPanel panel_of(const LinearArgs& args, const RoundedRows& x) {
  return {.x = x,
          .w = args.weight.data,
          .dtype = args.weight.dtype,
          .bias = args.bias.defined() ? args.bias.f32() : nullptr,
          .out = args.out.mutable_f32(),
          .w_stride = args.weight.stride[0],
          .out_stride = args.out.stride[0],
          .rows = args.x.size[0],
          .cols = args.weight.size[0],
          .in = args.x.size[1],
          .accumulate = args.accumulate,
          .scratch = nullptr};
}

// Columns [tile, tile_end) of a product, in tiles of the instruction set's.
void run_tiles(const BlockTable& isa, BlockPanel panel, int64_t tile, int64_t tile_end) {
  const int64_t col = tile * isa.tile_cols;
  panel.w = static_cast<const char*>(panel.w) + bytes_of(panel.dtype, col * panel.w_stride);
  panel.bias = panel.bias != nullptr ? panel.bias + col : nullptr;
  panel.out += col;
  panel.cols = std::min(tile_end * isa.tile_cols, panel.cols) - col;
  const Buffer scratch(isa.scratch(panel.rows, panel.in));
  panel.scratch = scratch.data();
  isa.panel(panel);
}

// All products have the same width and columns. Few rows: every thread takes contiguous pieces of the
// weights. Many: threads take the next columns as they get free.
void run(const BlockTable& isa, ThreadPool& pool, const std::vector<BlockPanel>& products) {
  if (products.empty() || products[0].cols == 0) return;
  const int64_t tiles = div_up(products[0].cols, isa.tile_cols);
  int64_t rows = 0;
  int64_t most = 0;
  for (const BlockPanel& p : products) {
    rows += p.rows;
    most = std::max(most, p.rows);
  }
  const int64_t all = tiles * std::ssize(products);
  if (most > isa.tile_rows) {
    pool.parallel_tasks(all,
                        [&](int64_t i) { run_tiles(isa, products[i / tiles], i % tiles, i % tiles + 1); });
    return;
  }
  const int64_t of_tile =
      std::max<int64_t>(div_up(rows * isa.tile_cols * products[0].in, std::ssize(products)), 1);
  pool.parallel_pieces(all, div_up(kProductsPerThread, of_tile), [&](int64_t begin, int64_t end) {
    for (int64_t product = begin / tiles; product * tiles < end; ++product) {
      run_tiles(isa, products[product], std::max(begin - product * tiles, int64_t{0}),
                std::min(end - product * tiles, tiles));
    }
  });
}

}  // namespace

void block_linear(const BlockTable& isa, Stream& stream, const LinearArgs& args) {
  const Shapes n = check(args);
  if (n["tokens"] == 0) return;
  const Rounded x(n["tokens"], n["in"], args.weight.dtype);
  round_all(isa, *stream.pool, args.x, args.weight.dtype, x);
  run(isa, *stream.pool, {panel_of(args, x.at(0))});
}

bool are_few_for_blocks(const BlockTable& isa, int64_t rows) { return rows <= isa.tile_rows; }

FewRows few_rows_for_blocks(const BlockTable& isa, const Tensor& x, DType weight) {
  auto rounded = std::make_shared<Rounded>(x.size[0], x.size[1], weight);
  for (int64_t row = 0; row < x.size[0]; ++row)
    isa.round(x.at(row * x.stride[0]), x.dtype, x.size[1], weight, row, rounded->at(0));
  return {.tile_cols = isa.tile_cols,
          .least_cols = div_up(kProductsPerThread, x.size[0] * x.size[1]),
          .columns = [&isa, rounded](const LinearArgs& args, int64_t begin, int64_t end) {
            run_tiles(isa, panel_of(args, rounded->at(0)), begin / isa.tile_cols, div_up(end, isa.tile_cols));
          }};
}

void block_expert_linear(const BlockTable& isa, Stream& stream, const ExpertLinearArgs& args) {
  const Shapes n = check(args);
  const int64_t assignments = n["assignments"];
  if (assignments == 0) return;
  const DType dtype = args.weights[0].dtype;
  const Rounded x = rounded_assignments(isa, *stream.pool, args, n["in"], assignments);
  std::vector<BlockPanel> products;
  for (int64_t e = 0; e < std::ssize(args.weights); ++e) {
    const int64_t first = args.expert_start[e];
    const int64_t rows = args.expert_start[e + 1] - first;
    CHECK(rows >= 0, e, first, rows);
    if (rows == 0) continue;
    const Tensor& weight = expert_weight(args, e);
    products.push_back({.x = x.at(first),
                        .w = weight.data,
                        .dtype = dtype,
                        .bias = args.bias.defined() ? args.bias.f32() + e * args.bias.stride[0] : nullptr,
                        .out = args.out.mutable_f32() + first * args.out.stride[0],
                        .w_stride = weight.stride[0],
                        .out_stride = args.out.stride[0],
                        .rows = rows,
                        .cols = n["out"],
                        .in = n["in"],
                        .accumulate = false,
                        .scratch = nullptr});
  }
  run(isa, *stream.pool, products);
}

int64_t block_linear_scratch_bytes(const BlockTable& isa, const StepSize& size) {
  if (!size.has_blocks) return 0;
  const int64_t in = std::max<int64_t>(size.width, 1);
  const int64_t rows = size.linear_rows;
  constexpr int64_t kGrowth = 3;  // a vector of n elements, while it grows, with the one it grows out of
  const int64_t gathered = size.products > 1 ? Rounded::bytes(size.tokens, in) : 0;
  return Rounded::bytes(rows, in) + gathered + size.threads * isa.scratch(INT64_MAX, in) +
         kGrowth * size.products * int64_t{sizeof(BlockPanel)};
}

}  // namespace heed::cpu
