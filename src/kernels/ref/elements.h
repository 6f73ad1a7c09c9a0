// Elements of tensors, one at a time, for the naive loops of this folder.
#pragma once
#include <vector>

#include "tensor/blocks.h"
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
    case DType::kE4M3:
      return to_float(t.as<const e4m3>()[offset]);
    default:
      CHECK(is_blocks(t.dtype), describe(t));
      return block_element(t.dtype, t.data, offset);
  }
}

inline void store(const Tensor& t, int64_t offset, float value) {
  if (t.dtype == DType::kBF16) {
    t.as<bf16>()[offset] = from_float<bf16>(value);
  } else if (t.dtype == DType::kE4M3) {
    t.as<e4m3>()[offset] = from_float<e4m3>(value);
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

// A row of x as linear layers see it: as it is, or rounded where the weights are in blocks of byte
// codes.
inline std::vector<float> linear_input(const Tensor& x, int64_t row, int64_t in, DType weight) {
  std::vector<float> values;
  for (int64_t i = 0; i < in; ++i) values.push_back(load(x, at(x, row, i)));
  if (!has_byte_codes(weight)) return values;
  for (int64_t i = 0; i < in; i += kRoundedGroup) {
    int8_t codes[kRoundedGroup];
    const float scale = round_group(values.data() + i, codes);
    for (int j = 0; j < kRoundedGroup; ++j) values[i + j] = scale * static_cast<float>(codes[j]);
  }
  return values;
}

}  // namespace heed::ref
