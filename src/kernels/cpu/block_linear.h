// Linear layers over weights in blocks (tensor/blocks.h), for linear.cpp.
#pragma once
#include "kernels/cpu/isa/tables.h"

namespace heed::cpu {

void block_linear(const BlockTable& isa, Stream& stream, const LinearArgs& args);
void block_expert_linear(const BlockTable& isa, Stream& stream, const ExpertLinearArgs& args);
int64_t block_linear_scratch_bytes(const BlockTable& isa, const StepSize& size);

}  // namespace heed::cpu
