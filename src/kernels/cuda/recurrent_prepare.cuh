// gated_delta over chunks, the first phase: a warpgroup finds W, U and the keys of S' of a chunk and head.
#pragma once
#include "kernels/cuda/recurrent_delta.cuh"

namespace heed::cuda::chunks {

constexpr int kAAt = 2 * kTile;             // behind keys, or W: A, then values
constexpr int kTuAt = kAAt + 2 * kTile;     // T beta, as two squares
constexpr int kTwAt = kTuAt + 2 * kSquare;  // T beta e^g
constexpr int kGAt = kTwAt + 2 * kSquare;
constexpr int kBetaAt = kGAt + kTokens * 4;
constexpr int kPrepareShared = kBetaAt + kTokens * 4;
constexpr int kAStride = kTokens + 4;  // float32

// Products of one warp: d[16, 16] += a[16, 16] b[16, 16]^T, b's rows at `b`.
__device__ __forceinline__ void multiply16(float (&d)[2][4], const Left<1>& a, const float* b) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const float* row = b + (n * 8 + lane / 4) * kAStride + lane % 4 * 2;
    const uint2 x = split(row[0], row[1]);
    const uint2 y = split(row[8], row[9]);
    ptx::multiply(d[n], a.low[0], x.x, y.x);
    ptx::multiply(d[n], a.high[0], x.y, y.y);
    ptx::multiply(d[n], a.high[0], x.x, y.x);
  }
}

struct Prepare {
  const Recurrence& p;
  const Group& group;
  const uint32_t base;
  const int thread, warp, lane;
  const float *g, *beta;
  float* a;

  // A's diagonal blocks of 16 become their inverses: a warp has a block, a lane a column.
  __device__ __forceinline__ void invert_diagonal() const {
    float* block = a + warp * 16 * (kAStride + 1);
    float t[16];
    if (lane < 16) {
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        float sum = i == lane ? 1.0F : 0.0F;
#pragma unroll
        for (int j = 0; j < i; ++j) sum -= block[i * kAStride + j] * t[j];
        t[i] = sum;
      }
    }
    __syncwarp();
    if (lane < 16) {
#pragma unroll
      for (int i = 0; i < 16; ++i) block[i * kAStride + lane] = t[i];
    }
    group.sync();
  }

  // T's block [i, warp] from its transpose, times beta and times beta e^g.
  __device__ __forceinline__ void store_block(int i, const float (&y)[2][4]) const {
    const int token = warp * 16 + lane / 4;
    const uint32_t place = row_place<kTokens>(i * 16 + lane / 16 * 8 + lane % 8, warp * 2 + lane / 8 % 2);
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const float x0 = beta[token] * (which == 0 ? 1 : expf(g[token]));
      const float x1 = beta[token + 8] * (which == 0 ? 1 : expf(g[token + 8]));
      uint32_t high[4];
      uint32_t low[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float x = e % 2 == 0 ? x0 : x1;
        const uint2 parts = split(x * y[e / 2][e % 2 * 2], x * y[e / 2][e % 2 * 2 + 1]);
        high[e] = parts.x;
        low[e] = parts.y;
      }
      const uint32_t to = base + (which == 0 ? kTuAt : kTwAt) + place;
      ptx::store_transposed(to, high);
      ptx::store_transposed(to + kSquare, low);
    }
  }

  // T: a warp has 16 columns of it, whose transposes y it finds from the top, block by block:
  //   y_i = -(sum of y_k A_ik^T) D_i^T, with D_i the inverse of A's diagonal block
  __device__ __forceinline__ void invert() const {
    Left<1> known[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float y[2][4] = {};
      if (i == warp) {
        const float* block = a + warp * 16 * (kAStride + 1);
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          y[e / 4][e % 4] = block[(e / 4 * 8 + lane % 4 * 2 + e % 2) * kAStride + lane / 4 + e / 2 % 2 * 8];
        }
      } else if (i > warp) {
        float sum[2][4] = {};
#pragma unroll
        for (int k = 0; k < i; ++k) {
          if (k >= warp) multiply16(sum, known[k], a + i * 16 * kAStride + k * 16);
        }
        Left<1> left;
        set(left, sum);
        multiply16(y, left, a + i * 16 * (kAStride + 1));
#pragma unroll
        for (int e = 0; e < 8; ++e) y[e / 4][e % 4] = -y[e / 4][e % 4];
      }
      set(known[i], y);
      store_block(i, y);
    }
  }
  static __device__ __forceinline__ void set(Left<1>& left, const float (&y)[2][4]) {
#pragma unroll
    for (int e = 0; e < 4; ++e) left.set(0, e, y[e / 2][e % 2 * 2], y[e / 2][e % 2 * 2 + 1]);
  }

  // d = T x, with x a tile of rows of tokens.
  __device__ __forceinline__ void times(float (&d)[64], uint32_t t, uint32_t x) const {
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const auto left = [&](int low) { return wgmma::rows_descriptor(t + low * kSquare + k * 32, kAtom); };
      const auto right = [&](int low) {
        return wgmma::columns_descriptor(x + low * kTile + k * (2 * kAtom), kAtom, kTile / 2);
      };
      wgmma::multiply_columns(d, left(1), right(0));
      wgmma::multiply_columns(d, left(0), right(1));
      wgmma::multiply_columns(d, left(0), right(0));
    }
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::pin(d);
  }

  // A, from the products of keys.
  __device__ __forceinline__ void find_a() const {
    float d[32] = {};
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const auto keys = [&](int low) {
        return wgmma::rows_descriptor(base + low * kTile + k / 4 * (kTile / 2) + k % 4 * 32, kAtom);
      };
      wgmma::multiply(d, keys(1), keys(0), true);
      wgmma::multiply(d, keys(0), keys(1), true);
      wgmma::multiply(d, keys(0), keys(0), true);
    }
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::pin(d);
#pragma unroll
    for (int e = 0; e < 16; ++e) {
      const int i = warp * 16 + e % 2 * 8 + lane / 4;
      const int j = e / 2 * 8 + lane % 4 * 2;
      const float x = j < i ? beta[i] * expf(g[i] - g[j]) * d[2 * e] : 0;
      const float y = j + 1 < i ? beta[i] * expf(g[i] - g[j + 1]) * d[2 * e + 1] : 0;
      *reinterpret_cast<float2*>(a + i * kAStride + j) = {x, y};
    }
    group.sync();
  }

  // Keys times e^(g_last - g), to the image.
  __device__ __forceinline__ void weigh_keys(const RowLoader& loader, char* image, int rows) const {
#pragma unroll
    for (int i = 0; i < RowLoader::kEach; ++i) {
      const int row = i * (kGroup / 16) + thread / 16;
      const float x = row < rows ? expf(g[kTokens - 1] - g[row]) : 0;
      const float4& u = loader.x[i][0];
      const float4& v = loader.x[i][1];
      const Split parts =
          split(float4{x * u.x, x * u.y, x * u.z, x * u.w}, float4{x * v.x, x * v.y, x * v.z, x * v.w});
      char* to = image + kK + row_place<kTokens>(row, thread % 16);
      *reinterpret_cast<uint4*>(to) = parts.high;
      *reinterpret_cast<uint4*>(to + kTile) = parts.low;
    }
  }
  __device__ __forceinline__ void write_w(const float (&w)[64], char* image) const {
    const uint32_t tile = base;  // the keys are not needed any more
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const SplitRegisters parts(w, i * 8);
      const uint32_t to = tile + row_place<kTokens>(warp * 16 + lane % 16, i * 2 + lane / 16);
      ptx::store_matrices(to, parts.high);
      ptx::store_matrices(to + kTile, parts.low);
    }
    group.sync();
