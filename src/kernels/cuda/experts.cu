// Linear layers by the dozen: expert_linear and head_linear. Definitions: kernels/ref. Float32 arithmetic,
// any types and strides; experts_tiles.cu has what tensor cores can do.
//
// A block computes 32 rows by 64 outputs of one product, a thread 2 by 4 of them.
#include <algorithm>

#include "kernels/checks.h"
#include "kernels/cuda/block_few.h"
#include "kernels/cuda/blocks.h"
#include "kernels/cuda/experts.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 32, kColumns = 64, kDepth = 32;
constexpr int kEachRow = 2, kEachColumn = 4;

// One product's share in a block: rows [row, end) and outputs from `column` on.
template <class X, class W, class RowOf>
__device__ void product_tile(RowOf row_of, int row, int end, const W* weight, int64_t weight_row, int column,
                             int in, int outs, float (&sum)[kEachRow][kEachColumn]) {
  __shared__ float a[kDepth][kRows + 1];
  __shared__ float b[kDepth][kColumns + 1];
  const int tr = static_cast<int>(threadIdx.x) / (kColumns / kEachColumn) * kEachRow;
  const int tc = static_cast<int>(threadIdx.x) % (kColumns / kEachColumn) * kEachColumn;
  for (int k = 0; k < in; k += kDepth) {
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kDepth; i += kThreads) {
      const int r = i / kDepth;
      const int d = i % kDepth;
      a[d][r] = k + d < in && row + r < end ? to_float(row_of(row + r)[k + d]) : 0;
    }
    for (int i = static_cast<int>(threadIdx.x); i < kColumns * kDepth; i += kThreads) {
      const int c = i / kDepth;
      const int d = i % kDepth;
      b[d][c] = k + d < in && column + c < outs ? to_float(weight[(column + c) * weight_row + k + d]) : 0;
    }
    __syncthreads();
#pragma unroll 8
    for (int d = 0; d < kDepth; ++d) {
#pragma unroll
      for (int i = 0; i < kEachRow; ++i) {
#pragma unroll
        for (int j = 0; j < kEachColumn; ++j) sum[i][j] += a[d][tr + i] * b[d][tc + j];
      }
    }
    __syncthreads();
  }
}

// store(row, output, sum) for the thread's sums that exist.
template <class Store>
__device__ void for_sums(int row, int end, int column, int outs, const float (&sum)[kEachRow][kEachColumn],
                         Store store) {
  const int tr = static_cast<int>(threadIdx.x) / (kColumns / kEachColumn) * kEachRow;
  const int tc = static_cast<int>(threadIdx.x) % (kColumns / kEachColumn) * kEachColumn;
#pragma unroll
  for (int i = 0; i < kEachRow; ++i) {
#pragma unroll
    for (int j = 0; j < kEachColumn; ++j) {
      if (row + tr + i < end && column + tc + j < outs) store(row + tr + i, column + tc + j, sum[i][j]);
    }
  }
}

// ---- expert_linear ----

template <class X, class W>
__global__ void __launch_bounds__(kThreads) expert_kernel(const __grid_constant__ Experts p) {
  const int2 tile = find_tile<kRows>(p, static_cast<int>(blockIdx.y));
  const int e = tile.x;
  if (e < 0) return;
  const int column = static_cast<int>(blockIdx.x) * kColumns;
  const int end = p.expert_start[e + 1];
  const auto row_of = [&](int i) {
    return static_cast<const X*>(p.x) + (p.rows != nullptr ? p.rows[i] : i) * p.x_row;
  };
  float sum[kEachRow][kEachColumn] = {};
  product_tile<X, W>(row_of, tile.y, end, static_cast<const W*>(p.weights[e]), p.weight_row, column, p.in,
                     p.outs, sum);
  for_sums(tile.y, end, column, p.outs, sum, [&](int row, int o, float value) {
    p.out[row * p.out_row + o] = value + (p.bias != nullptr ? p.bias[e * p.bias_row + o] : 0);
  });
}

// ---- head_linear ----

struct Heads {
  const float* x;
  int64_t x_token, x_head;
  const void* weight;
  int64_t weight_head, weight_row;
  float* out;
  int64_t out_token, out_head;
  int tokens, in, outs;
};

template <class W>
__global__ void __launch_bounds__(kThreads) head_kernel(const __grid_constant__ Heads p) {
  const int head = static_cast<int>(blockIdx.z);
  const int column = static_cast<int>(blockIdx.x) * kColumns;
  const int row = static_cast<int>(blockIdx.y) * kRows;
  const auto row_of = [&](int t) { return p.x + t * p.x_token + head * p.x_head; };
  float sum[kEachRow][kEachColumn] = {};
  product_tile<float, W>(row_of, row, p.tokens, static_cast<const W*>(p.weight) + head * p.weight_head,
                         p.weight_row, column, p.in, p.outs, sum);
  for_sums(row, p.tokens, column, p.outs, sum,
           [&](int t, int o, float value) { p.out[t * p.out_token + head * p.out_head + o] = value; });
}

unsigned blocks_for(int64_t size, int each) { return static_cast<unsigned>((size + each - 1) / each); }

