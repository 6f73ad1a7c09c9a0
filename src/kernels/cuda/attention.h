// The attention kernels of the cuda backend: cuda.flash, which wants a plan, and cuda.simple.
#pragma once
#include <string>

#include "attention/plan.h"
#include "kernels/kernels.h"

namespace heed::cuda {

void simple_attention(Stream& stream, const AttentionArgs& args);
std::string simple_why_not(const AttentionNeeds& needs);

// Caches of bfloat16 and fp8 whose rows lie at multiples of 16 bytes. args.plan must be there, and on the
// device.
void flash_attention(Stream& stream, const AttentionArgs& args);
std::string flash_why_not(const AttentionNeeds& needs);
AttentionPlanShape flash_plan_shape(const AttentionNeeds& needs, const Stream& stream);
int64_t flash_scratch_bytes(const AttentionNeeds& needs, const StepSize& size);

}  // namespace heed::cuda
