// rms_norm. Definition: kernels/ref/ref.cpp. Bound by memory; of few rows by how often it waits for it: what
// a thread has of a row is read at once and kept, and weights are there before the row is.
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

// What a thread has of a row: the first kHeld pieces of kCount elements in registers, read anew the others.
template <int kCount>
struct Pieces {
  static constexpr int kHeld = 4;
  const Params& p;
  const int first, step;  // elements: of the first piece, and from one to the next
  Pack<float, kCount> weight[kHeld], x[kHeld];

  __device__ Pieces(const Params& params, int thread, int threads)
      : p(params), first(thread * kCount), step(threads * kCount) {}

  __device__ void load_weights() {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (p.weight != nullptr && first + i * step < p.dim)
        weight[i] = load<kCount>(p.weight + first + i * step);
    }
  }
  // As squares() adds them.
  __device__ float load_row(const float* row) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (first + i * step < p.dim) x[i] = load<kCount>(row + first + i * step);
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (first + i * step < p.dim) add_squares(sum, x[i]);
    }
    for (int64_t c = first + kHeld * step; c < p.dim; c += step) add_squares(sum, load<kCount>(row + c));
    return sum_of_warp(sum);
  }
  template <class Out>
  __device__ void write(const float* row, Out* out, float inverse) const {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (first + i * step < p.dim) write_piece(x[i], weight[i], out + first + i * step, inverse);
    }
    for (int64_t c = first + kHeld * step; c < p.dim; c += step) {
      write_piece(load<kCount>(row + c),
                  p.weight != nullptr ? load<kCount>(p.weight + c) : Pack<float, kCount>{}, out + c, inverse);
    }
  }

 private:
  template <class Out>
  __device__ void write_piece(Pack<float, kCount> v, const Pack<float, kCount>& w, Out* out,
                              float inverse) const {
    for (int i = 0; i < kCount; ++i) v.x[i] *= inverse;
    for (int i = 0; i < kCount && p.weight != nullptr; ++i) v.x[i] *= w.x[i];
    for (int i = 0; i < kCount; ++i) v.x[i] *= p.scale;
    if constexpr (std::is_same_v<Out, float>) {
      if (p.accumulate) {
        const auto before = load<kCount>(out);
        for (int i = 0; i < kCount; ++i) v.x[i] += before.x[i];
      }
    }
    store(out, v);
  }
};

template <int kCount>
__global__ void __launch_bounds__(kThreads) norm_kernel(const __grid_constant__ Params p, bool row_a_warp) {
  ptx::let_next_start();
  __shared__ float sums[kWarps];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  Pieces<kCount> pieces(p, static_cast<int>(row_a_warp ? threadIdx.x % 32 : threadIdx.x),
                        row_a_warp ? 32 : kThreads);
  pieces.load_weights();
  ptx::wait_for_previous();
  const int64_t row = row_a_warp ? int64_t{blockIdx.x} * kWarps + warp : blockIdx.x;
  if (row >= p.rows * p.heads) return;
  const float* x = p.x + row / p.heads * p.x_row + row % p.heads * p.x_head;
  float sum = pieces.load_row(x);
  if (!row_a_warp) {
    if (threadIdx.x % 32 == 0) sums[warp] = sum;
    __syncthreads();
    sum = 0;
    for (const float part : sums) sum += part;
  }
  const float inverse = inverse_of(sum, p.dim, p.eps);
  const int64_t at = row / p.heads * p.out_row + row % p.heads * p.out_head;
  if (p.out_bf16) {
    pieces.write(x, static_cast<__nv_bfloat16*>(p.out) + at, inverse);
  } else {
    pieces.write(x, static_cast<float*>(p.out) + at, inverse);
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
