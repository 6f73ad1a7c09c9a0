// rms_norm. Definition: kernels/ref/ref.cpp. Bound by memory; the second read of a row finds it in the cache.
#include "kernels/checks.h"
#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"

namespace heed::cuda {
namespace {

constexpr int kThreads = kNormThreads;
constexpr int kWarps = kThreads / 32;

struct Params {
  const float *x, *weight;
  void* out;
  int64_t rows, heads, dim;
  int64_t x_row, x_head, out_row, out_head;
  float eps, scale;
  bool accumulate, out_bf16;
};

template <int kCount, class Out>
__device__ void write_row(const Params& p, const float* x, Out* out, float inverse, int thread, int threads) {
  for (int64_t c = thread * kCount; c < p.dim; c += threads * kCount) {
    auto v = load<kCount>(x + c);
    for (int i = 0; i < kCount; ++i) v.x[i] *= inverse;
    if (p.weight != nullptr) {
      const auto w = load<kCount>(p.weight + c);
      for (int i = 0; i < kCount; ++i) v.x[i] *= w.x[i];
    }
    for (int i = 0; i < kCount; ++i) v.x[i] *= p.scale;
    if constexpr (std::is_same_v<Out, float>) {
      if (p.accumulate) {
        const auto before = load<kCount>(out + c);
        for (int i = 0; i < kCount; ++i) v.x[i] += before.x[i];
      }
    }
    store(out + c, v);
  }
}

template <int kCount>
__global__ void __launch_bounds__(kThreads) norm_kernel(const __grid_constant__ Params p, bool row_a_warp) {
  ptx::let_next_start();
  ptx::wait_for_previous();
  __shared__ float sums[kWarps];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t row = row_a_warp ? int64_t{blockIdx.x} * kWarps + warp : blockIdx.x;
  if (row >= p.rows * p.heads) return;
  const int thread = static_cast<int>(row_a_warp ? threadIdx.x % 32 : threadIdx.x);
  const int threads = row_a_warp ? 32 : kThreads;
  const float* x = p.x + row / p.heads * p.x_row + row % p.heads * p.x_head;
  float sum = squares<kCount>(x, p.dim, thread, threads);
  if (!row_a_warp) {
    if (threadIdx.x % 32 == 0) sums[warp] = sum;
    __syncthreads();
    sum = 0;
    for (const float part : sums) sum += part;
  }
  const float inverse = inverse_of(sum, p.dim, p.eps);
  const int64_t at = row / p.heads * p.out_row + row % p.heads * p.out_head;
  if (p.out_bf16) {
    write_row<kCount>(p, x, static_cast<__nv_bfloat16*>(p.out) + at, inverse, thread, threads);
  } else {
    write_row<kCount>(p, x, static_cast<float*>(p.out) + at, inverse, thread, threads);
  }
}

}  // namespace

void rms_norm(Stream& stream, const RmsNormArgs& args) {
  const Shapes n = check(args);
  const bool three = args.x.rank == 3;
  const Params params = {.x = args.x.f32(),
                         .weight = args.weight.defined() ? args.weight.f32() : nullptr,
                         .out = args.out.data,
                         .rows = n["rows"],
                         .heads = three ? n["heads"] : 1,
                         .dim = n["dim"],
                         .x_row = args.x.stride[0],
                         .x_head = three ? args.x.stride[1] : 0,
                         .out_row = args.out.stride[0],
                         .out_head = three ? args.out.stride[1] : 0,
                         .eps = args.eps,
                         .scale = args.scale,
                         .accumulate = args.accumulate,
                         .out_bf16 = args.out.dtype == DType::kBF16};
  const int64_t rows = params.rows * params.heads;
  if (rows * params.dim == 0) return;
  const bool row_a_warp = params.dim <= kNormWarpDim;
  const auto blocks = static_cast<unsigned>(row_a_warp ? (rows + kWarps - 1) / kWarps : rows);
  if (in_fours(args.x) && in_fours(args.out) && in_fours(args.weight)) {
    launch(stream, {.blocks = blocks, .threads = kThreads}, norm_kernel<4>, params, row_a_warp);
  } else {
    launch(stream, {.blocks = blocks, .threads = kThreads}, norm_kernel<1>, params, row_a_warp);
  }
}

}  // namespace heed::cuda
