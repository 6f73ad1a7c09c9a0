#include "model/forward.h"

#include <algorithm>

namespace heed {
namespace {

struct RopeTable {
  Tensor cos, sin;  // [tokens, pairs]; undefined for a rope without rotation
};

// One forward pass: what all its parts share.
class Pass {
 public:
  Pass(const Model& model, const Batch& batch, const Step& step)
      : m_(model), b_(batch), s_(step), tokens_(static_cast<int64_t>(batch.tokens.size())) {}

  Tensor run() {
    Tensor x = f32({tokens_, m_.spec.hidden});
    s_.kernels.embed(s_.stream,
                     {.table = m_.weights.embed, .ids = b_.tokens.data(), .scale = m_.embed_scale, .out = x});
    make_rope_tables();
    for (int i = 0; i < static_cast<int>(m_.spec.layers.size()); ++i) {
      const LayerSpec& layer = m_.spec.layers[i];
      const LayerWeights& w = m_.weights.layers[i];
      half(w.attn_norm, w.attn_post_norm, x,
           [&](const Tensor& h, const Tensor& out) { attention(i, h, out); });
      half(w.ffn_norm, w.ffn_post_norm, x,
           [&](const Tensor& h, const Tensor& out) { mlp(layer.ffn, w, h, out); });
    }
    return logits(x);
  }

 private:
  Tensor f32(std::initializer_list<int64_t> sizes) { return s_.arena.take(DType::kF32, sizes); }
  // What a linear layer reads.
  Tensor input(std::initializer_list<int64_t> sizes) { return s_.arena.take(m_.compute, sizes); }

  void make_rope_tables() {
    for (size_t i = 0; i < m_.ropes.size(); ++i) {
      const auto pairs = static_cast<int64_t>(m_.frequencies[i].size());
      RopeTable table;
      if (pairs > 0) {
        table = {f32({tokens_, pairs}), f32({tokens_, pairs})};
        s_.kernels.rope_table(s_.stream, {.positions = b_.positions.data(),
                                          .inverse_frequency = m_.frequencies[i].data(),
                                          .attention_factor = m_.ropes[i].attention_factor,
                                          .cos = table.cos,
                                          .sin = table.sin});
      }
      tables_.push_back(table);
    }
  }

  void rms_norm(const Tensor& x, const Tensor& weight, const Tensor& out, bool accumulate = false) {
    s_.kernels.rms_norm(
        s_.stream, {.x = x, .weight = weight, .eps = m_.spec.norm_eps, .accumulate = accumulate, .out = out});
  }

  void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out) {
    s_.kernels.linear(s_.stream, {.x = x, .weight = weight, .bias = bias, .out = out});
  }

  // Half a block: x += f(norm(x)), with a second norm before the sum where the layer has one.
  template <class F>
  void half(const Tensor& norm, const Tensor& post_norm, const Tensor& x, F f) {
    const ArenaScope scope(s_.arena);
    const Tensor h = input({tokens_, m_.spec.hidden});
    rms_norm(x, norm, h);
    const Tensor out = f32({tokens_, m_.spec.hidden});
    f(h, out);
    if (post_norm.defined()) {
      rms_norm(out, post_norm, x, /*accumulate=*/true);
    } else {
      s_.kernels.add(s_.stream, {.x = out, .out = x});
    }
  }

  void attention(int layer, const Tensor& h, const Tensor& out) {
    const AttentionSpec& a = m_.spec.layers[layer].mixer;
    const LayerWeights& w = m_.weights.layers[layer];
    const Tensor q = f32({tokens_, int64_t{a.heads} * a.head_dim});
    const Tensor k = f32({tokens_, int64_t{a.kv_heads} * a.head_dim});
    const Tensor v = f32({tokens_, int64_t{a.kv_heads} * a.v_dim});
    linear(h, w.q, w.q_bias, q);
    linear(h, w.k, w.k_bias, k);
    linear(h, w.v, w.v_bias, v);
    const Tensor q_heads = q.split_last(a.heads, a.head_dim);
    const Tensor k_heads = k.split_last(a.kv_heads, a.head_dim);
    if (a.qk_norm) {
      rms_norm(q_heads, w.q_norm, q_heads);
      rms_norm(k_heads, w.k_norm, k_heads);
    }
    const RopeTable& table = tables_[m_.rope_of_layer[layer]];
    if (table.cos.defined()) {
      s_.kernels.rope(s_.stream, {.cos = table.cos, .sin = table.sin, .x = q_heads});
      s_.kernels.rope(s_.stream, {.cos = table.cos, .sin = table.sin, .x = k_heads});
    }
    const Tensor mixed = input({tokens_, int64_t{a.heads} * a.v_dim});
    attend(layer, q_heads, k_heads, v.split_last(a.kv_heads, a.v_dim), mixed.split_last(a.heads, a.v_dim));
    linear(mixed, w.o, w.o_bias, out);
  }

