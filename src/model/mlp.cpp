#include "model/moe.h"
#include "model/pass.h"

namespace heed {
namespace {

enum MlpWeight : uint8_t { kMlpGate, kMlpUp, kMlpDown, kMlpGateBias, kMlpUpBias, kMlpDownBias };

}  // namespace

void declare_mlp(const MlpSpec& spec, const ModelSpec& model, WeightList& weights) {
  weights.matrix(kMlpGate, "gate", spec.inner, model.hidden);
  weights.matrix(kMlpUp, "up", spec.inner, model.hidden);
  weights.matrix(kMlpDown, "down", model.hidden, spec.inner);
  if (!spec.bias) return;
  weights.bias(kMlpGateBias, "gate", spec.inner);
  weights.bias(kMlpUpBias, "up", spec.inner);
  weights.bias(kMlpDownBias, "down", model.hidden);
}

void run_mlp(const MlpSpec& spec, const Pass& pass, std::span<const Tensor> weights, const Tensor& x,
             const Tensor& out) {
  const ArenaScope scope(pass.arena());
  const int64_t tokens = x.size[0];
  const Tensor gate = pass.f32({tokens, spec.inner});
  const Tensor up = pass.f32({tokens, spec.inner});
  const Tensor inner = pass.input({tokens, spec.inner});
  pass.linear(x, weight_of(weights, kMlpGate), weight_of(weights, kMlpGateBias), gate);
  pass.linear(x, weight_of(weights, kMlpUp), weight_of(weights, kMlpUpBias), up);
  pass.kernels().gated_act(pass.stream(), {.act = spec.act, .gate = gate, .up = up, .out = inner});
  pass.linear(inner, weight_of(weights, kMlpDown), weight_of(weights, kMlpDownBias), out);
}

}  // namespace heed
