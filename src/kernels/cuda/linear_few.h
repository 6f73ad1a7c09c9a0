// linears of few rows with bfloat16 weights, in one kernel; sm_90.
#pragma once
#include "kernels/cuda/cuda.h"

namespace heed::cuda {

inline constexpr int64_t kMostFewRows = 8;  // of more linear_batch.cu and cuBLASLt are faster

// Whether the kernel can run this.
bool few_takes(const CudaStream& device, const LinearsArgs& args);
void run_few(Stream& stream, const LinearsArgs& args);

}  // namespace heed::cuda
