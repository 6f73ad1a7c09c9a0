// linear_attention and gated_delta over chunks of 64 tokens on tensor cores. Definition:
// kernels/ref/ref_recurrent.cpp.
//
// With S the state before a chunk, g the sums of decays within it and u what its tokens add to the state:
//   u = T beta (v - e^g K S),  T = (1 + A)^-1,  A_ij = beta_i e^(g_i - g_j) k_i . k_j  for j < i
//   out = e^g Q S + P u,       P_ij = e^(g_i - g_j) q_i . k_j  for j <= i
//   S' = e^g_last S + sum_j e^(g_last - g_j) k_j (x) u_j
// where linear attention has u = v. A first kernel finds K, Q, T and P of many chunks at once, in the layout
// that the second reads; that one goes along each sequence, a block for 32 columns of a head's state. Every
// factor is two bfloat16, the value rounded and what that lost, and a product three: its error is some 2^-16
// of the factors.
#include <algorithm>

#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/recurrent.cuh"

// For GPUs before Hopper, whose blocks have too little shared memory, the kernels are compiled empty.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

constexpr int kTokens = 64;  // of a chunk
constexpr int kDim = 128;    // rows of a state
constexpr int kColumns = 32;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kTiles = kTokens / 16;

// A chunk's image: matrices of bfloat16, each first rounded, then what was lost; then g and beta, float32.
constexpr int kWide = kTokens * kDim * 2;       // bytes of [64, 128]
constexpr int kSquare = kTokens * kTokens * 2;  // of [64, 64]
constexpr int kNarrow = kTokens * kColumns * 2;
constexpr int kStates = kDim * kColumns * 2;
constexpr int kK = 0, kQ = 2 * kWide, kT = 4 * kWide, kP = kT + 2 * kSquare, kG = kP + 2 * kSquare;
constexpr int kBeta = kG + kTokens * 4;
constexpr int kImage = kBeta + kTokens * 4;

// Bytes from a matrix's start to 8 columns of a row; no two of 8 rows in a column share banks.
template <int kWidth>
__device__ __forceinline__ int chunk_at(int row, int chunk) {
  if constexpr (kWidth == kColumns) return row * kWidth * 2 + (chunk ^ (row / 2 % 4)) * 16;
  return row * kWidth * 2 + (chunk ^ (row % 8)) * 16;
}

// Two values as two pairs of bfloat16: rounded, and what that lost.
__device__ __forceinline__ uint2 split(float x, float y) {
  const uint32_t high = ptx::pack(x, y);
  const auto pair = *reinterpret_cast<const __nv_bfloat162*>(&high);
  return {high, ptx::pack(x - __low2float(pair), y - __high2float(pair))};
}

__device__ __forceinline__ void store4(uint32_t to, uint32_t x) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(x) : "memory");
}
// Elements [row, column] and the next.
template <int kWidth>
__device__ __forceinline__ void store_split(uint32_t matrix, int row, int column, float x, float y) {
  const uint32_t to = matrix + chunk_at<kWidth>(row, column / 8) + column % 8 * 2;
  const uint2 parts = split(x, y);
  store4(to, parts.x);
  store4(to + (kWidth == kDim ? kWide : kWidth == kTokens ? kSquare : kNarrow), parts.y);
}

