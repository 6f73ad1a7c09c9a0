// The table of the cuda backend.
#include "kernels/cuda/cuda.h"

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace heed {

const Kernels& cuda_kernels() {
  static const AttentionKernel attention[] = {
      {.name = "cuda.flash",
       .why_not = cuda::flash_why_not,
       .run = cuda::flash_attention,
       .scratch_bytes = cuda::flash_scratch_bytes,
       .plan_shape = cuda::flash_plan_shape},
      {.name = "cuda.simple",
       .why_not = cuda::simple_why_not,
       .run = cuda::simple_attention,
       .scratch_bytes = [](const AttentionNeeds& /*needs*/, const StepSize& /*size*/) { return int64_t{0}; }},
  };
  // What cuBLASLt, modules of kernels and recordings take was below 0.6 GiB on an H100.
  static constexpr Accelerator kAccelerator = {.why_not = cuda::why_not,
                                               .describe = cuda::describe,
                                               .free_bytes = cuda::free_bytes,
                                               .reserve_bytes = int64_t{768} << 20,
                                               .open = cuda::open};
  static const Kernels kernels = {
      .name = "cuda",
      .isa = "sm_80, sm_90a",
      .attention = attention,
      .accelerator = &kAccelerator,
      .reads_blocks = true,
      .reads_fp8 = true,
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
      .copy = cuda::copy,
      .temper = cuda::temper,
      .scale = cuda::scale,
      .scale_rows = cuda::scale_rows,
      .linears = cuda::linears,
      .finish_heads = cuda::finish_heads,
      .head_linear = cuda::head_linear,
      .moe_route = cuda::moe_route,
      .moe_sort = cuda::moe_sort,
      .expert_linear = cuda::expert_linear,
      .expert_sum = cuda::expert_sum,
      .short_conv = cuda::short_conv,
      .linear_attention = cuda::linear_attention,
      .gated_delta = cuda::gated_delta,
      .delta_gates = cuda::delta_gates,
      .layer_norm = cuda::layer_norm,
      .clamp = cuda::clamp,
      .standardise = cuda::standardise,
      .average_patches = cuda::average_patches,
      .arg_max = cuda::arg_max,
      .draw = cuda::draw,
      .scratch_bytes = cuda::linear_scratch_bytes,
  };
  return kernels;
}

}  // namespace heed
