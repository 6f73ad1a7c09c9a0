#include "model/forward.h"

#include <algorithm>
#include <cmath>

#include "model/mixers.h"
#include "model/moe.h"
#include "model/pass.h"

namespace heed {
namespace {

class Forward {
 public:
  Forward(const Model& model, const Batch& batch, const Step& step)
      : m_(model), b_(batch), pass_(model, batch, step), taps_(step.taps), features_(step.features) {}

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
    if (features_.defined()) take_features(x);
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
      const Tensor out = taps_->rows.columns(i * width, (i + 1) * width);
      if (taps_->normed && layers == static_cast<int>(m_.spec.layers.size())) {
        pass_.rms_norm(x, m_.weights.own[kFinalNorm], out);
      } else {
        pass_.kernels().copy(pass_.stream(), {.x = x, .out = out});
      }
    }
  }

  // x holds the tokens' embeddings, and then what enters the first layer (DraftSpec).
  void take_features(const Tensor& x) {
    const int64_t width = m_.spec.hidden;
    if (m_.spec.draft->kind == DraftSpec::Kind::kEagle) {
      token_ = pass_.f32({pass_.tokens(), width});
      pass_.kernels().copy(pass_.stream(), {.x = x, .out = token_});
      pass_.kernels().copy(pass_.stream(), {.x = features_, .out = x});
      return;
    }
    const ArenaScope scope(pass_.arena());
    const Tensor both = pass_.input({pass_.tokens(), 2 * width});
    pass_.rms_norm(x, m_.weights.own[kDraftTokenNorm], both.columns(0, width));
    pass_.rms_norm(features_, m_.weights.own[kDraftNorm], both.columns(width, 2 * width));
    pass_.linear(both, m_.weights.own[kDraftInput], {}, x);
  }

  // What half a block reads. fuses: the residual stream and its norm, which is the reader's own affair; else
  // rows that are normalised.
  InputRows rows_of(const Tensor& x, const Tensor& norm, bool fuses) const {
    if (fuses) return {.x = x, .normalise = true, .norm = norm};
    const InputRows rows = {.x = pass_.input({pass_.tokens(), m_.spec.hidden})};
    pass_.rms_norm(x, norm, rows.x);
    return rows;
  }

  InputRows mixer_rows(int i, const Tensor& x, bool fuses) const {
    const int64_t width = m_.spec.hidden;
    if (i > 0 || !token_.defined()) return rows_of(x, own(i, kMixerNorm), fuses);
    const Tensor both = pass_.input({pass_.tokens(), 2 * width});
    const Tensor& norm = m_.weights.own[kDraftNorm];
    pass_.rms_norm(token_, own(i, kMixerNorm), both.columns(0, width));
    pass_.rms_norm(x, norm, both.columns(width, 2 * width));
    if (m_.spec.draft->norm_first) pass_.rms_norm(x, norm, x);
    return {.x = both};
  }

  // Of a drafter's last layer, where nothing is guessed: what leaves it is not read.
  bool only_keeps(int i) const {
    return features_.defined() && i + 1 == static_cast<int>(m_.spec.layers.size()) && b_.logit_rows.empty() &&
           taps_ == nullptr;
  }

  void run_layer(int i, const Tensor& x) {
    const LayerSpec& layer = m_.spec.layers[i];
    if (only_keeps(i)) {
      const ArenaScope scope(pass_.arena());
      const InputRows rows = mixer_rows(i, x, /*fuses=*/false);
      return keep_keys(std::get<AttentionSpec>(layer.mixer),
                       {pass_, i, m_.weights.layers[i].mixer, rows.x, {}});
    }
    const Mixer& mixer = mixer_of(layer.mixer);
    half(
        layer, layer.mixer_residual, own(i, kMixerNorm), own(i, kMixerPostNorm), x, mixer.fuses(),
        [&] { return mixer_rows(i, x, mixer.fuses()); },
        [&](const InputRows& rows, const Tensor& out, bool accumulate) {
          mixer.run(layer.mixer, {pass_, i, m_.weights.layers[i].mixer, rows.x, out, &rows, accumulate});
        });
    half(
        layer, layer.ffn_residual, own(i, kFfnNorm), own(i, kFfnPostNorm), x, !layer.moe,
        [&] { return rows_of(x, own(i, kFfnNorm), !layer.moe); },
        [&](const InputRows& rows, const Tensor& out, bool accumulate) { ffn(i, rows, x, out, accumulate); });
    if (m_.spec.layer_input > 0) add_layer_input(i, x);
    if (layer.scaled) {
      Tensor factors(own(i, kLayerScale).data, DType::kF32, {pass_.tokens(), 1});
      factors.stride[0] = 0;  // one for all
      pass_.kernels().scale_rows(pass_.stream(), {.factors = factors, .x = x});
    }
  }

  // Half a block, as Norms and Residual say, of what input() gives. fuses: f can add to the residual stream;
  // else it writes its result.
  template <class Input, class F>
  void half(const LayerSpec& layer, const Residual& residual, const Tensor& norm, const Tensor& post_norm,
            const Tensor& x, bool fuses, Input input, F f) {
    const ArenaScope scope(pass_.arena());
    const InputRows rows = input();
    // Of the spec alone: what a step takes is measured without weights.
    if (fuses && layer.norms == Norms::kPre && residual.scale == 1 && residual.keep == 1)
      return f(rows, x, true);
    const Tensor out = pass_.f32({pass_.tokens(), m_.spec.hidden});
    f(rows, out, false);
    if (layer.norms == Norms::kNormed) pass_.rms_norm(x, norm, x);
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
  Tensor features_;
  Tensor token_;         // [tokens, hidden] f32, the embeddings: kEagle
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
