// block_few.cuh for the formats whose blocks have 128 or 256 elements.
#include "kernels/cuda/block_few.cuh"
#include "kernels/cuda/block_few.h"

namespace heed::cuda {

void few::launch_larger_blocks(const Stream& stream, DType dtype, const Params& p) {
  with_format(dtype, [&](auto format) {
    using F = decltype(format);
    if constexpr (F::kSize > 32) launch_block_few<F>(stream, p);
  });
}

}  // namespace heed::cuda
