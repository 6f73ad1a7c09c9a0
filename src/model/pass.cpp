#include "model/pass.h"

#include <algorithm>

namespace heed {

Pass::Pass(const Model& model, const Batch& batch, const Step& step)
    : model_(model), batch_(batch), step_(step) {
  make_rope_tables();
}

void Pass::make_rope_tables() {
  for (size_t i = 0; i < model_.ropes.size(); ++i) {
    const auto pairs = static_cast<int64_t>(model_.frequencies[i].size());
    RopeTable table;
    if (pairs > 0) {
      table = {f32({tokens(), pairs}), f32({tokens(), pairs})};
      kernels().rope_table(stream(), {.positions = batch_.arrays.positions,
                                      .inverse_frequency = constant(model_.frequencies[i]),
                                      .attention_factor = model_.ropes[i].attention_factor,
                                      .cos = table.cos,
                                      .sin = table.sin});
    }
    tables_.push_back(table);
  }
}

const float* Pass::constant(const std::vector<float>& values) const {
  return step_.constants != nullptr ? step_.constants->at(values) : values.data();
}

void Pass::rotate(int layer, const Tensor& x) const {
  const int rope = model_.rope_of_layer[layer];
  if (rope < 0 || !tables_[rope].cos.defined()) return;
  kernels().rope(stream(), {.cos = tables_[rope].cos,
                            .sin = tables_[rope].sin,
                            .x = x,
                            .interleaved = model_.ropes[rope].interleaved});
}

LinearsArgs Pass::linears_of(const InputRows& rows) const {
  LinearsArgs args = {.x = rows.x, .normalise = rows.normalise, .norm = rows.norm};
  args.eps = model_.spec.norm_eps;
  if (rows.normalise) args.h = input({rows.x.size[0], rows.x.size[1]});
  return args;
}

void Pass::linears(const InputRows& rows, const std::vector<LinearsArgs::Part>& parts,
                   bool accumulate) const {
  const ArenaScope scope(arena());
  LinearsArgs args = linears_of(rows);
  std::copy(parts.begin(), parts.end(), args.parts.begin());
  args.count = static_cast<int>(parts.size());
  args.accumulate = accumulate;
  kernels().linears(stream(), args);
}

void Pass::gated_linears(const InputRows& rows, Act act, LinearsArgs::Part gate, LinearsArgs::Part up,
                         const Tensor& inner) const {
  const ArenaScope scope(arena());
  LinearsArgs args = linears_of(rows);
  const int64_t width = inner.size[1];
  const Tensor outs = f32({inner.size[0], 2 * width});  // side by side, as their weights may be: see pass.h
  gate.out = outs.columns(0, width);
  up.out = outs.columns(width, 2 * width);
  args.parts = {gate, up};
  args.count = 2;
  args.gated = true;
  args.act = act;
  args.inner = inner;
  kernels().linears(stream(), args);
}

void Pass::finish_heads(int layer, FinishHeadsArgs args) const {
  const int rope = model_.rope_of_layer[layer];
  if (rope >= 0) {
    args.cos = tables_[rope].cos;
    args.sin = tables_[rope].sin;
    args.interleaved = model_.ropes[rope].interleaved;
  }
  args.eps = model_.spec.norm_eps;
  if (args.k.defined()) {
    const LayerCache& cache = step_.cache[layer];
    args.slots = batch_.groups[cache.group].on_device.slots;
    args.kv = cache.kv;
  }
  kernels().finish_heads(stream(), args);
}

void Pass::keep(int layer, const Tensor& k, const Tensor& v) const {
  const LayerCache& cache = step_.cache[layer];
  kernels().kv_write(stream(),
                     {.k = k, .v = v, .slots = batch_.groups[cache.group].on_device.slots, .kv = cache.kv});
}

void Pass::attend(int layer, const Attend& args) const {
  const LayerCache& cache = step_.cache[layer];
  const BatchGroup& group = batch_.groups[cache.group];
  if (args.k.defined()) keep(layer, args.k, args.v);
  PagedKv kv = cache.kv;
  kv.table = group.table;
  kv.table_stride = group.table_stride;
  kv.table_rows = batch_.arrays.table_rows;
  step_.attention[layer]->run(stream(), {.q = args.q,
                                         .kv = kv,
                                         .seq_start = batch_.arrays.seq_start,
                                         .sequences = batch_.sequences(),
                                         .rows = group.on_device.rows,
                                         .scale = args.scale,
                                         .softcap = args.softcap,
                                         .sink_logits = args.sink_logits,
                                         .out = args.out,
                                         .plan = step_.plans.empty() ? nullptr : step_.plans[layer]});
}

StateArgs Pass::state(int layer, int number) const {
  return {.slots = weight_of(step_.states[layer], number),
          .seq_start = batch_.arrays.seq_start,
          .sequences = batch_.sequences(),
          .slot = batch_.arrays.state_slots,
          .saves = {batch_.arrays.state_saves, batch_.state_saves.size()}};
}

}  // namespace heed
