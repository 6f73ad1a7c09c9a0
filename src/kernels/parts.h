// The ops that are made of others, op by op: their definition (with the ops of ref), and what a backend
// without a kernel for a call runs.
#pragma once
#include "kernels/kernels.h"

namespace heed {

void linears_by_parts(const Kernels& kernels, Stream& stream, const LinearsArgs& args);
void finish_heads_by_parts(const Kernels& kernels, Stream& stream, const FinishHeadsArgs& args);

}  // namespace heed
