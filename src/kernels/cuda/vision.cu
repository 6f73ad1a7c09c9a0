// The ops of vision towers. Definitions: kernels/ref/ref_vision.cpp. Bound by memory, and small beside the
// products between them.
#include "kernels/checks.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/values.cuh"

namespace heed::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

__device__ float sum_of_warp(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0U, x, step);
  return x;
}

// A warp a row.
template <class Out>
__global__ void __launch_bounds__(kThreads)
    layer_norm_kernel(const float* x, int64_t x_stride, const float* weight, const float* bias, float eps,
                      Out* out, int64_t out_stride, int64_t rows, int64_t dim) {
  const int64_t row = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (row >= rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  x += row * x_stride;
  float sum = 0;
  for (int64_t i = lane; i < dim; i += 32) sum += x[i];
  const float mean = sum_of_warp(sum) / static_cast<float>(dim);
  float squares = 0;
  for (int64_t i = lane; i < dim; i += 32) squares += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1 / sqrtf(sum_of_warp(squares) / static_cast<float>(dim) + eps);
  for (int64_t i = lane; i < dim; i += 32)
    out[row * out_stride + i] = from_float<Out>((x[i] - mean) * inverse * weight[i] + bias[i]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    clamp_kernel(T* x, int64_t stride, int64_t rows, int64_t dim, float lowest, float highest) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= rows * dim) return;
  T& value = x[i / dim * stride + i % dim];
  const float v = to_float(value);
  value = from_float<T>(v < lowest ? lowest : v > highest ? highest : v);
}

__global__ void __launch_bounds__(kThreads)
    standardise_kernel(float* x, int64_t stride, int64_t rows, int64_t dim, const float* shift,
                       const float* scale) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= rows * dim) return;
  float& value = x[i / dim * stride + i % dim];
  value = (value - shift[i % dim]) * scale[i % dim];
}

__global__ void __launch_bounds__(kThreads)
    average_kernel(const float* x, int64_t x_stride, int columns, int pool, float scale, float* out,
                   int64_t out_stride, int64_t averages, int64_t dim) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= averages * dim) return;
  const int64_t o = i / dim;
  const int across = columns / pool;
  float sum = 0;
  for (int p = 0; p < pool * pool; ++p) {
    const int64_t row = o / across * pool + p / pool;
    sum += x[(row * columns + o % across * pool + p % pool) * x_stride + i % dim];
  }
  out[o * out_stride + i % dim] = sum / static_cast<float>(pool * pool) * scale;
}

}  // namespace

void layer_norm(Stream& stream, const LayerNormArgs& args) {
  const Shapes n = check(args);
  if (n["rows"] * n["dim"] == 0) return;
  with_type(args.out.dtype, [&]<class Out>(const Out*) {
    if constexpr (!std::is_same_v<Out, __half>) {
      layer_norm_kernel<Out><<<blocks_for(n["rows"] * 32), kThreads, 0, handle_of(stream)>>>(
          args.x.f32(), args.x.stride[0], args.weight.f32(), args.bias.f32(), args.eps, args.out.as<Out>(),
          args.out.stride[0], n["rows"], n["dim"]);
    }
  });
  CUDA_LAUNCHED("layer_norm");
}

void clamp(Stream& stream, const ClampArgs& args) {
  const Shapes n = check(args);
  const int64_t count = n["rows"] * n["dim"];
  if (count == 0) return;
  with_type(args.x.dtype, [&]<class T>(const T*) {
    if constexpr (!std::is_same_v<T, __half>) {
      clamp_kernel<T><<<blocks_for(count), kThreads, 0, handle_of(stream)>>>(
          args.x.as<T>(), args.x.stride[0], n["rows"], n["dim"], args.lowest, args.highest);
    }
  });
  CUDA_LAUNCHED("clamp");
}

void standardise(Stream& stream, const StandardiseArgs& args) {
  const Shapes n = check(args);
  const int64_t count = n["rows"] * n["dim"];
  if (count == 0) return;
  standardise_kernel<<<blocks_for(count), kThreads, 0, handle_of(stream)>>>(
      args.x.mutable_f32(), args.x.stride[0], n["rows"], n["dim"], args.shift.f32(), args.scale.f32());
  CUDA_LAUNCHED("standardise");
}

void average_patches(Stream& stream, const AveragePatchesArgs& args) {
  const Shapes n = check(args);
  const int64_t count = n["averages"] * n["dim"];
  if (count == 0) return;
  average_kernel<<<blocks_for(count), kThreads, 0, handle_of(stream)>>>(
      args.x.f32(), args.x.stride[0], args.columns, args.pool, args.scale, args.out.mutable_f32(),
      args.out.stride[0], n["averages"], n["dim"]);
  CUDA_LAUNCHED("average_patches");
}

}  // namespace heed::cuda
