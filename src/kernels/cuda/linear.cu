// linear. Definition: kernels/ref/ref.cpp. Weights in blocks: blocks.cu. Five ways, by the number of rows and
// the types:
//   few rows, all bfloat16, sm_90  linear_few.cu
//   some dozens, without a sum     linear_batch.cu
//   few other rows                 gemv_kernel: bound by reading the weights once; float32 arithmetic
//   float32 or bfloat16 weights    cuBLASLt, where it is on this machine and the rows lie at 16 bytes
//   anything else                  tile_kernel: float32 arithmetic, any types and strides; correct, not fast
#include <algorithm>

#include "kernels/checks.h"
#include "kernels/cuda/blocks.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/linear_batch.h"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/recurrent.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {
namespace {

constexpr int64_t kFewRows = 4;       // from here on cuBLASLt is as fast
constexpr int64_t kMostGemvRows = 8;  // without it, from here on the tiles are
constexpr int kThreads = 256;

struct Params {
  const void *x, *weight;
  const float* bias;
  float* out;
  int64_t x_row, weight_row, out_row;
  int tokens, in, outs;
  bool accumulate;
};

__device__ void finish(const Params& p, int token, int o, float sum) {
  if (p.bias != nullptr) sum += p.bias[o];
  float* to = p.out + token * p.out_row + o;
  *to = p.accumulate ? *to + sum : sum;
}

// A warp computes kOuts outputs of all rows, its lanes sharing the sum; kCount elements a load.
template <int kRows, int kOuts, int kCount, class X, class W>
__global__ void __launch_bounds__(kThreads) gemv_kernel(const __grid_constant__ Params p) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int first = static_cast<int>(blockIdx.x * (kThreads / 32) + threadIdx.x / 32) * kOuts;
  if (first >= p.outs) return;
  const auto* x = static_cast<const X*>(p.x);
  const W* w[kOuts];
#pragma unroll
  for (int o = 0; o < kOuts; ++o)
    w[o] = static_cast<const W*>(p.weight) + min(first + o, p.outs - 1) * p.weight_row;
  float sum[kRows][kOuts] = {};
#pragma unroll 2
  for (int i = lane * kCount; i < p.in; i += 32 * kCount) {
    Pack<float, kCount> b[kOuts];
#pragma unroll
    for (int o = 0; o < kOuts; ++o) b[o] = load<kCount>(w[o] + i);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const auto a = load<kCount>(x + min(r, p.tokens - 1) * p.x_row + i);
#pragma unroll
      for (int o = 0; o < kOuts; ++o) {
#pragma unroll
        for (int e = 0; e < kCount; ++e) sum[r][o] += a.x[e] * b[o].x[e];
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int o = 0; o < kOuts; ++o) {
      for (int step = 16; step > 0; step /= 2) sum[r][o] += __shfl_xor_sync(~0U, sum[r][o], step);
      if (lane == 0 && r < p.tokens && first + o < p.outs) finish(p, r, first + o, sum[r][o]);
    }
  }
}

template <int kRows, class X, class W>
void launch_gemv(cudaStream_t stream, const Params& p, bool aligned) {
  constexpr int kOuts = 4;
  constexpr int kCount = sizeof(W) == 2 ? 8 : 4;
  const int each = kThreads / 32 * kOuts;
  const auto blocks = static_cast<unsigned>((p.outs + each - 1) / each);
  if (aligned && p.in % kCount == 0) {
    gemv_kernel<kRows, kOuts, kCount, X, W><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    gemv_kernel<kRows, kOuts, 1, X, W><<<blocks, kThreads, 0, stream>>>(p);
  }
  CUDA_LAUNCHED("gemv_kernel");
}

template <class X, class W>
void gemv(cudaStream_t stream, const Params& p, bool aligned) {
  if (p.tokens == 1) return launch_gemv<1, X, W>(stream, p, aligned);
  if (p.tokens <= 4) return launch_gemv<4, X, W>(stream, p, aligned);
  launch_gemv<8, X, W>(stream, p, aligned);
}

// 64 rows by 64 outputs; a thread has 4 by 4 of them.
template <class X, class W>
__global__ void __launch_bounds__(kThreads) tile_kernel(const __grid_constant__ Params p) {
  constexpr int kTile = 64, kDepth = 16, kEach = 4;
  __shared__ float a[kDepth][kTile + 1];
  __shared__ float b[kDepth][kTile + 1];
  const int row = static_cast<int>(blockIdx.y) * kTile;
  const int column = static_cast<int>(blockIdx.x) * kTile;
  const int tr = static_cast<int>(threadIdx.x) / 16 * kEach;
  const int tc = static_cast<int>(threadIdx.x) % 16 * kEach;
  float sum[kEach][kEach] = {};
  for (int k = 0; k < p.in; k += kDepth) {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kThreads) {
      const int r = i / kDepth;
      const int d = i % kDepth;
      const bool in = k + d < p.in;
      a[d][r] =
          in && row + r < p.tokens ? to_float(static_cast<const X*>(p.x)[(row + r) * p.x_row + k + d]) : 0;
      b[d][r] = in && column + r < p.outs
                    ? to_float(static_cast<const W*>(p.weight)[(column + r) * p.weight_row + k + d])
                    : 0;
    }
    __syncthreads();
    for (int d = 0; d < kDepth; ++d) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) sum[i][j] += a[d][tr + i] * b[d][tc + j];
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      if (row + tr + i < p.tokens && column + tc + j < p.outs)
        finish(p, row + tr + i, column + tc + j, sum[i][j]);
    }
  }
}

