// Cases of the ops of vision towers, and of those that copy and sharpen.
#pragma once
#include <utility>

#include "tests/kernels/cases.h"

namespace heed::cases {

struct AverageCase {
  int columns, rows, pool;
  int64_t dim, pad = 0;
};

inline std::vector<AverageCase> average_cases() {
  return {{1, 1, 1, 1}, {3, 3, 3, 7, 2}, {30, 21, 3, 64}, {4, 8, 4, 33, 1}, {6, 2, 2, 130, 3}, {3, 0, 3, 8}};
}

// A twin in memory of its own.
inline Array twin_of(const Array& array) {
  Array twin = array;
  twin.t.data = twin.memory.data() + (array.t.as<char>() - array.memory.data());
  return twin;
}

// Rows of rank 2 for ops in place: x as `want` and `got`, and two vectors.
struct VisionRows {
  VisionRows(const RowCase& c, unsigned seed)
      : first(DType::kF32, {c.dim}), second(DType::kF32, {c.dim}), want(c.dtype, {c.rows, c.dim}, c.pad) {
    Random random(seed);
    first.fill(random, 0.5F, 2);
    second.fill(random);
    want.fill(random, -3, 5);
    got = twin_of(want);
  }
  Array first, second, want, got;
};

}  // namespace heed::cases
