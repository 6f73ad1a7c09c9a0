// Gated activations, one element. Definition: kernels/ref/ref.cpp, gated_act.
#pragma once
#include "kernels/cuda/ptx.cuh"
#include "kernels/kernels.h"

namespace heed::cuda {

template <Act kAct>
__device__ float activated(float gate, float up) {
  switch (kAct) {
    case Act::kSilu:
      return gate / (1 + expf(-gate)) * up;
    case Act::kGelu:
      return 0.5F * gate * (1 + erff(gate * 0.70710678F)) * up;
    case Act::kGeluTanh:
      return 0.5F * gate * (1 + tanhf(0.79788456F * (gate + 0.044715F * gate * gate * gate))) * up;
    case Act::kRelu:
      return (gate > 0 || isnan(gate) ? gate : 0) * up;
    case Act::kSigmoid:
      return up / (1 + expf(-gate));
    case Act::kClampedSwiglu: {
      constexpr float kLimit = 7, kSlope = 1.702F;
      const float g = gate > kLimit ? kLimit : gate;
      const float u = up > kLimit ? kLimit : up < -kLimit ? -kLimit : up;
      return g / (1 + expf(-kSlope * g)) * (u + 1);
    }
  }
  return 0;
}

__device__ inline float activated(Act act, float gate, float up) {
  switch (act) {
    case Act::kSilu:
      return activated<Act::kSilu>(gate, up);
    case Act::kGelu:
      return activated<Act::kGelu>(gate, up);
    case Act::kGeluTanh:
      return activated<Act::kGeluTanh>(gate, up);
    case Act::kRelu:
      return activated<Act::kRelu>(gate, up);
    case Act::kSigmoid:
      return activated<Act::kSigmoid>(gate, up);
    case Act::kClampedSwiglu:
      return activated<Act::kClampedSwiglu>(gate, up);
  }
  return 0;
}

}  // namespace heed::cuda
