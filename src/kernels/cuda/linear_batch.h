// linear of some dozens of rows with bfloat16 weights; sm_90a.
#pragma once
#include "kernels/cuda/cuda.h"

namespace heed::cuda {

inline constexpr int64_t kMostBatchRows = 64;

// Whether the kernel can run this; it has no sums with what is there.
bool batch_takes(const CudaStream& device, const LinearArgs& args);
void run_batch(Stream& stream, const LinearArgs& args);

}  // namespace heed::cuda
