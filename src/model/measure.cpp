#include "model/measure.h"

#include <algorithm>

#include "model/forward.h"

namespace heed {
namespace {

template <class Args>
void nothing(Stream& /*stream*/, const Args& /*args*/) {}

const Kernels& null_kernels() {
  static const Kernels kernels = {.name = "null",
                                  .isa = "none",
                                  .attention = {},
                                  .embed = nothing<EmbedArgs>,
                                  .rms_norm = nothing<RmsNormArgs>,
                                  .linear = nothing<LinearArgs>,
                                  .rope_table = nothing<RopeTableArgs>,
                                  .rope = nothing<RopeArgs>,
                                  .kv_write = nothing<KvWriteArgs>,
                                  .gated_act = nothing<GatedActArgs>,
                                  .add = nothing<AddArgs>,
                                  .gather_rows = nothing<GatherRowsArgs>,
                                  .softcap = nothing<SoftcapArgs>};
  return kernels;
}

}  // namespace

int64_t arena_bytes(const ModelSpec& spec, DType compute, int64_t tokens, int64_t logit_rows) {
  constexpr AttentionKernel kAttention = {.name = "null", .run = [](Stream&, const AttentionArgs&) {}};
  Weights weights;
  weights.layers.resize(spec.layers.size());
  const Model model = make_model(spec, std::move(weights), compute);
  Batch batch;
  batch.tokens.resize(tokens);
  batch.logit_rows.resize(logit_rows);
  batch.groups.resize(1);
  const std::vector<LayerCache> cache(spec.layers.size());
  const std::vector<const AttentionKernel*> attention(spec.layers.size(), &kAttention);
  Stream stream;
  Arena arena = Arena::measuring();
  forward(model, batch, {null_kernels(), attention, cache, stream, arena});
  return arena.peak();
}

int64_t widest_row(const ModelSpec& spec) {
  int64_t widest = spec.hidden;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& a = layer.mixer;
    widest = std::max({widest, int64_t{layer.ffn.inner}, int64_t{a.heads} * a.v_dim});
  }
  return widest;
}

}  // namespace heed