  void attend(int layer, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out) {
    const AttentionSpec& a = m_.spec.layers[layer].mixer;
    const LayerCache& cache = s_.cache[layer];
    const BatchGroup& group = b_.groups[cache.group];
    s_.kernels.kv_write(s_.stream, {.k = k, .v = v, .slots = group.slots.data(), .kv = cache.kv});
    PagedKv kv = cache.kv;
    kv.table = group.table;
    kv.table_stride = group.table_stride;
    kv.table_rows = b_.table_rows.data();
    s_.attention[layer]->run(s_.stream, {.q = q,
                                         .kv = kv,
                                         .seq_start = b_.seq_start.data(),
                                         .sequences = b_.sequences(),
                                         .rows = group.rows.data(),
                                         .scale = a.scale,
                                         .softcap = a.softcap,
                                         .out = out});
  }

  void mlp(const MlpSpec& spec, const LayerWeights& w, const Tensor& h, const Tensor& out) {
    const Tensor gate = f32({tokens_, spec.inner});
    const Tensor up = f32({tokens_, spec.inner});
    const Tensor inner = input({tokens_, spec.inner});
    linear(h, w.gate, w.gate_bias, gate);
    linear(h, w.up, w.up_bias, up);
    s_.kernels.gated_act(s_.stream, {.act = spec.act, .gate = gate, .up = up, .out = inner});
    linear(inner, w.down, w.down_bias, out);
  }

  Tensor logits(const Tensor& x) {
    const auto rows = static_cast<int64_t>(b_.logit_rows.size());
    if (rows == 0) return {};
    const Tensor out = f32({rows, m_.spec.vocab});
    const ArenaScope scope(s_.arena);
    const Tensor picked = f32({rows, m_.spec.hidden});
    const Tensor h = input({rows, m_.spec.hidden});
    s_.kernels.gather_rows(s_.stream, {.x = x, .rows = b_.logit_rows.data(), .out = picked});
    rms_norm(picked, m_.weights.final_norm, h);
    linear(h, m_.weights.head, {}, out);
    if (m_.spec.logit_softcap > 0) s_.kernels.softcap(s_.stream, {.cap = m_.spec.logit_softcap, .x = out});
    return out;
  }

  const Model& m_;
  const Batch& b_;
  const Step& s_;
  const int64_t tokens_;
  std::vector<RopeTable> tables_;
};

}  // namespace

Model make_model(ModelSpec spec, Weights weights, DType compute) {
  Model model{.spec = std::move(spec), .weights = std::move(weights), .compute = compute};
  model.embed_scale =
      compute == DType::kBF16 ? rounded_to_bf16(model.spec.embed_scale) : model.spec.embed_scale;
  for (const LayerSpec& layer : model.spec.layers) {
    const RopeSpec& rope = layer.mixer.rope;
    auto found = std::find(model.ropes.begin(), model.ropes.end(), rope);
    if (found == model.ropes.end()) {
      model.ropes.push_back(rope);
      model.frequencies.push_back(inverse_frequencies(rope));
      found = std::prev(model.ropes.end());
    }
    model.rope_of_layer.push_back(static_cast<int>(found - model.ropes.begin()));
  }
  return model;
}

Tensor forward(const Model& model, const Batch& batch, const Step& step) {
  return Pass(model, batch, step).run();
}

}  // namespace heed
