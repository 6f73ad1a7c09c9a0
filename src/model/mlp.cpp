#include "model/moe.h"
#include "model/pass.h"

namespace heed {
namespace {

enum MlpWeight : uint8_t { kGate, kUp, kDown, kGateBias, kUpBias, kDownBias };

}  // namespace

void declare_mlp(const MlpSpec& spec, const ModelSpec& model, WeightList& weights) {
  weights.matrix(kGate, "gate", spec.inner, model.hidden);
  weights.matrix(kUp, "up", spec.inner, model.hidden);
  weights.matrix(kDown, "down", model.hidden, spec.inner);
  if (!spec.bias) return;
  weights.bias(kGateBias, "gate", spec.inner);
  weights.bias(kUpBias, "up", spec.inner);
  weights.bias(kDownBias, "down", model.hidden);
}

void run_mlp(const MlpSpec& spec, const Pass& pass, std::span<const Tensor> weights, const Tensor& x,
             const Tensor& out) {
  const ArenaScope scope(pass.arena());
  const int64_t tokens = x.size[0];
  const Tensor gate = pass.f32({tokens, spec.inner});
  const Tensor up = pass.f32({tokens, spec.inner});
  const Tensor inner = pass.input({tokens, spec.inner});
  pass.linear(x, weight_of(weights, kGate), weight_of(weights, kGateBias), gate);
  pass.linear(x, weight_of(weights, kUp), weight_of(weights, kUpBias), up);
  pass.kernels().gated_act(pass.stream(), {.act = spec.act, .gate = gate, .up = up, .out = inner});
  pass.linear(inner, weight_of(weights, kDown), weight_of(weights, kDownBias), out);
}

}  // namespace heed
