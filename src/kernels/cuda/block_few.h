// linears and expert_linear of few rows of bfloat16 with weights in blocks, in one kernel; sm_90.
#pragma once
#include "kernels/cuda/cuda.h"

namespace heed::cuda {

struct Experts;  // experts.cuh

inline constexpr int64_t kMostBlockFewRows = 16;

// Whether the kernel can run this: up to kMostBlockFewRows rows and parts in one format.
bool block_few_takes(const CudaStream& device, const LinearsArgs& args);
void run_block_few(Stream& stream, const LinearsArgs& args);

// Up to kFewExpertRows rows an expert on average.
inline constexpr int64_t kFewExpertRows = 8;
bool block_experts_take(const CudaStream& device, DType x, const Experts& e, int64_t assignments);
void run_block_experts_few(const Stream& stream, DType dtype, const Experts& e, int64_t assignments);

namespace few {
struct Params;
// The formats whose blocks have 32 elements, and the others, each in a source of its own; p.tokens > 0.
void launch_blocks_of_32(const Stream& stream, DType dtype, const Params& p);
void launch_larger_blocks(const Stream& stream, DType dtype, const Params& p);
}  // namespace few

}  // namespace heed::cuda
