#include "model/forward.h"

#include <algorithm>
#include <cmath>

#include "model/mixer.h"
#include "model/moe.h"
#include "model/pass.h"

namespace heed {
namespace {

class Forward {
 public:
  Forward(const Model& model, const Batch& batch, const Step& step)
      : m_(model), b_(batch), pass_(model, batch, step), taps_(step.taps) {}

  Tensor run() {
    const Tensor x = pass_.f32({pass_.tokens(), m_.spec.hidden});
    pass_.kernels().embed(
        pass_.stream(),
        {.table = m_.weights.own[kEmbed], .ids = b_.arrays.tokens, .scale = m_.embed_scale, .out = x});
    for (const BatchImage& image : b_.images) {
      const int64_t end = image.row + image.embeddings.size[0];
      pass_.kernels().copy(pass_.stream(), {.x = image.embeddings, .out = x.slice(image.row, end)});
    }
    if (m_.spec.layer_input > 0) make_layer_inputs(x);
    const int64_t width = m_.spec.hidden;
    if (taps_ != nullptr) taps_->rows = pass_.input({pass_.tokens(), std::ssize(taps_->after) * width});
    take_taps(0, x);
    for (int i = 0; i < static_cast<int>(m_.spec.layers.size()); ++i) {
      run_layer(i, x);
      take_taps(i + 1, x);
    }
    return logits(x);
  }

 private:
  Tensor own(int layer, LayerWeight number) const { return weight_of(m_.weights.layers[layer].own, number); }

  void take_taps(int layers, const Tensor& x) const {
    if (taps_ == nullptr) return;
    for (int64_t i = 0; i < std::ssize(taps_->after); ++i) {
      if (taps_->after[i] != layers) continue;
      const int64_t width = m_.spec.hidden;
      pass_.kernels().copy(pass_.stream(), {.x = x, .out = taps_->rows.columns(i * width, (i + 1) * width)});
    }
  }

  void run_layer(int i, const Tensor& x) {
    const LayerSpec& layer = m_.spec.layers[i];
    const Mixer& mixer = mixer_of(layer.mixer);
    half(layer, layer.mixer_residual, own(i, kMixerNorm), own(i, kMixerPostNorm), x, mixer.fuses(),
         [&](const InputRows& rows, const Tensor& out, bool accumulate) {
           mixer.run(layer.mixer, {pass_, i, m_.weights.layers[i].mixer, rows.x, out, &rows, accumulate});
         });
    half(
        layer, layer.ffn_residual, own(i, kFfnNorm), own(i, kFfnPostNorm), x, !layer.moe,
        [&](const InputRows& rows, const Tensor& out, bool accumulate) { ffn(i, rows, x, out, accumulate); });
    if (m_.spec.layer_input > 0) add_layer_input(i, x);
    if (layer.scaled) {
      Tensor factors(own(i, kLayerScale).data, DType::kF32, {pass_.tokens(), 1});
      factors.stride[0] = 0;  // one for all
      pass_.kernels().scale_rows(pass_.stream(), {.factors = factors, .x = x});
    }
  }

  // Half a block, as Norms and Residual say. fuses: f takes the residual stream and the norm, and can add to
  // the stream; else it gets rows that are normalised and writes its result.
  template <class F>
  void half(const LayerSpec& layer, const Residual& residual, const Tensor& norm, const Tensor& post_norm,
            const Tensor& x, bool fuses, F f) {
    const ArenaScope scope(pass_.arena());
    const bool normed = layer.norms == Norms::kNormed;
    InputRows rows = {.x = x, .normalise = true, .norm = norm};
    if (!fuses) {
      rows = {.x = pass_.input({pass_.tokens(), m_.spec.hidden})};
      pass_.rms_norm(x, norm, rows.x);
    }
    // Of the spec alone: what a step takes is measured without weights.
    if (fuses && layer.norms == Norms::kPre && residual.scale == 1 && residual.keep == 1)
      return f(rows, x, true);
    const Tensor out = pass_.f32({pass_.tokens(), m_.spec.hidden});
    f(rows, out, false);
    if (normed) pass_.rms_norm(x, norm, x);
    if (post_norm.defined()) {
      add_normed(out, post_norm, x);
    } else {
      pass_.kernels().add(pass_.stream(),
                          {.x = out, .scale = residual.scale, .keep = residual.keep, .out = x});
    }
  }

  void add_normed(const Tensor& x, const Tensor& norm, const Tensor& out) const {
    pass_.kernels().rms_norm(
        pass_.stream(), {.x = x, .weight = norm, .eps = m_.spec.norm_eps, .accumulate = true, .out = out});
  }

  // x: the residual stream, from which experts beside an MLP start again.
  void ffn(int i, const InputRows& rows, const Tensor& x, const Tensor& out, bool accumulate) const {
    const LayerSpec& layer = m_.spec.layers[i];
    const LayerWeights& w = m_.weights.layers[i];
    if (!layer.moe) return run_mlp(*layer.mlp, pass_, w.mlp, rows, out, accumulate);
    if (!layer.mlp) return run_moe(*layer.moe, pass_, w.moe, {.h = rows.x, .x = x}, out);
    const Tensor part = pass_.f32({pass_.tokens(), m_.spec.hidden});
    run_mlp(*layer.mlp, pass_, w.mlp, rows, part);
    pass_.rms_norm(part, own(i, kMlpPostNorm), out);
    const Tensor h2 = pass_.input({pass_.tokens(), m_.spec.hidden});
    pass_.rms_norm(x, own(i, kMoeNorm), h2);
    run_moe(*layer.moe, pass_, w.moe, {.h = h2, .x = x}, part);
    add_normed(part, own(i, kMoePostNorm), out);
  }

