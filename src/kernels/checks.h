// Shape checks that every backend's ops begin with: one per op, so that ref and the fast kernels agree on the
// contract.
#pragma once
#include <initializer_list>
#include <string_view>

#include "kernels/kernels.h"
#include "tensor/shape.h"

namespace heed {

Shapes check(const EmbedArgs& args);
Shapes check(const RmsNormArgs& args);
Shapes check(const LinearArgs& args);
Shapes check(const RopeTableArgs& args);
Shapes check(const RopeArgs& args);
Shapes check(const KvWriteArgs& args);
Shapes check(const AttentionArgs& args);
Shapes check(const GatedActArgs& args);
Shapes check(const AddArgs& args);
Shapes check(const GatherRowsArgs& args);
Shapes check(const SoftcapArgs& args);
Shapes check(const ArgMaxArgs& args);
Shapes check(const DrawArgs& args);
Shapes check(const CopyArgs& args);
Shapes check(const TemperArgs& args);
Shapes check(const ScaleArgs& args);
Shapes check(const ScaleRowsArgs& args);
Shapes check(const HeadLinearArgs& args);
Shapes check(const LinearsArgs& args);  // "tokens" and "in"
Shapes check(const FinishHeadsArgs& args);

Shapes check(const MoeRouteArgs& args);
void check(const MoeSortArgs& args);
Shapes check(const ExpertLinearArgs& args);
Shapes check(const ExpertSumArgs& args);
// The weights of an expert that has assignments, checked; those of others are not looked at.
const Tensor& expert_weight(const ExpertLinearArgs& args, int64_t expert);

Shapes check(const ShortConvArgs& args);
Shapes check(const LinearAttentionArgs& args);
Shapes check(const GatedDeltaArgs& args);
Shapes check(const DeltaGatesArgs& args);

Shapes check(const LayerNormArgs& args);
Shapes check(const ClampArgs& args);
Shapes check(const StandardiseArgs& args);
Shapes check(const AveragePatchesArgs& args);

// Of these, all that can be checked without reading what their pointers point to: that may be device memory.
Shapes check_shapes(const ExpertLinearArgs& args);
Shapes check_shapes(const ShortConvArgs& args);
Shapes check_shapes(const LinearAttentionArgs& args);
Shapes check_shapes(const GatedDeltaArgs& args);

// What the checks are made of.
inline bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}
// What weights of linear layers and tables may be: floats, or blocks of which a row holds whole ones.
inline void check_weight(std::string_view op, const Tensor& weight) {
  CHECK(is_float(weight.dtype) || is_blocks(weight.dtype), op, describe(weight));
  const int64_t block = block_of(weight.dtype).elements;
  CHECK(weight.size[weight.rank - 1] % block == 0 && (weight.rank < 2 || weight.stride[0] % block == 0), op,
        describe(weight));
}
// bfloat16 is multiplied with bfloat16 or with blocks; float32 with everything.
inline void check_input(std::string_view op, const Tensor& x, const Tensor& weight) {
  const bool fits = weight.dtype == DType::kBF16 || is_blocks(weight.dtype);
  CHECK(x.dtype == DType::kF32 || (x.dtype == DType::kBF16 && fits), op, describe(x), describe(weight));
}
inline void check_f32(std::string_view op, std::initializer_list<Tensor> tensors) {
  for (const Tensor& tensor : tensors) CHECK(tensor.dtype == DType::kF32, op, describe(tensor));
}

}  // namespace heed
