// The ops of the cpu backend, given the kernels of an instruction set: they check, split the work and thread
// it.
#pragma once
#include <string>

#include "kernels/cpu/isa/tables.h"
#include "kernels/kernels.h"

namespace heed::cpu {

// By which the codes of a head count in a cache of fp8: PagedKv.
inline float scale_of_head(const Tensor& scales, int64_t head) {
  return scales.defined() ? scales.f32()[head] : 1;
}

void embed(const RowTable& isa, Stream& stream, const EmbedArgs& args);
void rms_norm(const RowTable& isa, Stream& stream, const RmsNormArgs& args);
void rope_table(Stream& stream, const RopeTableArgs& args);
void rope(const RowTable& isa, Stream& stream, const RopeArgs& args);
void kv_write(const RowTable& isa, Stream& stream, const KvWriteArgs& args);
void gated_act(const RowTable& isa, Stream& stream, const GatedActArgs& args);
void add(const RowTable& isa, Stream& stream, const AddArgs& args);
void gather_rows(Stream& stream, const GatherRowsArgs& args);
void softcap(const RowTable& isa, Stream& stream, const SoftcapArgs& args);
void copy(const RowTable& isa, Stream& stream, const CopyArgs& args);
void temper(const RowTable& isa, Stream& stream, const TemperArgs& args);
void scale(const RowTable& isa, Stream& stream, const ScaleArgs& args);
void scale_rows(const RowTable& isa, Stream& stream, const ScaleRowsArgs& args);

struct LinearIsa {
  const LinearTable& linear;
  const BlockTable& blocks;
  const TileTable* tiles;  // null: there are none
};
void linear(const LinearIsa& isa, Stream& stream, const LinearArgs& args);
// False: there are many rows, or weights of several kinds, and nothing has been done.
bool few_linears(const LinearIsa& isa, const RowTable& rows, Stream& stream, const LinearsArgs& args);
void head_linear(const LinearTable& isa, Stream& stream, const HeadLinearArgs& args);
void expert_linear(const LinearIsa& isa, Stream& stream, const ExpertLinearArgs& args);

void moe_route(const RowTable& isa, Stream& stream, const MoeRouteArgs& args);
void moe_sort(Stream& stream, const MoeSortArgs& args);
void expert_sum(const RowTable& isa, Stream& stream, const ExpertSumArgs& args);

struct RecurrentIsa {
  const RecurrentTable& recurrent;
  const RowTable& rows;  // for what goes into slots and comes out of them
};
void short_conv(const RecurrentIsa& isa, Stream& stream, const ShortConvArgs& args);
void linear_attention(const RecurrentIsa& isa, Stream& stream, const LinearAttentionArgs& args);
void gated_delta(const RecurrentIsa& isa, Stream& stream, const GatedDeltaArgs& args);
void delta_gates(const RecurrentTable& isa, Stream& stream, const DeltaGatesArgs& args);

void layer_norm(const RowTable& isa, Stream& stream, const LayerNormArgs& args);
void clamp(Stream& stream, const ClampArgs& args);
void standardise(Stream& stream, const StandardiseArgs& args);
void average_patches(Stream& stream, const AveragePatchesArgs& args);

void flash(const AttentionTable& isa, Stream& stream, const AttentionArgs& args);
std::string flash_why_not(const AttentionNeeds& needs);

// Bytes that a call takes for itself at most.
int64_t linear_scratch_bytes(const LinearIsa& isa, const StepSize& size);
int64_t moe_scratch_bytes(const StepSize& size);
int64_t recurrent_scratch_bytes(const StepSize& size);
int64_t flash_scratch_bytes(const AttentionTable& isa, const AttentionNeeds& needs, const StepSize& size);

}  // namespace heed::cpu