struct Left {
  uint32_t high[4], low[4];
};
// Rows [row, row + 16) and columns [column, column + 16) of a matrix as a left operand.
template <int kWidth>
__device__ __forceinline__ Left left(uint32_t matrix, int bytes, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const uint32_t from = matrix + chunk_at<kWidth>(row + lane % 16, column / 8 + lane / 16);
  Left a;
  ptx::load_matrices(a.high, from);
  ptx::load_matrices(a.low, from + bytes);
  return a;
}
// Its transpose's: rows are the matrix's columns.
template <int kWidth>
__device__ __forceinline__ Left left_of_columns(uint32_t matrix, int bytes, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const uint32_t from = matrix + chunk_at<kWidth>(column + lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2);
  Left a;
  ptx::load_transposed(a.high, from);
  ptx::load_transposed(a.low, from + bytes);
  return a;
}
// sum[2] (16 by 16) += a b, b being given as the two registers of each of two products.
__device__ __forceinline__ void multiply(float (&first)[4], float (&second)[4], const Left& a,
                                         const uint32_t (&high)[4], const uint32_t (&low)[4]) {
  ptx::multiply(first, a.low, high[0], high[1]);
  ptx::multiply(second, a.low, high[2], high[3]);
  ptx::multiply(first, a.high, low[0], low[1]);
  ptx::multiply(second, a.high, low[2], low[3]);
  ptx::multiply(first, a.high, high[0], high[1]);
  ptx::multiply(second, a.high, high[2], high[3]);
}
// ... with b[k, n] rows of a matrix from [row, column] on.
template <int kWidth>
__device__ __forceinline__ void multiply_rows(float (&first)[4], float (&second)[4], const Left& a,
                                              uint32_t matrix, int bytes, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const uint32_t from = matrix + chunk_at<kWidth>(row + lane % 16, column / 8 + lane / 16);
  uint32_t high[4];
  uint32_t low[4];
  ptx::load_transposed(high, from);
  ptx::load_transposed(low, from + bytes);
  multiply(first, second, a, high, low);
}
// ... with b[k, n] columns of a matrix: its rows run along k.
template <int kWidth>
__device__ __forceinline__ void multiply_columns(float (&first)[4], float (&second)[4], const Left& a,
                                                 uint32_t matrix, int bytes, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const uint32_t from = matrix + chunk_at<kWidth>(row + lane / 16 * 8 + lane % 8, column / 8 + lane / 8 % 2);
  uint32_t high[4];
  uint32_t low[4];
  ptx::load_matrices(high, from);
  ptx::load_matrices(low, from + bytes);
  multiply(first, second, a, high, low);
}

struct ChunkParams {
  Recurrence p;
  char* images;      // [chunks of the launch, heads]
  int first, count;  // chunks of the launch, of those of all sequences
};

__device__ __forceinline__ int chunks_of(const State& state, int sequence) {
  const int tokens = state.seq_start[sequence + 1] - state.seq_start[sequence];
  return tokens < kLeastInChunks ? 0 : (tokens + kTokens - 1) / kTokens;
}

// ---- The first kernel: a block a chunk and head ----

// The sequence of a chunk and the chunk's number within it, or {-1, 0}; a warp asks with all its threads.
__device__ int2 find_chunk(const State& state, int chunk) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int first = 0; first < state.sequences; first += 32) {
    const int own = first + lane < state.sequences ? chunks_of(state, first + lane) : 0;
    int end = own;
    for (int step = 1; step < 32; step *= 2) {
      const int left = __shfl_up_sync(~0U, end, step);
      if (lane >= step) end += left;
    }
    const unsigned here = __ballot_sync(~0U, end - own <= chunk && chunk < end);
    if (here != 0) {
      const int at = __ffs(static_cast<int>(here)) - 1;
      return {first + at, chunk - __shfl_sync(~0U, end - own, at)};
    }
    chunk -= __shfl_sync(~0U, end, 31);
  }
  return {-1, 0};
}

