// gated_delta over chunks, the first phase: a warpgroup finds W and U of a chunk and head.
#pragma once
#include "kernels/cuda/recurrent_delta.cuh"

namespace heed::cuda::chunks {

constexpr int kAStride = kTokens + 8;  // float32; warps read two columns of eight rows at once
constexpr int kAAt = 2 * kTile;        // behind keys, later values: A, later T
constexpr int kGAt = kAAt + kTokens * kAStride * 4;
constexpr int kBetaAt = kGAt + kTokens * 4;
constexpr int kBetaGAt = kBetaAt + kTokens * 4;  // beta e^g
constexpr int kPrepareShared = kBetaGAt + kTokens * 4;

// Of a token, by the first two warps.
struct Gates {
  float decay = 0, beta = 0;
  __device__ Gates(const Recurrence& p, const Unit& unit, int i) {
    if (i >= unit.rows) return;
    decay = p.decay[int64_t{unit.token + i} * p.decay_token + unit.head];
    beta = p.beta[int64_t{unit.token + i} * p.beta_token + unit.head];
  }
};

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
  float *g, *beta, *beta_g, *a;

  // A's diagonal blocks of 16 become their inverses: a warp has a block, a lane a column.
  __device__ __forceinline__ void invert_diagonal() const {
    float* block = a + warp * 16 * (kAStride + 1);
    float t[16];
    if (lane < 16) {
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        float sum[2] = {i == lane ? 1.0F : 0.0F, 0};
#pragma unroll
        for (int j = 0; j < i; j += 4) {
          const auto row = *reinterpret_cast<const float4*>(block + i * kAStride + j);
          sum[0] -= row.x * t[j];
          if (j + 1 < i) sum[1] -= row.y * t[j + 1];
          if (j + 2 < i) sum[0] -= row.z * t[j + 2];
          if (j + 3 < i) sum[1] -= row.w * t[j + 3];
        }
        t[i] = sum[0] + sum[1];
      }
    }
    __syncwarp();
    if (lane < 16) {
#pragma unroll
      for (int i = 0; i < 16; ++i) block[i * kAStride + lane] = t[i];
    }
    group.sync();
  }

  // T: a warp has 16 columns of it, whose transposes y it finds from the top, block by block:
  //   y_i = -(sum of y_k A_ik^T) D_i^T, with D_i the inverse of A's diagonal block
  __device__ __forceinline__ void invert() const {
    float t[4][2][4];
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
#pragma unroll
      for (int e = 0; e < 8; ++e) t[i][e / 4][e % 4] = y[e / 4][e % 4];
    }
    group.sync();  // nobody needs A any more
#pragma unroll
    for (int e = 0; e < 32; ++e) {
      const int row = e / 8 * 16 + e / 4 % 2 * 8 + lane % 4 * 2 + e % 2;
      a[row * kAStride + warp * 16 + lane / 4 + e / 2 % 2 * 8] = t[e / 8][e / 4 % 2][e % 4];
    }
    group.sync();
  }
  static __device__ __forceinline__ void set(Left<1>& left, const float (&y)[2][4]) {
#pragma unroll
    for (int e = 0; e < 4; ++e) left.set(0, e, y[e / 2][e % 2 * 2], y[e / 2][e % 2 * 2 + 1]);
  }

  // T, its columns times factors, as a left operand.
  __device__ __forceinline__ void load_t(Left<4>& t, const float* factors) const {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = k * 16 + i / 2 * 8 + lane % 4 * 2;
        const auto x =
            *reinterpret_cast<const float2*>(a + (warp * 16 + i % 2 * 8 + lane / 4) * kAStride + column);
        const auto factor = *reinterpret_cast<const float2*>(factors + column);
        t.set(k, i, x.x * factor.x, x.y * factor.y);
      }
    }
  }
  // d = t x, with x the tile of rows of tokens.
  __device__ __forceinline__ void times(float (&d)[64], const Left<4>& t) const {
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const auto right = [&](int low) {
        return wgmma::columns_descriptor(base + low * kTile + k * (2 * kAtom), kAtom, kTile / 2);
      };
      wgmma::multiply(d, t.low[k], right(0));
      wgmma::multiply(d, t.high[k], right(1));
      wgmma::multiply(d, t.high[k], right(0));
    }
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::pin(d);
  }

  __device__ __forceinline__ void sum_decays(const Gates& gates) const {
    constexpr float kLog2E = 1.4426950408889634F;
    float sum = kLog2E * gates.decay;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const float before = __shfl_up_sync(~0U, sum, step);
      if (lane >= step) sum += before;
    }
    if (thread < 32) g[thread] = sum;
    group.sync();
    if (thread < kTokens) {
      if (thread >= 32) g[thread] = sum += g[31];
      beta[thread] = gates.beta;
      beta_g[thread] = gates.beta * ptx::exp2(sum);
    }
  }

  // A, from the products of keys.
  __device__ __forceinline__ void find_a() const {
    // What the sums will be multiplied by is read before a is written: it might be the same memory.
    const int row = warp * 16 + lane / 4;
    const float own_g[2] = {g[row], g[row + 8]};
    const float own_beta[2] = {beta[row], beta[row + 8]};
    float2 others[8];
#pragma unroll
    for (int e = 0; e < 8; ++e) others[e] = *reinterpret_cast<const float2*>(g + e * 8 + lane % 4 * 2);
    float d[32];
    wgmma::pin(d);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const auto keys = [&](int low) {
        return wgmma::rows_descriptor(base + low * kTile + k / 4 * (kTile / 2) + k % 4 * 32, kAtom);
      };
      wgmma::multiply(d, keys(1), keys(0), k > 0);
      wgmma::multiply(d, keys(0), keys(1), true);
      wgmma::multiply(d, keys(0), keys(0), true);
    }
    wgmma::commit();
    wgmma::wait<0>();
    wgmma::pin(d);
