// The ops of the cuda backend beside attention. See kernels/kernels.h for what each does.
#pragma once
#include "kernels/kernels.h"

namespace heed::cuda {

void embed(Stream& stream, const EmbedArgs& args);
void rms_norm(Stream& stream, const RmsNormArgs& args);
void linear(Stream& stream, const LinearArgs& args);
void rope_table(Stream& stream, const RopeTableArgs& args);
void rope(Stream& stream, const RopeArgs& args);
void kv_write(Stream& stream, const KvWriteArgs& args);
void gated_act(Stream& stream, const GatedActArgs& args);
void add(Stream& stream, const AddArgs& args);
void gather_rows(Stream& stream, const GatherRowsArgs& args);
void softcap(Stream& stream, const SoftcapArgs& args);
void scale(Stream& stream, const ScaleArgs& args);
void scale_rows(Stream& stream, const ScaleRowsArgs& args);

int64_t linear_scratch_bytes(const StepSize& size);

}  // namespace heed::cuda