// Keys and queries of a head: into the image here, and the one in global memory.
__device__ void split_rows(const float* from, int64_t stride, int rows, uint32_t matrix, char* image) {
  for (int i = static_cast<int>(threadIdx.x); i < kTokens * kDim / 8; i += kThreads) {
    const int row = i / (kDim / 8);
    const int chunk = i % (kDim / 8);
    float4 a = {0, 0, 0, 0};
    float4 b = {0, 0, 0, 0};
    if (row < rows) {
      a = *reinterpret_cast<const float4*>(from + row * stride + chunk * 8);
      b = *reinterpret_cast<const float4*>(from + row * stride + chunk * 8 + 4);
    }
    const uint2 parts[] = {split(a.x, a.y), split(a.z, a.w), split(b.x, b.y), split(b.z, b.w)};
    const uint4 high = {parts[0].x, parts[1].x, parts[2].x, parts[3].x};
    const uint4 low = {parts[0].y, parts[1].y, parts[2].y, parts[3].y};
    const int at = chunk_at<kDim>(row, chunk);
    ptx::store16(matrix + at, high);
    ptx::store16(matrix + kWide + at, low);
    *reinterpret_cast<uint4*>(image + at) = high;
    *reinterpret_cast<uint4*>(image + kWide + at) = low;
  }
}

// g and beta of the chunk's tokens, by the first two warps; g stays as it is behind the last token.
template <bool kDelta>
__device__ void sum_decays(const Recurrence& p, int head, int token, int rows, float* g, float* beta) {
  const int i = static_cast<int>(threadIdx.x);
  float sum = 0;
  if (i < kTokens) {
    if (i < rows) sum = kDelta ? p.decay[(token + i) * p.decay_token + head] : -p.decay[head];
    beta[i] = i < rows && kDelta ? p.beta[(token + i) * p.beta_token + head] : 0;
    for (int step = 1; step < 32; step *= 2) {
      const float before = __shfl_up_sync(~0U, sum, step);
      if (i % 32 >= step) sum += before;
    }
    g[i] = sum;
  }
  __syncthreads();
  if (i >= 32 && i < kTokens) g[i] = sum + g[31];
}

// (1 + a)^-1 for a strictly lower triangle: thread i has column i, which needs its rows above alone.
__device__ void invert(const float* a, uint32_t to) {
  const int column = static_cast<int>(threadIdx.x);
  float t[kTokens];
#pragma unroll
  for (int i = 0; i < kTokens; ++i) {
    float sums[4] = {i == column ? 1.0F : 0.0F, 0, 0, 0};
#pragma unroll
    for (int j = 0; j < i; j += 4) {
      const float4 x = *reinterpret_cast<const float4*>(a + i * kTokens + j);  // zeros from i on
      sums[0] -= x.x * t[j];
      if (j + 1 < i) sums[1] -= x.y * t[j + 1];
      if (j + 2 < i) sums[2] -= x.z * t[j + 2];
      if (j + 3 < i) sums[3] -= x.w * t[j + 3];
    }
    t[i] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
#pragma unroll
  for (int i = 0; i < kTokens; ++i) {
    const float other = __shfl_down_sync(~0U, t[i], 1);
    if (column % 2 == 0) store_split<kTokens>(to, i, column, t[i], other);
  }
}

template <bool kDelta>
__global__ void __launch_bounds__(kThreads)
    images_kernel(const __grid_constant__ ChunkParams params, const __grid_constant__ State state) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) char memory[];
  const Recurrence& p = params.p;
  const int2 found = find_chunk(state, params.first + static_cast<int>(blockIdx.x));
  if (found.x < 0) return;
  const int head = static_cast<int>(blockIdx.y);
  const int token = state.seq_start[found.x] + found.y * kTokens;
  const int rows = min(kTokens, state.seq_start[found.x + 1] - token);
  char* image = params.images + (int64_t{blockIdx.x} * p.heads + head) * kImage;
  const uint32_t base = ptx::shared(memory);
  float* g = reinterpret_cast<float*>(memory + kG);
  float* beta = reinterpret_cast<float*>(memory + kBeta);
  split_rows(p.k + token * p.k_token + p.key_head(head) * p.k_head, p.k_token, rows, base + kK, image + kK);
  split_rows(p.q + token * p.q_token + p.key_head(head) * p.q_head, p.q_token, rows, base + kQ, image + kQ);
  sum_decays<kDelta>(p, head, token, rows, g, beta);
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const bool of_keys = warp < kTiles;  // these warps find A, the others P
  const int tile = warp % kTiles;
  float sum[2 * kTiles][4] = {};
  if (kDelta || !of_keys) {
#pragma unroll
    for (int k = 0; k < kDim; k += 16) {
      const Left a = left<kDim>(base + (of_keys ? kK : kQ), kWide, tile * 16, k);
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        if (n <= tile) multiply_columns<kDim>(sum[2 * n], sum[2 * n + 1], a, base + kK, kWide, n * 16, k);
      }
    }
  }
  __syncthreads();  // the queries' place is A's from here on
  auto* a = reinterpret_cast<float*>(memory + kQ);