#pragma unroll
    for (int e = 0; e < 16; ++e) {
      const int i = row + e % 2 * 8;
      const int j = e / 2 * 8 + lane % 4 * 2;
      const float own = own_g[e % 2];
      const float x = j < i ? own_beta[e % 2] * ptx::exp2(own - others[e / 2].x) * d[2 * e] : 0;
      const float y = j + 1 < i ? own_beta[e % 2] * ptx::exp2(own - others[e / 2].y) * d[2 * e + 1] : 0;
      *reinterpret_cast<float2*>(a + i * kAStride + j) = {x, y};
    }
    group.sync();
  }

  // What of the keys and of g is needed later; the keys are in shared memory.
  __device__ __forceinline__ void leave_keys(char* image) const {
    if (thread == kCopier) {
      ptx::copy_out(image + kK, base, 2 * kTile);
      ptx::copies_out_commit();
    }
    if (thread >= kTokens) return;
    *reinterpret_cast<float*>(image + kG + thread * 4) = g[thread];
    const float left = ptx::exp2(g[kTokens - 1] - g[thread]);
    const float last = ptx::exp2(g[kTokens - 1]);
    for (int part = 0; part * kColumns < p.v_dim; ++part) {
      auto* to = reinterpret_cast<float*>(image + kParts + part * kPart + kLeftAt);
      to[thread] = left;
      if (thread == 0) to[kTokens] = last;
    }
  }
  // As the left operand of the second phase's products: 16 bytes of each thread for each step and part.
  __device__ __forceinline__ void write_w(const float (&w)[64], char* image) const {
    auto* to = reinterpret_cast<uint4*>(image + kW) + thread;
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const SplitRegisters parts(w, k * 8);
      to[2 * k * kGroup] = {parts.high[0], parts.high[1], parts.high[2], parts.high[3]};
      to[(2 * k + 1) * kGroup] = {parts.low[0], parts.low[1], parts.low[2], parts.low[3]};
    }
  }
  // As the sums of these products.
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

__device__ inline void prepare(const DeltaParams& params, const State& state, Group& group,
                               const Unit& unit) {
  const Recurrence& p = params.p;
  const auto floats = [&](int at) { return reinterpret_cast<float*>(group.memory + at); };
  const Prepare own = {.p = p,
                       .group = group,
                       .base = group.base,
                       .thread = group.thread,
                       .warp = group.warp,
                       .lane = group.lane,
                       .g = floats(kGAt),
                       .beta = floats(kBetaAt),
                       .beta_g = floats(kBetaGAt),
                       .a = floats(kAAt)};
  char* image = params.image(unit.step, unit.index);
  const auto load = [&](RowLoader& loader, const float* from, int64_t stride, int columns) {
    loader.load(from, static_cast<int>(stride), unit.rows, columns, group.thread);
  };
  const auto store = [&](const RowLoader& loader, int columns) {
    loader.store<true>(own.base, unit.rows, columns, group.thread);
    ptx::shared_writes_to_engines();
    group.sync();
  };
  const Gates gates(p, unit, group.thread);
  RowLoader loader;
  load(loader, p.k + unit.token * p.k_token + p.key_head(unit.head) * p.k_head, p.k_token, kDim);
  group.tell();
  if (group.thread == kPoller && unit.step >= params.ring) {  // what had the place before
    wait_for_count(params.count(unit.step - params.ring, unit.index), params.answered());
  }
  own.sum_decays(gates);
  store(loader, kDim);
  own.leave_keys(image);
  const float* values = p.v + unit.token * p.v_token + unit.head * p.v_head;
  load(loader, values, p.v_token, min(kDim, p.v_dim));
  own.find_a();
  own.invert_diagonal();
  own.invert();
  Left<4> t;
  own.load_t(t, own.beta_g);
  float d[64] = {};
  own.times(d, t);
  if (group.thread == kCopier) ptx::copies_out_read<0>();  // values take the keys' place
  group.sync();
  own.write_w(d, image);
  own.load_t(t, own.beta);
  for (int column = 0; column < p.v_dim; column += kDim) {
    const int columns = min(kDim, p.v_dim - column);
    if (column > 0) {
      load(loader, values + column, p.v_token, columns);
      group.sync();
    }
    store(loader, columns);
#pragma unroll
    for (float& x : d) x = 0;
    own.times(d, t);
    own.write_u(d, image, column);
  }
  group.done = params.count(unit.step, unit.index);
}

}  // namespace heed::cuda::chunks
