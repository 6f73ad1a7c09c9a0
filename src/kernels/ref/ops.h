// The ops of the reference backend that have files of their own.
#pragma once
#include "kernels/kernels.h"

namespace heed::ref {

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

}  // namespace heed::ref