#pragma unroll
  for (int n = 0; n < 2 * kTiles; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = tile * 16 + lane / 4 + half * 8;
      const int j = n * 8 + lane % 4 * 2;
      float x[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const bool seen = of_keys ? j + e < i : j + e <= i;
        x[e] = seen ? sum[n][2 * half + e] * expf(g[i] - g[j + e]) : 0;
      }
      if (!of_keys) {
        store_split<kTokens>(base + kP, i, j, x[0], x[1]);
      } else if (kDelta) {
        a[i * kTokens + j] = beta[i] * x[0];
        a[i * kTokens + j + 1] = beta[i] * x[1];
      }
    }
  }
  __syncthreads();
  if (kDelta && threadIdx.x < kTokens) invert(a, base + kT);
  __syncthreads();
  for (int i = kT / 16 + static_cast<int>(threadIdx.x); i < kImage / 16; i += kThreads) {
    *reinterpret_cast<uint4*>(image + i * 16) = ptx::load16(base + i * 16);
  }
#endif
}

// ---- The second kernel: a block for 32 columns of a head's state of a sequence ----

constexpr int kStateAt = 2 * kImage;  // behind two images: the state, or u and what of it is added
constexpr int kRightAt = kStateAt + 2 * kStates;    // beta (v - e^g K S)
constexpr int kArrivedAt = kRightAt + 2 * kNarrow;  // a barrier for each image
constexpr int kShared = kArrivedAt + 2 * 8;

template <bool kDelta>
struct Scan {
  const ChunkParams& params;
  const State& state;
  const Recurrence& p;
  const uint32_t base;
  const char* memory;
  const int head, column, sequence, warp, lane;
  float s[4][4];  // rows 16 * warp and on of the state's columns

