// Elements of tensors, one at a time, for the naive loops of this folder.
#pragma once
#include "tensor/tensor.h"

namespace heed::ref {

inline float load(const Tensor& t, int64_t offset) {
  switch (t.dtype) {
    case DType::kF32:
      return t.as<const float>()[offset];
    case DType::kBF16:
      return to_float(t.as<const bf16>()[offset]);
    case DType::kF16:
      return to_float(t.as<const f16>()[offset]);
    default:
      CHECK(false, describe(t));
      return 0;
  }
}

inline void store(const Tensor& t, int64_t offset, float value) {
  if (t.dtype == DType::kBF16) {
    t.as<bf16>()[offset] = from_float<bf16>(value);
  } else {
    t.mutable_f32()[offset] = value;
  }
}

template <class... Index>
int64_t at(const Tensor& t, Index... index) {
  const int64_t indices[] = {static_cast<int64_t>(index)...};
  int64_t offset = 0;
  for (size_t i = 0; i < sizeof...(index); ++i) offset += indices[i] * t.stride[i];
  return offset;
}

}  // namespace heed::ref
