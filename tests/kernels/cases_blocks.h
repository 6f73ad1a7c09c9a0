// Cases of linear layers over weights in blocks, and random blocks of every format.
#pragma once
#include "tensor/blocks.h"
#include "tests/kernels/cases.h"

namespace heed::cases {

inline constexpr DType kBlockTypes[] = {DType::kQ80,   DType::kQ40,   DType::kQ41, DType::kQ50, DType::kQ51,
                                        DType::kQ2K,   DType::kQ3K,   DType::kQ4K, DType::kQ5K, DType::kQ6K,
                                        DType::kIq4Nl, DType::kMxfp4, DType::kQ4Z, DType::kQ8F, DType::kQ8Z};

// And those that not every backend reads.
inline constexpr DType kAllBlockTypes[] = {DType::kQ80, DType::kQ40, DType::kQ41,   DType::kQ50,
                                           DType::kQ51, DType::kQ2K, DType::kQ3K,   DType::kQ4K,
                                           DType::kQ5K, DType::kQ6K, DType::kIq4Nl, DType::kMxfp4,
                                           DType::kQ4Z, DType::kQ8F, DType::kQ8Z,   DType::kFp8};

// Where the f16 factors of a block lie, and their size for values up to about 1.
struct BlockFactors {
  std::vector<int> at;
  float largest;
};
inline BlockFactors factors_of(DType dtype) {
  switch (dtype) {
    case DType::kQ80:
    case DType::kQ8Z:  // zero points may be any byte
    case DType::kIq4Nl:
      return {{0}, 1 / 127.0F};
    case DType::kQ40:
      return {{0}, 1 / 8.0F};
    case DType::kQ50:
      return {{0}, 1 / 16.0F};
    case DType::kQ41:
    case DType::kQ51:
      return {{0, 2}, 1 / 32.0F};
    case DType::kQ2K:
      return {{80, 82}, 1 / 45.0F};
    case DType::kQ3K:
      return {{108}, 1 / 128.0F};
    case DType::kQ4K:
    case DType::kQ5K:
      return {{0, 2}, 1 / 1953.0F};
    case DType::kQ6K:
      return {{208}, 1 / 4096.0F};
    case DType::kQ4Z:  // zero points may be any byte
      return {{0}, 1 / 255.0F};
    default:
      return {{}, 0};
  }
}

// All bits are random but for the block's factors: of either sign, and now and then zero.
inline void fill_blocks(DType dtype, char* blocks, int64_t bytes, Random& random) {
  const BlockFactors factors = factors_of(dtype);
  const int64_t size = block_of(dtype).bytes;
  for (int64_t b = 0; b < bytes; b += size) {
    for (int64_t i = 0; i < size; ++i) blocks[b + i] = static_cast<char>(random.below(256));
    for (const int at : factors.at) {
      const float value = random.below(17) == 0 ? 0 : random.uniform(-1, 1) * factors.largest;
      const f16 half = from_float<f16>(value);
      std::memcpy(blocks + b + at, &half, sizeof half);
    }
    if (dtype == DType::kMxfp4) blocks[b] = static_cast<char>(120 + random.below(7));
    if (dtype == DType::kQ8F || dtype == DType::kFp8) {
      const float scale = random.uniform(-1, 1) / (dtype == DType::kFp8 ? 480 : 127);
      std::memcpy(blocks + b, &scale, sizeof scale);
    }
  }
}

// Rows of blocks, `pad` blocks apart from each other and `shift` bytes from alignment. What lies between and
// behind them is as random as they are: no element of it may count.
struct BlockArray {
  BlockArray() = default;
  BlockArray(DType dtype, int64_t rows, int64_t in, Random& random, int64_t pad = 0, int64_t shift = 0)
      : t(nullptr, dtype, {rows, in}) {
    t.stride[0] = in + pad * block_of(dtype).elements;
    const int64_t bytes = rows > 0 ? bytes_of(dtype, (rows - 1) * t.stride[0] + in) : 0;
    memory.resize(static_cast<size_t>(bytes + shift));  // to the byte: a sanitizer sees what is read beyond
    fill_blocks(dtype, memory.data() + shift, bytes, random);
    t.data = memory.data() + shift;
  }
  std::vector<char> memory;
  Tensor t;
};

struct BlockLinearCase {
  int64_t tokens, blocks, out;  // in: so many blocks, or as many elements of 32
  DType x = DType::kF32;
  bool bias = false, accumulate = false;
  int64_t pad = 0, shift = 0;
};

inline std::vector<BlockLinearCase> block_linear_cases() {
  return {{1, 1, 1},
          {1, 2, 16, DType::kF32, true},
          {1, 3, 17, DType::kBF16},
          {2, 3, 5, DType::kF32, false, true},
          {3, 1, 33, DType::kBF16, true, true, 2, 1},
          {7, 2, 40, DType::kF32, true, false, 1, 3},
          {8, 3, 31, DType::kBF16, false, true},
          {9, 2, 50, DType::kF32, true, true, 0, 5},
          {16, 1, 7, DType::kBF16},
          {0, 2, 8},
          {37, 3, 66, DType::kF32, false, false, 1}};
}

inline int64_t width_of(const BlockLinearCase& c, DType weight) {
  // Blocks of 32: an odd number of them, and more than are read together.
  return block_of(weight).elements == 32 ? 32 * (5 * c.blocks - 2) : 256 * c.blocks;
}

struct BlockLinearProblem {
  BlockLinearProblem(const BlockLinearCase& c, DType type, unsigned seed)
      : random(seed),
        x(c.x, {c.tokens, width_of(c, type)}, c.pad),
        weight(type, c.out, width_of(c, type), random, c.pad, c.shift),
        bias(DType::kF32, {c.out}),
        out(DType::kF32, {c.tokens, c.out}, c.pad) {
    x.fill(random);
    bias.fill(random);
    if (c.accumulate) out.fill(random);
    args = {.x = x.t,
            .weight = weight.t,
            .bias = c.bias ? bias.t : Tensor(),
            .accumulate = c.accumulate,
            .out = out.t};
  }
  Random random;
  Array x;
  BlockArray weight;
  Array bias, out;
  LinearArgs args;
};

}  // namespace heed::cases
