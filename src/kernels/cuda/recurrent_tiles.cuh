// What the kernels of recurrent layers over chunks of 64 tokens share: which chunk a block has, values as two
// bfloat16 (rounded, and what that lost), tiles of them in shared memory as tensor cores read them, and the
// answers of a chunk.
//
// A product of two values that are two bfloat16 each is three products: its error is some 2^-16 of them.
#pragma once
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/recurrent.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace heed::cuda::chunks {

constexpr int kTokens = 64;  // of a chunk
constexpr int kDim = 128;    // rows of a state, and columns of it that a block has
constexpr int kGroup = 128;  // threads of a warpgroup
constexpr int kAtom = 1024;  // bytes: 8 rows of 64 columns, swizzled as wgmma.cuh says
constexpr int kTile = kTokens * kDim * 2;
constexpr int kStateTile = kDim * kDim * 2;

__device__ __forceinline__ int chunks_in(const State& state, int sequence) {
  const int tokens = state.seq_start[sequence + 1] - state.seq_start[sequence];
  return tokens < kLeastInChunks ? 0 : (tokens + kTokens - 1) / kTokens;
}

// Place in a tile whose rows run along the summed dimension (wgmma::rows_descriptor): of `kRows` rows all
// that is in the first 64 columns, then the rest. `chunk`: 8 columns.
template <int kRows>
__device__ __forceinline__ int row_place(int row, int chunk) {
  return chunk / 8 * (kRows * 128) + row * 128 + (chunk % 8 ^ row % 8) * 16;
}
// The same where rows are the summed dimension (wgmma::columns_descriptor), of 128 columns.
__device__ __forceinline__ int column_place(int row, int chunk) {
  return row / 8 * (2 * kAtom) + chunk / 8 * kAtom + row % 8 * 128 + (chunk % 8 ^ row % 8) * 16;
}

// Two values as two pairs of bfloat16: rounded, and what that lost.
__device__ __forceinline__ uint2 split(float x, float y) {
  const uint32_t high = ptx::pack(x, y);
  return {high, ptx::pack(x - __uint_as_float(high << 16), y - __uint_as_float(high & 0xffff0000U))};
}

// Eight values.
struct Split {
  uint4 high, low;
};
__device__ __forceinline__ Split split(const float4& a, const float4& b) {
  const uint2 x = split(a.x, a.y);
  const uint2 y = split(a.z, a.w);
  const uint2 z = split(b.x, b.y);
  const uint2 w = split(b.z, b.w);
  return {{x.x, y.x, z.x, w.x}, {x.y, y.y, z.y, w.y}};
}

// Eight registers of a product from `first` on, as stores of four matrices take them.
struct SplitRegisters {
  uint32_t high[4], low[4];
  template <int kCount>
  __device__ __forceinline__ SplitRegisters(const float (&x)[kCount], int first) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const uint2 parts = split(x[first + 2 * e], x[first + 2 * e + 1]);
      high[e] = parts.x;
      low[e] = parts.y;
    }
  }
};

// A left operand in registers: 64 rows of 16 * kSteps columns.
template <int kSteps>
struct Left {
  uint32_t high[kSteps][4], low[kSteps][4];
  __device__ __forceinline__ void set(int step, int i, float x, float y) {
    const uint2 parts = split(x, y);
    high[step][i] = parts.x;
    low[step][i] = parts.y;
  }
};

// d += a b with b of two tiles, the second `bytes` behind the first. kRows: b's rows run along the summed
// dimension, 16 of its columns being `next` bytes from the 16 before (of 64; `half` from those to the other).
template <bool kRows, int kSteps, int kCount>
__device__ __forceinline__ void multiply(float (&d)[kCount], const Left<kSteps>& a, uint32_t b, int bytes) {
  constexpr int kBRows = kCount * 2;  // columns of d
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    if constexpr (kRows) {
      const uint32_t at = b + k / 4 * (kBRows * 128) + k % 4 * 32;
      wgmma::multiply_rows(d, a.low[k], wgmma::rows_descriptor(at, kAtom));
      wgmma::multiply_rows(d, a.high[k], wgmma::rows_descriptor(at + bytes, kAtom));
      wgmma::multiply_rows(d, a.high[k], wgmma::rows_descriptor(at, kAtom));
    } else {
      const uint32_t at = b + k * (4 * kAtom);
      wgmma::multiply(d, a.low[k], wgmma::columns_descriptor(at, 2 * kAtom));
      wgmma::multiply(d, a.high[k], wgmma::columns_descriptor(at + bytes, 2 * kAtom));
      wgmma::multiply(d, a.high[k], wgmma::columns_descriptor(at, 2 * kAtom));
    }
  }
}

