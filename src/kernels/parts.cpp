#include "kernels/parts.h"

#include "kernels/checks.h"

namespace heed {

void linears_by_parts(const Kernels& kernels, Stream& stream, const LinearsArgs& args) {
  check(args);
  if (args.normalise)
    kernels.rms_norm(stream, {.x = args.x, .weight = args.norm, .eps = args.eps, .out = args.h});
  for (int i = 0; i < args.count; ++i) {
    const LinearsArgs::Part& part = args.parts[i];
    kernels.linear(stream, {.x = args.normalise ? args.h : args.x,
                            .weight = part.weight,
                            .bias = part.bias,
                            .accumulate = args.accumulate,
                            .out = part.out});
  }
  if (args.gated) {
    kernels.gated_act(
        stream, {.act = args.act, .gate = args.parts[0].out, .up = args.parts[1].out, .out = args.inner});
  }
}

void finish_heads_by_parts(const Kernels& kernels, Stream& stream, const FinishHeadsArgs& args) {
  check(args);
  const auto norm = [&](const Tensor& x, const Tensor& weight) {
    kernels.rms_norm(stream, {.x = x, .weight = weight, .eps = args.eps, .out = x});
  };
  const auto finish = [&](const Tensor& x, const Tensor& weight) {
    if (!x.defined()) return;
    if (weight.defined()) norm(x, weight);
    if (args.cos.defined())
      kernels.rope(stream, {.cos = args.cos, .sin = args.sin, .x = x, .interleaved = args.interleaved});
    if (args.norm_after) norm(x, {});
  };
  finish(args.q, args.q_norm);
  finish(args.k, args.k_norm);
  if (!args.k.defined()) return;
  if (args.norm_v) norm(args.v, {});
  kernels.kv_write(stream, {.k = args.k, .v = args.v, .slots = args.slots, .kv = args.kv});
}

}  // namespace heed
