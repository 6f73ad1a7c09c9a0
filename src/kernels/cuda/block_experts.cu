// block_experts.cuh for all formats.
#include "kernels/cuda/block_experts.cuh"
#include "kernels/cuda/block_few.h"

namespace heed::cuda {

bool block_experts_take(const CudaStream& device, DType x, const Experts& e, int64_t assignments) {
  constexpr int kMostExpertIn = 8192;  // then rows fit beside the ring
  return device.hopper() && x == DType::kBF16 && assignments <= e.count * kFewExpertRows &&
         e.in <= kMostExpertIn && e.x_row % 8 == 0 && reinterpret_cast<uintptr_t>(e.x) % 16 == 0;
}

void run_block_experts_few(const Stream& stream, DType dtype, const Experts& e, int64_t assignments) {
  with_format(dtype,
              [&](auto format) { few::launch_block_experts<decltype(format)>(stream, e, assignments); });
}

}  // namespace heed::cuda
