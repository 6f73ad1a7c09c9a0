// block_few.cuh and block_experts.cuh for the formats whose blocks have 32 elements.
#include "kernels/cuda/block_experts.cuh"
#include "kernels/cuda/block_few.h"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/ops.h"

namespace heed::cuda {

bool block_few_takes(const CudaStream& device, const LinearsArgs& args) {
  const DType dtype = args.parts[0].weight.dtype;
  bool fits = is_blocks(dtype) && few::rows_fit(device, args, kMostFewRows);
  for (int i = 0; i < args.count; ++i) {
    const Tensor& weight = args.parts[i].weight;
    fits = fits && weight.dtype == dtype && weight.size[0] > 0 && weight.size[0] <= INT32_MAX / 2 &&
           weight.stride[0] == args.parts[0].weight.stride[0];
  }
  return fits;
}

void run_block_few(Stream& stream, const LinearsArgs& args) {
  const bool normalise = args.normalise && args.x.size[0] <= few::kMostNormedRows;
  if (args.normalise && !normalise)
    rms_norm(stream, {.x = args.x, .weight = args.norm, .eps = args.eps, .out = args.h});
  const few::Params p = few::params_of(args, args.normalise ? args.h : args.x, normalise);
  const DType dtype = args.parts[0].weight.dtype;
  block_of(dtype).elements == 32 ? few::launch_blocks_of_32(stream, dtype, p)
                                 : few::launch_larger_blocks(stream, dtype, p);
}

bool block_experts_take(const CudaStream& device, DType x, const Experts& e, int64_t assignments) {
  constexpr int kMostExpertIn = 8192;  // then rows fit beside the ring
  return device.hopper() && x == DType::kBF16 && assignments <= e.count * kFewExpertRows &&
         e.in <= kMostExpertIn && e.x_row % 8 == 0 && reinterpret_cast<uintptr_t>(e.x) % 16 == 0;
}

void run_block_experts_few(const Stream& stream, DType dtype, const Experts& e, int64_t assignments) {
  block_of(dtype).elements == 32 ? few::launch_blocks_of_32(stream, dtype, e, assignments)
                                 : few::launch_larger_blocks(stream, dtype, e, assignments);
}

void few::launch_blocks_of_32(const Stream& stream, DType dtype, const Experts& e, int64_t assignments) {
  with_format(dtype, [&](auto format) {
    using F = decltype(format);
    if constexpr (F::kSize == 32) launch_block_experts<F>(stream, e, assignments);
  });
}

void few::launch_blocks_of_32(const Stream& stream, DType dtype, const Params& p) {
  with_format(dtype, [&](auto format) {
    using F = decltype(format);
    if constexpr (F::kSize == 32) launch_block_few<F>(stream, p);
  });
}

}  // namespace heed::cuda
