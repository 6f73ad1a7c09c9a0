// Products of a few rows with several weights, by columns: rows are packed or rounded once for all of them.
#pragma once
#include <functional>

#include "kernels/cpu/ops.h"

namespace heed::cpu {

struct FewRows {
  int64_t tile_cols = 1;   // of the weights: pieces begin at multiples of it
  int64_t least_cols = 1;  // below which another thread costs more than it saves
  // Columns [begin, end) of a product with a weight of the kind that the rows were made ready for; `args` as
  // linear has them, whose x is those rows. Any thread may call it.
  std::function<void(const LinearArgs& args, int64_t begin, int64_t end)> columns;
};

// Whether rows of x, so many, share one reading of weights of this type.
bool are_few(const LinearIsa& isa, int64_t rows, DType x, DType weight);
bool are_few_for_blocks(const BlockTable& isa, int64_t rows);

// x: [rows, in] f32 or bf16, which may be read until the last call of `columns`.
FewRows few_rows(const LinearIsa& isa, const Tensor& x, DType weight);
FewRows few_rows_for_blocks(const BlockTable& isa, const Tensor& x, DType weight);

}  // namespace heed::cpu
