// linears. Definition: kernels/parts.cpp. Few rows have a kernel (linear_few.cu, block_few.cuh); else the
// parts are products one after the other, as few as can be.
#include "kernels/checks.h"
#include "kernels/cuda/block_few.h"
#include "kernels/cuda/linear_few.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"

namespace heed::cuda {
namespace {

// Whether b's weights and outputs lie right behind a's, so that one product computes both.
bool follows(const LinearsArgs::Part& a, const LinearsArgs::Part& b) {
  const Tensor& w = a.weight;
  return !a.bias.defined() && !b.bias.defined() && !is_blocks(w.dtype) && w.dtype == b.weight.dtype &&
         w.stride[0] == b.weight.stride[0] && w.at(w.size[0] * w.stride[0]) == b.weight.data &&
         a.out.stride[0] == b.out.stride[0] && a.out.at(a.out.size[1]) == b.out.data;
}

// Multiplies with parts [first, returned) at once.
int multiply_some(Stream& stream, const LinearsArgs& args, int first) {
  LinearsArgs::Part all = args.parts[first];
  int next = first + 1;
  for (; next < args.count && follows(args.parts[next - 1], args.parts[next]); ++next) {
    all.weight.size[0] += args.parts[next].weight.size[0];
    all.out.size[1] += args.parts[next].out.size[1];
  }
  linear(stream, {.x = args.normalise ? args.h : args.x,
                  .weight = all.weight,
                  .bias = all.bias,
                  .accumulate = args.accumulate,
                  .out = all.out});
  return next;
}

}  // namespace

void linears(Stream& stream, const LinearsArgs& args) {
  const Shapes n = check(args);
  if (n["tokens"] == 0) return;
  if (few_takes(device_of(stream), args)) return run_few(stream, args);
  if (block_few_takes(device_of(stream), args)) return run_block_few(stream, args);
  if (args.normalise) rms_norm(stream, {.x = args.x, .weight = args.norm, .eps = args.eps, .out = args.h});
  for (int i = 0; i < args.count;) i = multiply_some(stream, args, i);
  if (args.gated) {
    gated_act(stream,
              {.act = args.act, .gate = args.parts[0].out, .up = args.parts[1].out, .out = args.inner});
  }
}

}  // namespace heed::cuda
