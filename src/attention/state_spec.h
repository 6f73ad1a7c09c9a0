// What recurrent layers remember of a sequence: a slot of fixed size, whatever the sequence's length. Slots
// lie in a pool of their own, beside the pages; neither is padded to match the other.
//
//   slot:  [ layer 0: its tensors | layer 1: its tensors | ... ]
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"

namespace heed {

struct StateTensor {
  std::vector<int64_t> shape;  // at most three dimensions
  int64_t offset = 0;          // elements from the slot's start
};

struct StateLayout {
  DType dtype = DType::kF32;
  std::vector<std::vector<StateTensor>> layers;  // of every model layer; none for those that keep no state
  int64_t slot_elements = 0;

  int64_t slot_bytes() const { return slot_elements * size_of(dtype); }
  bool empty() const { return slot_elements == 0; }
};

// Recurrent layers sum in chunks of so many tokens, counted from the start of the sequence, wherever kernels
// work in chunks; states are kept at multiples of it, so that a sequence resumed there goes on as it would
// have.
inline constexpr int kStateGrid = 64;

}  // namespace heed
