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

void run_mlp(const MlpSpec& spec, const Pass& pass, std::span<const Tensor> weights, const InputRows& rows,
             const Tensor& out, bool accumulate) {
  const ArenaScope scope(pass.arena());
  const Tensor inner = pass.input({rows.x.size[0], spec.inner});
  pass.gated_linears(
      rows, spec.act,
      {.weight = weight_of(weights, kMlpGate), .bias = weight_of(weights, kMlpGateBias), .out = {}},
      {.weight = weight_of(weights, kMlpUp), .bias = weight_of(weights, kMlpUpBias), .out = {}}, inner);
  pass.linears(
      {.x = inner},
      {{.weight = weight_of(weights, kMlpDown), .bias = weight_of(weights, kMlpDownBias), .out = out}},
      accumulate);
}

}  // namespace heed
