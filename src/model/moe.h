// The second half of a layer: an MLP, or a mixture of experts.
#pragma once
#include <span>

#include "model/spec.h"
#include "model/weights.h"

namespace heed {

class Pass;
struct InputRows;

void declare_mlp(const MlpSpec& spec, const ModelSpec& model, WeightList& weights);
void declare_moe(const MoeSpec& spec, const ModelSpec& model, WeightList& weights);

// rows: [tokens, hidden]; out: [tokens, hidden] f32, written or added to.
void run_mlp(const MlpSpec& spec, const Pass& pass, std::span<const Tensor> weights, const InputRows& rows,
             const Tensor& out, bool accumulate = false);

struct MoeInput {
  Tensor h;  // [tokens, hidden] as linear layers read it: what experts see
  Tensor x;  // [tokens, hidden] f32: the residual stream, for routers that read that
};
void run_moe(const MoeSpec& spec, const Pass& pass, std::span<const Tensor> weights, const MoeInput& in,
             const Tensor& out);

// Why these kernels cannot run experts, or "".
std::string moe_why_not(const Kernels& kernels);

}  // namespace heed