  __device__ __forceinline__ uint32_t arrived(int slot) const { return base + kArrivedAt + slot * 8; }
  // The n-th image of the launch, by the copy engine.
  __device__ __forceinline__ void fetch(int n, int slot) const {
    if (threadIdx.x > 0) return;
    const char* image = params.images + (int64_t{n} * p.heads + head) * kImage;
    const uint32_t to = base + slot * kImage;
    constexpr int kLeft = kImage - kP;  // T is for the delta rule alone
    ptx::barrier_arrive_expecting(arrived(slot), kDelta ? kImage : kT + kLeft);
    ptx::copy_bytes(to, image, kDelta ? kImage : kT, arrived(slot));
    if (!kDelta) ptx::copy_bytes(to + kP, image + kP, kLeft, arrived(slot));
  }
  __device__ __forceinline__ int64_t state_at(int i, int half) const {
    return (int64_t{head} * kDim + warp * 16 + lane / 4 + half * 8) * p.v_dim + column + i * 8 + lane % 4 * 2;
  }
  __device__ __forceinline__ void load_state() {
    const float* from = state.at<float>(state.slot[sequence]);
    for_quads([&](int i, int half) {
      const auto x = *reinterpret_cast<const float2*>(from + state_at(i, half));
      s[i][2 * half] = x.x;
      s[i][2 * half + 1] = x.y;
    });
  }
  __device__ __forceinline__ void write_state(int slot, const float (&x)[4][4]) const {
    float* to = state.at<float>(slot);
    for_quads([&](int i, int half) {
      *reinterpret_cast<float2*>(to + state_at(i, half)) = {x[i][2 * half], x[i][2 * half + 1]};
    });
  }
  template <class Body>
  static __device__ __forceinline__ void for_quads(Body body) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      body(i, 0);
      body(i, 1);
    }
  }
  __device__ __forceinline__ void share_state() const {
    for_quads([&](int i, int half) {
      const int row = warp * 16 + lane / 4 + half * 8;
      const int at = i * 8 + lane % 4 * 2;
      const uint32_t to = base + kStateAt + chunk_at<kColumns>(row, at / 8) + at % 8 * 2;
      const uint2 parts = split(s[i][2 * half], s[i][2 * half + 1]);
      store4(to, parts.x);
      store4(to + kStates, parts.y);
    });
  }

  // Rows of K (warps 0 to 3) or Q (4 to 7) times the state.
  __device__ __forceinline__ void times_state(uint32_t image, float (&x)[4][4]) const {
    const uint32_t matrix = image + (warp < kTiles ? kK : kQ);
#pragma unroll
    for (int k = 0; k < kDim; k += 16) {
      const Left a = left<kDim>(matrix, kWide, warp % kTiles * 16, k);
      multiply_rows<kColumns>(x[0], x[1], a, base + kStateAt, kStates, k, 0);
      multiply_rows<kColumns>(x[2], x[3], a, base + kStateAt, kStates, k, 16);
    }
  }
  // result = factor * s + K^T of what is added
  __device__ __forceinline__ void add_tokens(uint32_t image, float factor, float (&result)[4][4]) const {
    for_quads([&](int i, int half) {
      result[i][2 * half] = factor * s[i][2 * half];
      result[i][2 * half + 1] = factor * s[i][2 * half + 1];
    });
    const uint32_t added = base + kStateAt + 2 * kNarrow;
#pragma unroll
    for (int k = 0; k < kTokens; k += 16) {
      const Left a = left_of_columns<kDim>(image + kK, kWide, warp * 16, k);
      multiply_rows<kColumns>(result[0], result[1], a, added, kNarrow, k, 0);
      multiply_rows<kColumns>(result[2], result[3], a, added, kNarrow, k, 16);
    }
  }

  // A chunk of tokens [token, token + rows), its image in `slot`.
  __device__ __forceinline__ void run(int slot, int token, int rows, int& save) {
    const uint32_t image = base + slot * kImage;
    const float* g = reinterpret_cast<const float*>(memory + slot * kImage + kG);
    const float* beta = reinterpret_cast<const float*>(memory + slot * kImage + kBeta);
    const int tile = warp % kTiles;
    const bool of_keys = warp < kTiles;
    float v[4][4] = {};  // the values of the warp's rows: all columns, or without the delta rule 16 of them
    for_quads([&](int i, int half) {
      const int row = tile * 16 + lane / 4 + half * 8;
      const int at = (kDelta ? 0 : warp / kTiles * 16) + i * 8 + lane % 4 * 2;
      if (row >= rows || (kDelta ? !of_keys : i >= 2)) return;
      const auto two = *reinterpret_cast<const float2*>(value_of(token + row, at));
      v[i][2 * half] = two.x;
      v[i][2 * half + 1] = two.y;
    });
    float x[4][4] = {};
    if (kDelta || !of_keys) times_state(image, x);
    float u[2][4] = {};  // of the warp's tile of rows, 16 columns
    if constexpr (kDelta) {
      if (of_keys) {
        for_quads([&](int i, int half) {
          const int row = tile * 16 + lane / 4 + half * 8;
          const float kept = expf(g[row]);
          store_split<kColumns>(base + kRightAt, row, i * 8 + lane % 4 * 2,
                                beta[row] * (v[i][2 * half] - kept * x[i][2 * half]),
                                beta[row] * (v[i][2 * half + 1] - kept * x[i][2 * half + 1]));
        });
      }
      __syncthreads();
      for (int k = 0; k <= tile; ++k) {
        const Left a = left<kTokens>(image + kT, kSquare, tile * 16, k * 16);
        multiply_rows<kColumns>(u[0], u[1], a, base + kRightAt, kNarrow, k * 16, warp / kTiles * 16);
      }
    } else {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        u[0][i] = v[0][i];
        u[1][i] = v[1][i];
      }
    }
    // The state's place is theirs from here on.
    share(
        u, [](int) { return 1.0F; }, base + kStateAt);
    for (bool last = false; !last;) {
      const bool saves = save < state.saves && state.save[save].token < token + rows;
      const int end = saves ? state.save[save].token - token : kTokens - 1;
      last = !saves;
      share(
          u, [&](int row) { return row <= end ? expf(g[end] - g[row]) : 0; }, base + kStateAt + 2 * kNarrow);
      __syncthreads();
      if (last && !of_keys) answer(image, g, token, rows, x);
      float next[4][4];
      add_tokens(image, expf(g[end]), next);
      if (saves) {
        write_state(state.save[save++].slot, next);
      } else {
        for_quads([&](int i, int half) {
          s[i][2 * half] = next[i][2 * half];
          s[i][2 * half + 1] = next[i][2 * half + 1];
        });
      }
      __syncthreads();
    }
    share_state();
  }

 private:
  __device__ __forceinline__ const float* value_of(int token, int at) const {
    return p.v + token * p.v_token + head * p.v_head + column + at;
  }
  template <class Factor>
  __device__ __forceinline__ void share(const float (&u)[2][4], Factor factor, uint32_t to) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp % kTiles * 16 + lane / 4 + half * 8;
        const float f = factor(row);
        store_split<kColumns>(to, row, warp / kTiles * 16 + i * 8 + lane % 4 * 2, f * u[i][2 * half],
                              f * u[i][2 * half + 1]);
      }
    }
  }
  // out = scale (e^g Q S + P u), x being Q S of the warp's rows.
  __device__ __forceinline__ void answer(uint32_t image, const float* g, int token, int rows,
                                         float (&x)[4][4]) const {
    const int tile = warp % kTiles;
    for_quads([&](int i, int half) {
      const float kept = expf(g[tile * 16 + lane / 4 + half * 8]);
      x[i][2 * half] *= kept;
      x[i][2 * half + 1] *= kept;
    });
    for (int k = 0; k <= tile; ++k) {
      const Left a = left<kTokens>(image + kP, kSquare, tile * 16, k * 16);
      multiply_rows<kColumns>(x[0], x[1], a, base + kStateAt, kNarrow, k * 16, 0);
      multiply_rows<kColumns>(x[2], x[3], a, base + kStateAt, kNarrow, k * 16, 16);
    }
    for_quads([&](int i, int half) {
      const int row = tile * 16 + lane / 4 + half * 8;
      if (row >= rows) return;
      float* to = p.out + (token + row) * p.out_token + head * p.out_head + column + i * 8 + lane % 4 * 2;
      *reinterpret_cast<float2*>(to) = {p.scale * x[i][2 * half], p.scale * x[i][2 * half + 1]};
    });
  }
};

