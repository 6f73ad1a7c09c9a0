// block_few.cuh for the formats whose blocks have 32 elements.
#include "kernels/cuda/block_few.cuh"
#include "kernels/cuda/block_few.h"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/ops.h"

namespace heed::cuda {

bool block_few_takes(const CudaStream& device, const LinearsArgs& args) {
  const DType dtype = args.parts[0].weight.dtype;
  bool fits = is_blocks(dtype) && few::rows_fit(device, args, kMostBlockFewRows);
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

void few::launch_blocks_of_32(const Stream& stream, DType dtype, const Params& p) {
  with_format(dtype, [&](auto format) {
    using F = decltype(format);
    if constexpr (F::kSize == 32) launch_block_few<F>(stream, p);
  });
}

}  // namespace heed::cuda