  // (norm(projection(x) / sqrt(hidden)) + looked up) / sqrt(2), for all layers at once.
  void make_layer_inputs(const Tensor& x) {
    const auto layers = static_cast<int64_t>(m_.spec.layers.size());
    const int64_t dim = m_.spec.layer_input;
    layer_inputs_ = pass_.f32({pass_.tokens(), layers * dim});
    const ArenaScope scope(pass_.arena());
    const Tensor looked_up = pass_.f32({pass_.tokens(), layers * dim});
    const Tensor in = pass_.input({pass_.tokens(), m_.spec.hidden});
    Stream& stream = pass_.stream();
    const Kernels& k = pass_.kernels();
    k.embed(stream, {.table = m_.weights.own[kLayerInputEmbed],
                     .ids = b_.arrays.tokens,
                     .scale = std::sqrt(static_cast<float>(dim)),
                     .out = looked_up});
    k.copy(stream, {.x = x, .out = in});
    pass_.linear(in, m_.weights.own[kLayerInputProjection], {}, layer_inputs_);
    k.scale(stream, {.scale = 1 / std::sqrt(static_cast<float>(m_.spec.hidden)), .x = layer_inputs_});
    const Tensor by_layer = layer_inputs_.split_last(layers, dim);
    pass_.rms_norm(by_layer, m_.weights.own[kLayerInputNorm], by_layer);
    const float half = std::sqrt(0.5F);
    k.add(stream, {.x = looked_up, .scale = half, .keep = half, .out = layer_inputs_});
  }

  void add_layer_input(int i, const Tensor& x) const {
    const ArenaScope scope(pass_.arena());
    const int64_t dim = m_.spec.layer_input;
    const Tensor in = pass_.input({pass_.tokens(), m_.spec.hidden});
    const Tensor gate = pass_.f32({pass_.tokens(), dim});
    const Tensor gated = pass_.input({pass_.tokens(), dim});
    const Tensor out = pass_.f32({pass_.tokens(), m_.spec.hidden});
    pass_.kernels().copy(pass_.stream(), {.x = x, .out = in});
    pass_.linear(in, own(i, kLayerInputGate), {}, gate);
    const Tensor mine = layer_inputs_.columns(i * dim, (i + 1) * dim);
    pass_.kernels().gated_act(pass_.stream(),
                              {.act = m_.spec.layer_input_act, .gate = gate, .up = mine, .out = gated});
    pass_.linear(gated, own(i, kLayerInputUp), {}, out);
    add_normed(out, own(i, kLayerInputPostNorm), x);
  }

  Tensor logits(const Tensor& x) const {
    const auto rows = static_cast<int64_t>(b_.logit_rows.size());
    if (rows == 0) return {};
    const Tensor out = pass_.f32({rows, m_.spec.logit_width()});
    const ArenaScope scope(pass_.arena());
    const Tensor picked = pass_.f32({rows, m_.spec.hidden});
    pass_.kernels().gather_rows(pass_.stream(), {.x = x, .rows = b_.arrays.logit_rows, .out = picked});
    pass_.linears({.x = picked, .normalise = true, .norm = m_.weights.own[kFinalNorm]},
                  {{m_.weights.own[kHead], {}, out}});
    if (m_.spec.logit_softcap > 0)
      pass_.kernels().softcap(pass_.stream(), {.cap = m_.spec.logit_softcap, .x = out});
    return out;
  }

  const Model& m_;
  const Batch& b_;
  const Pass pass_;
  Taps* taps_;
  Tensor layer_inputs_;  // [tokens, layers * layer_input] f32
};

}  // namespace

Model make_model(ModelSpec spec, Weights weights, DType compute, Device& device) {
  Model model{.spec = std::move(spec), .weights = std::move(weights), .compute = compute};
  model.embed_scale =
      compute == DType::kBF16 ? rounded_to_bf16(model.spec.embed_scale) : model.spec.embed_scale;
  if (model.spec.vision) model.vision = make_vision(*model.spec.vision, model.weights.vision, device);
  for (const LayerSpec& layer : model.spec.layers) {
    const std::optional<RopeSpec> rope = mixer_of(layer.mixer).needs(layer.mixer).rope;
    if (!rope) {
      model.rope_of_layer.push_back(-1);
      continue;
    }
    auto found = std::find(model.ropes.begin(), model.ropes.end(), *rope);
    if (found == model.ropes.end()) {
      model.ropes.push_back(*rope);
      model.frequencies.push_back(inverse_frequencies(*rope));
      found = std::prev(model.ropes.end());
    }
    model.rope_of_layer.push_back(static_cast<int>(found - model.ropes.begin()));
  }
  return model;
}

Tensor forward(const Model& model, const Batch& batch, const Step& step) {
  return Forward(model, batch, step).run();
}

}  // namespace heed