template <bool kDelta>
__global__ void __launch_bounds__(kThreads, 1)
    scan_kernel(const __grid_constant__ ChunkParams params, const __grid_constant__ State state) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) char memory[];
  const int sequence = static_cast<int>(blockIdx.z);
  const int own = chunks_of(state, sequence);
  if (own == 0) return;
  // The sequence's chunks of this launch: [first, end), of its own.
  int before = 0;
  for (int s = static_cast<int>(threadIdx.x % 32); s < sequence; s += 32) before += chunks_of(state, s);
  before = __reduce_add_sync(~0U, before);
  const int first = max(params.first - before, 0);
  const int end = min(params.first + params.count - before, own);
  if (first >= end) return;
  Scan<kDelta> scan = {.params = params,
                       .state = state,
                       .p = params.p,
                       .base = ptx::shared(memory),
                       .memory = memory,
                       .head = static_cast<int>(blockIdx.y),
                       .column = static_cast<int>(blockIdx.x) * kColumns,
                       .sequence = sequence,
                       .warp = static_cast<int>(threadIdx.x) / 32,
                       .lane = static_cast<int>(threadIdx.x) % 32};
  const int start = state.seq_start[sequence];
  const int tokens = state.seq_start[sequence + 1] - start;
  int save = state.first_save(start + first * kTokens);
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < 2; ++slot) ptx::barrier_init(scan.arrived(slot), 1);
    ptx::barrier_inits_done();
  }
  __syncthreads();
  scan.fetch(before + first - params.first, first % 2);
  scan.load_state();
  scan.share_state();
  for (int c = first; c < end; ++c) {
    __syncthreads();
    ptx::barrier_wait(scan.arrived(c % 2), (c - first) / 2 % 2);
    if (c + 1 < end) scan.fetch(before + c + 1 - params.first, (c + 1) % 2);
    scan.run(c % 2, start + c * kTokens, min(kTokens, tokens - c * kTokens), save);
  }
  scan.write_state(state.slot[sequence], scan.s);
