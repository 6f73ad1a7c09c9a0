// linears over a few rows as one loop over the columns of all its weights, with the norm before it and the
// activation behind: threads meet once, and weights are read without a pause in between.
#include <algorithm>
#include <array>

#include "base/checked.h"
#include "kernels/checks.h"
#include "kernels/cpu/few_rows.h"

namespace heed::cpu {
namespace {

// Whether rows made ready for the first weight serve all of them.
bool are_alike(const LinearsArgs& args) {
  const DType first = args.parts[0].weight.dtype;
  for (int i = 1; i < args.count; ++i) {
    if (args.parts[i].weight.dtype != first) return false;
  }
  return true;
}

LinearArgs part_of(const LinearsArgs& args, const Tensor& rows, int i) {
  const LinearsArgs::Part& part = args.parts[i];
  return {
      .x = rows, .weight = part.weight, .bias = part.bias, .accumulate = args.accumulate, .out = part.out};
}

// Gates and their factors of the same columns, and what becomes of them.
void gated(const RowTable& isa, const FewRows& x, const LinearsArgs& args, const Tensor& rows, int64_t begin,
           int64_t end) {
  for (int i = 0; i < 2; ++i) x.columns(part_of(args, rows, i), begin, end);
  const auto row = [begin](const Tensor& t, int64_t r) {
    return t.as<char>() + (r * t.stride[0] + begin) * size_of(t.dtype);
  };
  for (int64_t r = 0; r < rows.size[0]; ++r) {
    const void* gate = row(args.parts[0].out, r);
    const void* up = row(args.parts[1].out, r);
    isa.gated_act(args.act, static_cast<const float*>(gate), static_cast<const float*>(up),
                  row(args.inner, r), args.inner.dtype, end - begin);
  }
}

}  // namespace

bool few_linears(const LinearIsa& isa, const RowTable& row_isa, Stream& stream, const LinearsArgs& args) {
  const Shapes n = check(args);
  const Tensor& rows = args.normalise ? args.h : args.x;
  const DType weight = args.parts[0].weight.dtype;
  if (n["tokens"] == 0 || n["in"] == 0 || !are_alike(args)) return false;
  const bool blocks = is_blocks(weight);
  if (blocks ? !are_few_for_blocks(isa.blocks, n["tokens"]) : !are_few(isa, n["tokens"], rows.dtype, weight))
    return false;

  if (args.normalise)
    rms_norm(row_isa, stream, {.x = args.x, .weight = args.norm, .eps = args.eps, .out = args.h});
  const FewRows x = blocks ? few_rows_for_blocks(isa.blocks, rows, weight) : few_rows(isa, rows, weight);
  const int loops = args.gated ? 1 : args.count;
  std::array<int64_t, LinearsArgs::kMost + 1> first = {};  // tile of each part, all numbered through
  for (int i = 0; i < loops; ++i) {
    first[i + 1] = first[i] + div_up(args.parts[i].weight.size[0], x.tile_cols);
  }
  const int64_t grain = div_up(x.least_cols, x.tile_cols * (args.gated ? args.count : 1));
  stream.pool->parallel_pieces(first[loops], grain, [&](int64_t begin, int64_t end) {
    for (int i = 0; i < loops; ++i) {
      const int64_t cols = args.parts[i].weight.size[0];
      const int64_t from = std::max(begin - first[i], int64_t{0}) * x.tile_cols;
      const int64_t to = std::min((end - first[i]) * x.tile_cols, cols);
      if (from >= to) continue;
      if (args.gated) {
        gated(row_isa, x, args, rows, from, to);
      } else {
        x.columns(part_of(args, rows, i), from, to);
      }
    }
  });
  return true;
}

}  // namespace heed::cpu
