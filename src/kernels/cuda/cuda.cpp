// The table of the cuda backend.
#include "kernels/cuda/cuda.h"

#include "kernels/cuda/attention.h"
#include "kernels/cuda/ops.h"

namespace heed {

const Kernels& cuda_kernels() {
  static const AttentionKernel attention[] = {
      {.name = "cuda.flash",
       .why_not = cuda::flash_why_not,
       .run = cuda::flash_attention,
       .scratch_bytes = cuda::flash_scratch_bytes},
      {.name = "cuda.simple",
       .why_not = cuda::simple_why_not,
       .run = cuda::simple_attention,
       .scratch_bytes = [](const AttentionNeeds& /*needs*/, const StepSize& /*size*/) { return int64_t{0}; }},
  };
  static const Kernels kernels = {
      .name = "cuda",
      .isa = "sm_80, sm_90a",
      .attention = attention,
      .embed = cuda::embed,
      .rms_norm = cuda::rms_norm,
      .linear = cuda::linear,
      .rope_table = cuda::rope_table,
      .rope = cuda::rope,
      .kv_write = cuda::kv_write,
      .gated_act = cuda::gated_act,
      .add = cuda::add,
      .gather_rows = cuda::gather_rows,
      .softcap = cuda::softcap,
      .scale = cuda::scale,
      .scale_rows = cuda::scale_rows,
      .scratch_bytes = cuda::linear_scratch_bytes,
  };
  return kernels;
}

}  // namespace heed
