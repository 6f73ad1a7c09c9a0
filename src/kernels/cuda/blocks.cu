// Weights in blocks: lookups, and linear layers of more rows than block_few.cuh is for. Up to kMostSlicedRows
// rows are several calls of that, each of which reads the codes once more; for others a matrix is widened to
// what rows are, some of its outputs at a time, in scratch memory, and multiplied with as a plain one is.
#include <algorithm>

#include "kernels/checks.h"
#include "kernels/cuda/block_few.h"
#include "kernels/cuda/block_formats.cuh"
#include "kernels/cuda/blocks.h"
#include "kernels/cuda/experts.cuh"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostSlicedRows = 32;

// Eight elements from `base` on, a multiple of 8, each rounded as tensor/blocks.h has it.
template <class F>
__device__ Pack<float, 8> eight(const uint8_t* block, int base) {
  const Group group = F::group(block, base / F::kGroup);
  Pack<float, 8> values;
#pragma unroll
  for (int r = 0; r < 8; r += 2) {
    const uint32_t bits = F::pair(block, base, r);
    const float2 codes = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&bits));
    values.x[r] = __fmul_rn(group.scale, codes.x);
    values.x[r + 1] = __fmul_rn(group.scale, codes.y);
    if constexpr (F::kOffset) {
      values.x[r] = __fadd_rn(values.x[r], group.offset);
      values.x[r + 1] = __fadd_rn(values.x[r + 1], group.offset);
    }
  }
  return values;
}

template <class F>
__device__ Pack<float, 8> eight_of_row(const char* row, int column) {
  const auto* block = reinterpret_cast<const uint8_t*>(row) + int64_t{column / F::kSize} * F::kBytes;
  return eight<F>(block, column % F::kSize);
}

template <class F>
__global__ void __launch_bounds__(kThreads)
    embed_kernel(const char* table, int64_t table_row, const int32_t* ids, float scale, float* out,
                 int64_t out_row, int64_t tokens, int in) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= tokens * (in / 8)) return;
  const int64_t token = i / (in / 8);
  const int column = static_cast<int>(i % (in / 8)) * 8;
  const Pack<float, 8> x = eight_of_row<F>(table + ids[token] * table_row, column);
  for (int e = 0; e < 8; ++e) out[token * out_row + column + e] = x.x[e] * scale;
}

template <class F, class T>
__device__ void widen_eight(const char* weight, int64_t weight_row, int64_t i, int in, T* to) {
  const int64_t row = i / (in / 8);
  const int column = static_cast<int>(i % (in / 8)) * 8;
  const Pack<float, 8> x = eight_of_row<F>(weight + row * weight_row, column);
  if constexpr (sizeof(T) == 2) {
    store(to + i * 8, x);
  } else {
    store(to + i * 8, Pack<float, 4>{x.x[0], x.x[1], x.x[2], x.x[3]});
    store(to + i * 8 + 4, Pack<float, 4>{x.x[4], x.x[5], x.x[6], x.x[7]});
  }
}

template <class F, class T>
__global__ void __launch_bounds__(kThreads)
    widen_kernel(const char* weight, int64_t weight_row, int64_t outs, int in, T* to) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < outs * (in / 8)) widen_eight<F>(weight, weight_row, i, in, to);
}

// A column of blocks for each expert.
template <class F, class T>
__global__ void __launch_bounds__(kThreads) widen_experts_kernel(const __grid_constant__ Experts p, T* to) {
  const auto e = static_cast<int>(blockIdx.y);
  if (p.expert_start[e] == p.expert_start[e + 1]) return;
  const int64_t each = int64_t{p.outs} * (p.in / 8);
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < each)
    widen_eight<F>(static_cast<const char*>(p.weights[e]), p.weight_row, i, p.in, to + e * each * 8);
}

// body(format, null pointer of the type) for what rows are multiplied in.
template <class Body>
void with_format_and_type(DType blocks, DType wide, const Body& body) {
  with_format(blocks, [&](auto format) {
    if (wide == DType::kBF16) return body(format, static_cast<__nv_bfloat16*>(nullptr));
    body(format, static_cast<float*>(nullptr));
  });
}

