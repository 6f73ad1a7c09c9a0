// Weights in blocks, where no kernel for few rows takes them (block_few.h): the ops of ops.h go there.
#pragma once
#include "kernels/kernels.h"

namespace heed::cuda {

struct Experts;  // experts.cuh

void embed_blocks(Stream& stream, const EmbedArgs& args);
void block_linear(Stream& stream, const LinearArgs& args);

// As widen() makes them, of experts that have assignments; to: [count, outs, in].
void widen_experts(const Stream& stream, DType dtype, const Experts& p, void* to, DType to_dtype);

// What cuBLASLt may take of the scratch memory, from its beginning on.
inline constexpr int64_t kBlasScratch = int64_t{32} << 20;
// Room for widened weights behind what products take themselves.
inline constexpr int64_t kWidenedScratch = int64_t{64} << 20;

}  // namespace heed::cuda