void run_plain(const Stream& stream, const Experts& p, DType x, DType weight, int64_t assignments) {
  if (x == DType::kBF16 && weight == DType::kBF16 && tiles_take(p))
    return run_expert_tiles(stream, p, assignments);
  // As many tiles of rows as there can be; those that there are not return at once.
  const int64_t tiles = std::min<int64_t>(assignments, assignments / kRows + p.count);
  const dim3 grid(blocks_for(p.outs, kColumns), static_cast<unsigned>(tiles));
  if (x == DType::kBF16) {
    expert_kernel<__nv_bfloat16, __nv_bfloat16><<<grid, kThreads, 0, handle_of(stream)>>>(p);
  } else {
    with_type(weight, [&]<class W>(const W*) {
      expert_kernel<float, W><<<grid, kThreads, 0, handle_of(stream)>>>(p);
    });
  }
  CUDA_LAUNCHED("expert_kernel");
}

// Experts `first` and up, outputs `out` and up.
Experts part_of(const Experts& all, int first, int count, int out, int outs) {
  Experts p = all;
  p.count = count;
  p.outs = outs;
  p.expert_start += first;
  if (p.bias != nullptr) p.bias += first * p.bias_row + out;
  p.out += out;
  for (int e = 0; e < count; ++e)
    p.weights[e] = static_cast<const char*>(all.weights[first + e]) + out * p.weight_row;
  return p;
}

// Where no kernel for few rows takes them, some outputs of some experts at a time are widened to what rows
// are.
void run_block_experts(const Stream& stream, const ExpertLinearArgs& args, const Experts& all,
                       int64_t assignments) {
  if (block_experts_take(device_of(stream), args.x.dtype, all, assignments))
    return run_block_experts_few(stream, args.weights[0].dtype, all, assignments);
  const DType wide = args.x.dtype;
  const int64_t row_bytes = all.in * size_of(wide);
  const auto outs = static_cast<int>(std::clamp<int64_t>(kWidenedScratch / row_bytes, 1, all.outs));
  const auto count =
      static_cast<int>(std::clamp<int64_t>(kWidenedScratch / (outs * row_bytes), 1, all.count));
  char* scratch = static_cast<char*>(device_of(stream).scratch(std::max(kWidenedScratch, outs * row_bytes)));
  for (int first = 0; first < all.count; first += count) {
    for (int out = 0; out < all.outs; out += outs) {
      Experts p =
          part_of(all, first, std::min(count, all.count - first), out, std::min(outs, all.outs - out));
      widen_experts(stream, args.weights[0].dtype, p, scratch, wide);
      for (int e = 0; e < p.count; ++e) p.weights[e] = scratch + e * p.outs * row_bytes;
      p.weight_row = all.in;
      run_plain(stream, p, wide, wide, assignments);
    }
  }
}

}  // namespace

void expert_linear(Stream& stream, const ExpertLinearArgs& args) {
  const Shapes n = check_shapes(args);
  const int64_t assignments = n["assignments"];
  const auto experts = static_cast<int64_t>(args.weights.size());
  CHECK(experts <= kMostExperts, experts);
  if (assignments == 0) return;
  Experts p = {.x = args.x.data,
               .x_row = args.x.stride[0],
               .rows = args.rows,
               .expert_start = args.expert_start,
               .weight_row = is_blocks(args.weights[0].dtype)
                                 ? bytes_of(args.weights[0].dtype, args.weights[0].stride[0])
                                 : args.weights[0].stride[0],
               .bias = args.bias.defined() ? args.bias.f32() : nullptr,
               .bias_row = args.bias.defined() ? args.bias.stride[0] : 0,
               .out = args.out.mutable_f32(),
               .out_row = args.out.stride[0],
               .count = static_cast<int>(experts),
               .in = static_cast<int>(n["in"]),
               .outs = static_cast<int>(n["out"]),
               .weights = {}};
  for (int64_t e = 0; e < experts; ++e) {
    const Tensor& weight = expert_weight(args, e);
    CHECK(weight.stride[0] == args.weights[0].stride[0], e, describe(weight), weight.stride[0]);
    p.weights[e] = weight.data;
  }
  if (is_blocks(args.weights[0].dtype)) return run_block_experts(stream, args, p, assignments);
  run_plain(stream, p, args.x.dtype, args.weights[0].dtype, assignments);
}

void head_linear(Stream& stream, const HeadLinearArgs& args) {
  const Shapes n = check(args);
  if (n["tokens"] * n["heads"] * n["out"] == 0) return;
  const Heads p = {.x = args.x.f32(),
                   .x_token = args.x.stride[0],
                   .x_head = args.x.stride[1],
                   .weight = args.weight.data,
                   .weight_head = args.weight.stride[0],
                   .weight_row = args.weight.stride[1],
                   .out = args.out.mutable_f32(),
                   .out_token = args.out.stride[0],
                   .out_head = args.out.stride[1],
                   .tokens = static_cast<int>(n["tokens"]),
                   .in = static_cast<int>(n["in"]),
                   .outs = static_cast<int>(n["out"])};
  const dim3 grid(blocks_for(p.outs, kColumns), blocks_for(p.tokens, kRows),
                  static_cast<unsigned>(n["heads"]));
  with_type(args.weight.dtype,
            [&]<class W>(const W*) { head_kernel<W><<<grid, kThreads, 0, handle_of(stream)>>>(p); });
  CUDA_LAUNCHED("head_kernel");
}

}  // namespace heed::cuda
