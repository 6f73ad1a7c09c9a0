// The ops of the cuda backend beside attention. See kernels/kernels.h for what each does.
#pragma once
#include "kernels/kernels.h"

namespace heed::cuda {

void embed(Stream& stream, const EmbedArgs& args);
void rms_norm(Stream& stream, const RmsNormArgs& args);
void linear(Stream& stream, const LinearArgs& args);
// By kernels that read nothing before the kernel before them has ended: for weights that it has written.
void linear_in_turn(Stream& stream, const LinearArgs& args);
void rope_table(Stream& stream, const RopeTableArgs& args);
void rope(Stream& stream, const RopeArgs& args);
void kv_write(Stream& stream, const KvWriteArgs& args);
void gated_act(Stream& stream, const GatedActArgs& args);
void add(Stream& stream, const AddArgs& args);
void gather_rows(Stream& stream, const GatherRowsArgs& args);
void softcap(Stream& stream, const SoftcapArgs& args);
void copy(Stream& stream, const CopyArgs& args);
void temper(Stream& stream, const TemperArgs& args);
void scale(Stream& stream, const ScaleArgs& args);
void scale_rows(Stream& stream, const ScaleRowsArgs& args);
void linears(Stream& stream, const LinearsArgs& args);
void finish_heads(Stream& stream, const FinishHeadsArgs& args);
void head_linear(Stream& stream, const HeadLinearArgs& args);
void moe_route(Stream& stream, const MoeRouteArgs& args);
void moe_sort(Stream& stream, const MoeSortArgs& args);
void expert_linear(Stream& stream, const ExpertLinearArgs& args);
void expert_sum(Stream& stream, const ExpertSumArgs& args);
void short_conv(Stream& stream, const ShortConvArgs& args);
void linear_attention(Stream& stream, const LinearAttentionArgs& args);
void gated_delta(Stream& stream, const GatedDeltaArgs& args);
void delta_gates(Stream& stream, const DeltaGatesArgs& args);
void layer_norm(Stream& stream, const LayerNormArgs& args);
void clamp(Stream& stream, const ClampArgs& args);
void standardise(Stream& stream, const StandardiseArgs& args);
void average_patches(Stream& stream, const AveragePatchesArgs& args);
void arg_max(Stream& stream, const ArgMaxArgs& args);
void draw(Stream& stream, const DrawArgs& args);

int64_t linear_scratch_bytes(const StepSize& size);

}  // namespace heed::cuda
