#include "model/measure.h"

#include <algorithm>
#include <memory>

#include "base/checked.h"
#include "model/draft.h"
#include "model/forward.h"
#include "model/mixer.h"

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
                                  .softcap = nothing<SoftcapArgs>,
                                  .copy = nothing<CopyArgs>,
                                  .temper = nothing<TemperArgs>,
                                  .scale = nothing<ScaleArgs>,
                                  .scale_rows = nothing<ScaleRowsArgs>,
                                  .linears = nothing<LinearsArgs>,
                                  .finish_heads = nothing<FinishHeadsArgs>,
                                  .head_linear = nothing<HeadLinearArgs>,
                                  .moe_route = nothing<MoeRouteArgs>,
                                  .moe_sort = nothing<MoeSortArgs>,
                                  .expert_linear = nothing<ExpertLinearArgs>,
                                  .expert_sum = nothing<ExpertSumArgs>,
                                  .short_conv = nothing<ShortConvArgs>,
                                  .linear_attention = nothing<LinearAttentionArgs>,
                                  .gated_delta = nothing<GatedDeltaArgs>,
                                  .delta_gates = nothing<DeltaGatesArgs>,
                                  .layer_norm = nothing<LayerNormArgs>,
                                  .clamp = nothing<ClampArgs>,
                                  .standardise = nothing<StandardiseArgs>,
                                  .average_patches = nothing<AveragePatchesArgs>};
  return kernels;
}

// A model without memory behind its weights, and all that runs it without doing anything.
struct NullModel {
  static constexpr AttentionKernel kAttention = {.name = "null", .run = [](Stream&, const AttentionArgs&) {}};
  Model model;
  std::vector<LayerCache> cache;
  std::vector<const AttentionKernel*> attention;
  std::vector<Tensors> states;
  mutable Stream stream;

  NullModel(const ModelSpec& spec, DType compute)
      : model(make_model(spec, shapes_of(spec), compute)),
        cache(spec.layers.size()),
        attention(spec.layers.size(), &kAttention),
        states(spec.layers.size()) {}
  static Weights shapes_of(const ModelSpec& spec) {
    Weights weights;
    needed_tensors(spec, weights);  // as many of each as the spec has
    return weights;
  }
  Step step(Arena& arena, Taps* taps = nullptr) const {
    return {null_kernels(), attention, cache, states, stream, arena, taps};
  }
};

}  // namespace

int64_t arena_bytes(const ModelSpec& spec, DType compute, int64_t tokens, int64_t logit_rows,
                    const ModelSpec* drafter) {
  Batch batch;
  batch.tokens.resize(tokens);
  batch.logit_rows.resize(logit_rows);
  batch.table_rows.resize(logit_rows);  // no step has more sequences
  batch.groups.resize(1);
  Arena arena = Arena::measuring();
  const NullModel target(spec, compute);
  Taps taps;
  if (drafter != nullptr && drafter->draft) taps.after = drafter->draft->taps;
  const auto is_fed = [](const ModelSpec* model) {  // by features
    return model != nullptr && model->draft && !model->draft->is_block();
  };
  const Step step = target.step(arena, taps.after.empty() ? nullptr : &taps);
  if (is_fed(&spec)) {
    guess_next(target.model, batch, step, {});
    return arena.peak();
  }
  forward(target.model, batch, step);
  if (drafter == nullptr) return arena.peak();
  const NullModel guessing(*drafter, compute);
  Step guess = guessing.step(arena);
  if (drafter->draft && drafter->draft->is_block()) {
    keep_context(guessing.model, batch, guess, taps.rows);
    return arena.peak();
  }
  if (is_fed(drafter)) guess.features = features_before(guessing.model, batch, guess, taps.rows, {});
  batch.logit_rows.clear();
  forward(guessing.model, batch, guess);
  return arena.peak();
}

int64_t vision_arena_bytes(const ModelSpec& spec, DType compute, int64_t patches) {
  const NullModel seeing(spec, compute);
  const Model& model = seeing.model;
  const int pool = spec.vision->prep.pool;
  auto picture = std::make_shared<ImagePatches>();
  const auto across = static_cast<int>(div_up(patches, pool * pool));
  picture->grid = {.columns = across * pool, .rows = pool, .soft_tokens = across};
  Stream stream;
  Arena arena = Arena::measuring();
  ImageEncoding encoding(model, {picture}, 1);
  encoding.run(model, {null_kernels(), NullModel::kAttention, stream, arena}, encoding.layers_left());
  return arena.peak();
}

int64_t widest_row(const ModelSpec& spec) {
  int64_t widest = spec.hidden;
  for (const LayerSpec& layer : spec.layers) {
    widest = std::max(widest, mixer_of(layer.mixer).needs(layer.mixer).widest);
    if (layer.mlp) widest = std::max(widest, int64_t{layer.mlp->inner});
    if (layer.moe) widest = std::max({widest, int64_t{layer.moe->inner}, int64_t{layer.moe->shared_inner}});
  }
  if (spec.draft) widest = std::max({widest, spec.draft->tap_width(), 2 * int64_t{spec.hidden}});
  if (spec.vision) {
    const VisionSpec& v = *spec.vision;
    const int64_t patch = int64_t{3} * v.prep.patch * v.prep.patch;
    widest = std::max({widest, int64_t{v.hidden}, int64_t{v.inner}, int64_t{v.heads} * v.head_dim, patch});
  }
  return widest;
}

}  // namespace heed