#endif
}

template <bool kDelta>
void run(const Stream& stream, const Recurrence& p, const State& state, int64_t tokens) {
  static const bool ready = [] {
    allow_shared(images_kernel<kDelta>, kImage);
    allow_shared(scan_kernel<kDelta>, kShared);
    return true;
  }();
  CHECK(ready);
  // As many chunks as there can be; a launch has as many as there is scratch memory for.
  const int64_t all = tokens / kTokens + std::min<int64_t>(state.sequences, tokens / kLeastInChunks);
  const int64_t each = std::clamp<int64_t>(kChunkScratch / (int64_t{kImage} * p.heads), 1, all);
  char* images = static_cast<char*>(device_of(stream).scratch(each * p.heads * kImage));
  for (int64_t first = 0; first < all; first += each) {
    const int64_t count = std::min(each, all - first);
    const ChunkParams params = {
        .p = p, .images = images, .first = static_cast<int>(first), .count = static_cast<int>(count)};
    const auto heads = static_cast<unsigned>(p.heads);
    images_kernel<kDelta>
        <<<dim3(static_cast<unsigned>(count), heads), kThreads, kImage, handle_of(stream)>>>(params, state);
    CUDA_LAUNCHED("images_kernel");
    const dim3 grid(static_cast<unsigned>(p.v_dim / kColumns), heads, static_cast<unsigned>(state.sequences));
    scan_kernel<kDelta><<<grid, kThreads, kShared, handle_of(stream)>>>(params, state);
    CUDA_LAUNCHED("scan_kernel");
  }
}

}  // namespace

bool chunks_take(const CudaStream& device, const Recurrence& p, const StateArgs& args) {
  const auto aligned = [](const void* pointer, int64_t token, int64_t head, int elements) {
    return reinterpret_cast<uintptr_t>(pointer) % (elements * sizeof(float)) == 0 && token % elements == 0 &&
           head % elements == 0;
  };
  return device.hopper() && args.slots.dtype == DType::kF32 && p.k_dim == kDim && p.v_dim % kColumns == 0 &&
         aligned(p.q, p.q_token, p.q_head, 4) && aligned(p.k, p.k_token, p.k_head, 4) &&
         aligned(p.v, p.v_token, p.v_head, 2) && aligned(p.out, p.out_token, p.out_head, 2) &&
         aligned(args.slots.data, args.slots.stride[0], 0, 2);
}

void run_chunks(const Stream& stream, const Recurrence& p, const State& state, int64_t tokens, bool delta) {
  if (delta) return run<true>(stream, p, state, tokens);
  run<false>(stream, p, state, tokens);
}

}  // namespace heed::cuda
