// Attention of long sequences over a cache of FP8 E4M3 on Hopper. The scheme: attention_prefill.cuh.
#include "kernels/cuda/attention_prefill.cuh"

#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

using namespace prefill;

using Dim64 = Config<OfFp8, 64, 128, 3, 4, 56, 152>;
using Dim128 = Config<OfFp8, 128, 128, 2, 2, 56, 224>;
using Dim256 = Config<OfFp8, 256, 64, 2, 2, 40, 232>;

}  // namespace

void run_prefill_fp8(const AttentionLaunch& launch, const AttentionParams& params) {
  if (params.head_dim <= Dim64::kDim) return launch_prefill<Dim64>(launch, params, {});
  if (params.head_dim <= Dim128::kDim) return launch_prefill<Dim128>(launch, params, {});
  launch_prefill<Dim256>(launch, params, {});
}

}  // namespace heed::cuda