#pragma unroll 4
    for (int i = thread; i < 2 * kTile / 16; i += kGroup) {
      *reinterpret_cast<uint4*>(image + kW + i * 16) = ptx::load16(tile + i * 16);
    }
  }
  // As the second kernel's products have them.
  __device__ __forceinline__ void write_u(const float (&u)[64], char* image, int column) const {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int part = column / kColumns + i / 4;
      if (part * kColumns >= p.v_dim) break;
      *reinterpret_cast<float4*>(image + kParts + part * kPart + (i % 4 * kGroup + thread) * 16) = {
          u[4 * i], u[4 * i + 1], u[4 * i + 2], u[4 * i + 3]};
    }
  }
};

__device__ inline void prepare(const DeltaParams& params, const State& state, const Group& group, int index) {
  const Recurrence& p = params.p;
  const Unit unit = find_chunk(params, state, params.prepared, index, 1);
  if (unit.sequence < 0) return;
  float* g = reinterpret_cast<float*>(group.memory + kGAt);
  float* beta = reinterpret_cast<float*>(group.memory + kBetaAt);
  const Prepare own = {.p = p,
                       .group = group,
                       .base = group.base,
                       .thread = group.thread,
                       .warp = group.warp,
                       .lane = group.lane,
                       .g = g,
                       .beta = beta,
                       .a = reinterpret_cast<float*>(group.memory + kAAt)};
  char* image = params.image(params.prepared, unit.chunk, unit.head);
  const auto load = [&](RowLoader& loader, const float* from, int64_t stride, int columns) {
    loader.load(from, static_cast<int>(stride), unit.rows, columns, group.thread);
  };
  RowLoader loader;
  load(loader, p.k + unit.token * p.k_token + p.key_head(unit.head) * p.k_head, p.k_token, kDim);
  sum_decays(p, group, unit, g, beta);
  loader.store<true>(own.base, unit.rows, kDim, group.thread);
  own.weigh_keys(loader, image, unit.rows);
  if (group.thread * kColumns < p.v_dim) {
    *reinterpret_cast<float*>(image + kParts + group.thread * kPart + kLastAt) = expf(g[kTokens - 1]);
  }
  ptx::shared_writes_to_engines();
  group.sync();
  const float* values = p.v + unit.token * p.v_token + unit.head * p.v_head;
  load(loader, values, p.v_token, min(kDim, p.v_dim));
  own.find_a();
  own.invert_diagonal();
  own.invert();
  group.sync();
  loader.store<true>(own.base + kAAt, unit.rows, min(kDim, p.v_dim), group.thread);
  ptx::shared_writes_to_engines();
  group.sync();
  float d[64] = {};
  own.times(d, own.base + kTwAt, own.base);
  group.sync();
  own.write_w(d, image);
  for (int column = 0; column < p.v_dim; column += kDim) {
    if (column > 0) {
      group.sync();
      load(loader, values + column, p.v_token, min(kDim, p.v_dim - column));
      loader.store<true>(own.base + kAAt, unit.rows, min(kDim, p.v_dim - column), group.thread);
      ptx::shared_writes_to_engines();
      group.sync();
    }
#pragma unroll
    for (float& x : d) x = 0;
    own.times(d, own.base + kTuAt, own.base + kAAt);
    own.write_u(d, image, column);
  }
}

}  // namespace heed::cuda::chunks