// Two bytes are read at a time.
void check_even(const Tensor& t) {
  CHECK(reinterpret_cast<uintptr_t>(t.data) % 2 == 0 || block_of(t.dtype).bytes % 2 != 0, describe(t));
}

unsigned blocks_for(int64_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

void widen(const Stream& stream, const Tensor& weight, const Tensor& to) {
  with_format_and_type(weight.dtype, to.dtype, [&]<class F, class T>(F, T*) {
    widen_kernel<F, T><<<blocks_for(weight.elements() / 8), kThreads, 0, handle_of(stream)>>>(
        weight.as<char>(), bytes_of(weight.dtype, weight.stride[0]), weight.size[0],
        static_cast<int>(weight.size[1]), to.as<T>());
  });
  CUDA_LAUNCHED("widen_kernel");
}

void linear_widened(Stream& stream, const LinearArgs& args) {
  constexpr int64_t kOuts = 128;
  const int64_t in = args.x.size[1];
  const int64_t outs = args.weight.size[0];
  const int64_t row_bytes = in * size_of(args.x.dtype);
  const int64_t each = std::max(kWidenedScratch / row_bytes / kOuts * kOuts, int64_t{1});
  char* scratch = static_cast<char*>(
      device_of(stream).scratch(kBlasScratch + std::max(kWidenedScratch, each * row_bytes)));
  for (int64_t first = 0; first < outs; first += each) {
    const int64_t end = std::min(first + each, outs);
    const Tensor wide(scratch + kBlasScratch, args.x.dtype, {end - first, in});
    widen(stream, args.weight.slice(first, end), wide);
    linear_in_turn(stream, {.x = args.x,
                            .weight = wide,
                            .bias = args.bias.defined() ? args.bias.slice(first, end) : Tensor(),
                            .accumulate = args.accumulate,
                            .out = args.out.columns(first, end)});
  }
}

}  // namespace

void embed_blocks(Stream& stream, const EmbedArgs& args) {
  const Tensor& table = args.table;
  check_even(table);
  const int64_t tokens = args.out.size[0];
  if (args.out.elements() == 0) return;
  with_format(table.dtype, [&]<class F>(F) {
    embed_kernel<F><<<blocks_for(args.out.elements() / 8), kThreads, 0, handle_of(stream)>>>(
        table.as<char>(), bytes_of(table.dtype, table.stride[0]), args.ids, args.scale,
        args.out.mutable_f32(), args.out.stride[0], tokens, static_cast<int>(table.size[1]));
  });
  CUDA_LAUNCHED("embed_kernel");
}

void block_linear(Stream& stream, const LinearArgs& args) {
  check_even(args.weight);
  const int64_t tokens = args.x.size[0];
  const int64_t slices = (tokens + kMostBlockFewRows - 1) / kMostBlockFewRows;
  const int64_t each = (tokens + slices - 1) / slices;
  const auto slice = [&](int64_t first) {
    const int64_t end = std::min(first + each, tokens);
    return LinearsArgs{.x = args.x.slice(first, end),
                       .parts = {{{args.weight, args.bias, args.out.slice(first, end)}}},
                       .accumulate = args.accumulate};
  };
  if (tokens > kMostSlicedRows || !block_few_takes(device_of(stream), slice(0)))
    return linear_widened(stream, args);
  for (int64_t first = 0; first < tokens; first += each) run_block_few(stream, slice(first));
}

void widen_experts(const Stream& stream, DType dtype, const Experts& p, void* to, DType to_dtype) {
  with_format_and_type(dtype, to_dtype, [&]<class F, class T>(F, T*) {
    const dim3 grid(blocks_for(int64_t{p.outs} * (p.in / 8)), static_cast<unsigned>(p.count));
    widen_experts_kernel<F, T><<<grid, kThreads, 0, handle_of(stream)>>>(p, static_cast<T*>(to));
  });
  CUDA_LAUNCHED("widen_experts_kernel");
}

}  // namespace heed::cuda