// Rows of 128 float32, eight columns at a time, by a warpgroup: the first `rows` of 64, of `columns` columns;
// the others become zeros. No load is under a condition, or each would wait for the one before.
struct RowLoader {
  static constexpr int kEach = kTokens * kDim / 8 / kGroup;
  float4 x[kEach][2];
  __device__ __forceinline__ void load(const float* from, int stride, int rows, int columns, int thread) {
    from += min(thread % 16 * 8, columns - 8);
    const int first = thread / 16;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const auto* at =
          reinterpret_cast<const float4*>(from + min(i * (kGroup / 16) + first, rows - 1) * stride);
      x[i][0] = at[0];
      x[i][1] = at[1];
    }
  }
  // To a tile of rows or of columns.
  template <bool kRows>
  __device__ __forceinline__ void store(uint32_t to, int rows, int columns, int thread) const {
    const int chunk = thread % 16;
    const int first = thread / 16;
    to += kRows ? row_place<kTokens>(first, chunk) : column_place(first, chunk);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const uint32_t at = to + i * (kRows ? kAtom : 2 * kAtom);
      const bool real = i * (kGroup / 16) + first < rows && chunk * 8 < columns;
      const Split parts = split(x[i][0], x[i][1]);
      ptx::store16(at, real ? parts.high : uint4{0, 0, 0, 0});
      ptx::store16(at + kTile, real ? parts.low : uint4{0, 0, 0, 0});
    }
  }
};

// Queries of 64 tokens as they are a left operand's registers.
struct Queries {
  float2 x[8][4];
  __device__ __forceinline__ void load(const float* from, int64_t stride, int rows, int thread) {
    const int row = thread / 32 * 16 + thread % 32 / 4;
    const int column = thread % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bool real = row + half * 8 < rows;
      const float* at = from + (real ? (row + half * 8) * stride : 0) + column;
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        x[k][half] = *reinterpret_cast<const float2*>(at + k * 16);
        x[k][half + 2] = *reinterpret_cast<const float2*>(at + k * 16 + 8);
      }
    }
  }
  __device__ __forceinline__ void split_to(Left<8>& a) const {
#pragma unroll
    for (int k = 0; k < 8; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a.set(k, i, x[k][i].x, x[k][i].y);
    }
  }
};

// Answers as the registers of a product have them; `rows` and `columns` of them exist.
__device__ __forceinline__ void write_answers(const Recurrence& p, const float (&out)[64], int token,
                                              int rows, int head, int column, int columns, int thread) {
  const int row = thread / 32 * 16 + thread % 32 / 4;
  float* to = p.out + (token + row) * p.out_token + head * p.out_head + column + thread % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (row + half * 8 >= rows) continue;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (i * 8 >= columns) break;
      *reinterpret_cast<float2*>(to + half * 8 * p.out_token + i * 8) = {p.scale * out[4 * i + 2 * half],
                                                                         p.scale * out[4 * i + 2 * half + 1]};
    }
  }
}

// Sums of a value of each lane over those up to it.
__device__ __forceinline__ int sum_lanes(int x) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int left = __shfl_up_sync(~0U, x, step);
    if (lane >= step) x += left;
  }
  return x;
}

// The sequence of unit `index` of all sequences' and the unit's number within it, or {-1, 0}; a warp asks
// with all its threads. units(s): how many sequence s has.
template <class Units>
__device__ int2 find_unit(const State& state, int index, Units units) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int first = 0; first < state.sequences; first += 32) {
    const int own = first + lane < state.sequences ? units(first + lane) : 0;
    const int end = sum_lanes(own);
    const unsigned here = __ballot_sync(~0U, end - own <= index && index < end);
    if (here != 0) {
      const int at = __ffs(static_cast<int>(here)) - 1;
      return {first + at, index - __shfl_sync(~0U, end - own, at)};
    }
    index -= __shfl_sync(~0U, end, 31);
  }
  return {-1, 0};
}

// Units [begin, end) of a launch, which has `count` from `first` on of all sequences', are those of one
// sequence; `last`: it has none behind them.
struct Share {
  int sequence = -1, begin = 0, end = 0;
  bool last = false;
};
// The `index`-th sequence that has any; a warp asks with all its threads.
template <class Units>
__device__ Share find_share(const State& state, int first, int count, int index, Units units) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int before = -first;
  for (int sequence = 0; sequence < state.sequences && before < count; sequence += 32) {
    const int own = sequence + lane < state.sequences ? units(sequence + lane) : 0;
    const int end = before + sum_lanes(own);
    const unsigned here = __ballot_sync(~0U, own > 0 && end > 0 && end - own < count);
    const bool sought = (here >> lane & 1) != 0 && __popc(here & ((1U << lane) - 1)) == index;
    const unsigned found = __ballot_sync(~0U, sought);
    if (found != 0) {
      const int at = __ffs(static_cast<int>(found)) - 1;
      const int its_end = __shfl_sync(~0U, end, at);
      return {sequence + at, max(__shfl_sync(~0U, end - own, at), 0), min(its_end, count), its_end <= count};
    }
    index -= __popc(here);
    before = __shfl_sync(~0U, end, 31);
  }
  return {};
}

}  // namespace heed::cuda::chunks