template <class X, class W>
void run_own(cudaStream_t stream, const Params& p, bool aligned) {
  if (p.tokens <= kMostGemvRows) return gemv<X, W>(stream, p, aligned);
  const dim3 grid(static_cast<unsigned>((p.outs + 63) / 64), static_cast<unsigned>((p.tokens + 63) / 64));
  tile_kernel<X, W><<<grid, kThreads, 0, stream>>>(p);
  CUDA_LAUNCHED("tile_kernel");
}

// x as a sum of three bfloat16 numbers, of 8 bits each: as many as float32 has. Then products with bfloat16
// weights are those of float32, on tensor cores.
constexpr int kTerms = 3;

__global__ void __launch_bounds__(kThreads)
    split_kernel(const float* x, int64_t x_row, int64_t rows, int64_t groups, __nv_bfloat16* out) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= rows * groups) return;
  Pack<float, 4> rest = load<4>(x + i / groups * x_row + i % groups * 4);
#pragma unroll
  for (int term = 0; term < kTerms; ++term) {
    __nv_bfloat16* to = out + (term * rows * groups + i) * 4;
    store(to, rest);
    const Pack<float, 4> taken = load<4>(to);
#pragma unroll
    for (int j = 0; j < 4; ++j) rest.x[j] -= taken.x[j];
  }
}

// Rows at multiples of 16 bytes.
bool in_chunks(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && t.stride[0] * size_of(t.dtype) % 16 == 0;
}

bool blas_takes(const LinearArgs& args) {
  const bool types =
      args.weight.dtype == DType::kBF16 || (args.weight.dtype == DType::kF32 && args.x.dtype == DType::kF32);
  return types && args.x.size[1] % 8 == 0 && in_chunks(args.x) && in_chunks(args.weight) &&
         in_chunks(args.out) &&
         (!args.bias.defined() || reinterpret_cast<uintptr_t>(args.bias.data) % 16 == 0);
}

void run_blas(CudaStream& device, CublasLt& blas, const LinearArgs& args) {
  const auto stream = static_cast<cudaStream_t>(device.handle());
  const int64_t tokens = args.x.size[0];
  const int64_t in = args.x.size[1];
  const bool split = args.x.dtype == DType::kF32 && args.weight.dtype == DType::kBF16;
  char* scratch = static_cast<char*>(device.scratch(kBlasScratch + (split ? kTerms * tokens * in * 2 : 0)));
  CublasLt::Product product = {.x = args.x.data,
                               .weight = args.weight.data,
                               .bias = args.bias.defined() ? args.bias.f32() : nullptr,
                               .out = args.out.mutable_f32(),
                               .tokens = tokens,
                               .in = in,
                               .outs = args.weight.size[0],
                               .x_row = args.x.stride[0],
                               .weight_row = args.weight.stride[0],
                               .out_row = args.out.stride[0],
                               .bf16 = args.weight.dtype == DType::kBF16,
                               .accumulate = args.accumulate};
  if (split) {
    auto* terms = reinterpret_cast<__nv_bfloat16*>(scratch + kBlasScratch);
    const auto blocks = static_cast<unsigned>((tokens * (in / 4) + kThreads - 1) / kThreads);
    split_kernel<<<blocks, kThreads, 0, stream>>>(args.x.f32(), args.x.stride[0], tokens, in / 4, terms);
    CUDA_LAUNCHED("split_kernel");
    product.x_row = in;
    for (int term = kTerms - 1; term > 0; --term) {  // the small ones first
      product.x = terms + term * tokens * in;
      blas.multiply(stream, product, scratch, kBlasScratch);
      product.accumulate = true;
      product.bias = nullptr;
    }
    product.x = terms;
  }
  blas.multiply(stream, product, scratch, kBlasScratch);
}

}  // namespace

void linear(Stream& stream, const LinearArgs& args) {
  const Shapes n = check(args);
  if (n["tokens"] * n["out"] == 0) return;
  if (is_blocks(args.weight.dtype)) return block_linear(stream, args);
  CudaStream& device = device_of(stream);
  const LinearsArgs alone = {
      .x = args.x, .parts = {{{args.weight, args.bias, args.out}}}, .accumulate = args.accumulate};
  if (few_takes(device, alone)) return run_few(stream, alone);
  if (batch_takes(device, args)) return run_batch(stream, args);
  linear_in_turn(stream, args);
}

void linear_in_turn(Stream& stream, const LinearArgs& args) {
  CudaStream& device = device_of(stream);
  if (args.x.size[0] > kFewRows && blas_takes(args) && device.blas() != nullptr) {
    return run_blas(device, *device.blas(), args);
  }
  const Params params = {.x = args.x.data,
                         .weight = args.weight.data,
                         .bias = args.bias.defined() ? args.bias.f32() : nullptr,
                         .out = args.out.mutable_f32(),
                         .x_row = args.x.stride[0],
                         .weight_row = args.weight.stride[0],
                         .out_row = args.out.stride[0],
                         .tokens = static_cast<int>(args.x.size[0]),
                         .in = static_cast<int>(args.x.size[1]),
                         .outs = static_cast<int>(args.weight.size[0]),
                         .accumulate = args.accumulate};
  const bool aligned = in_chunks(args.x) && in_chunks(args.weight);
  if (args.x.dtype == DType::kBF16)
    return run_own<__nv_bfloat16, __nv_bfloat16>(handle_of(stream), params, aligned);
  with_type(args.weight.dtype,
            [&]<class W>(const W*) { run_own<float, W>(handle_of(stream), params, aligned); });
}

int64_t linear_scratch_bytes(const StepSize& size) {
  int64_t linear = kBlasScratch + kTerms * size.tokens * size.width * 2;
  if (size.has_blocks)
    linear = std::max(linear, kBlasScratch + std::max(kWidenedScratch, size.width * int64_t{sizeof(float)}));
  return std::max(linear, size.head_state > 0 ? kChunkScratch : 0);
}

}  // namespace heed::cuda
