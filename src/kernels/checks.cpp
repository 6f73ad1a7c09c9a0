#include "kernels/checks.h"

#include <utility>

namespace heed {
namespace {

void check_output(std::string_view op, const Tensor& out) {
  CHECK(out.dtype == DType::kF32 || out.dtype == DType::kBF16, op, describe(out));
}

void check_cache(std::string_view op, const PagedKv& kv) {
  const DType dtype = kv.k.dtype;
  const bool codes = dtype == DType::kI8;
  const bool fp8 = dtype == DType::kE4M3;
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16 || codes || fp8, op, describe(kv.k));
  for (const Tensor& scale : {kv.k_scale, kv.v_scale}) {
    CHECK(scale.defined() ? codes || fp8 : !codes, op, describe(kv.k), describe(scale));
    CHECK(!scale.defined() || scale.dtype == DType::kF32, op, describe(scale));
  }
  if (codes) CHECK(kv.k_scale.stride == kv.v_scale.stride, op);
}

void match_scales(const PagedKv& kv, Shapes& shapes) {
  for (const auto& [scale, name] : {std::pair{kv.k_scale, "kv.k_scale"}, {kv.v_scale, "kv.v_scale"}}) {
    if (kv.k.dtype == DType::kE4M3) {
      shapes.match_if(scale, name, {"kv_heads"});
    } else {
      shapes.match_if(scale, name, {"blocks", "kv_heads", "block"});
    }
  }
}

}  // namespace

Shapes check(const EmbedArgs& args) {
  check_f32("embed", {args.out});
  check_weight("embed", args.table);
  return Shapes("embed")
      .match(args.table, "table", {"vocab", "hidden"})
      .match(args.out, "out", {"tokens", "hidden"});
}

Shapes check(const RmsNormArgs& args) {
  check_f32("rms_norm", {args.x});
  if (args.weight.defined()) check_f32("rms_norm", {args.weight});
  check_output("rms_norm", args.out);
  CHECK(!args.accumulate || args.out.dtype == DType::kF32, "rms_norm accumulates in float32 only");
  Shapes shapes("rms_norm");
  if (args.x.rank == 2) {
    shapes.match(args.x, "x", {"rows", "dim"}).match(args.out, "out", {"rows", "dim"});
  } else {
    shapes.match(args.x, "x", {"rows", "heads", "dim"}).match(args.out, "out", {"rows", "heads", "dim"});
  }
  return shapes.match_if(args.weight, "weight", {"dim"});
}

Shapes check(const LinearArgs& args) {
  check_f32("linear", {args.out});
  check_weight("linear", args.weight);
  check_input("linear", args.x, args.weight);
  if (args.bias.defined()) check_f32("linear", {args.bias});
  return Shapes("linear")
      .match(args.x, "x", {"tokens", "in"})
      .match(args.weight, "weight", {"out", "in"})
      .match_if(args.bias, "bias", {"out"})
      .match(args.out, "out", {"tokens", "out"});
}

Shapes check(const RopeTableArgs& args) {
  check_f32("rope_table", {args.cos, args.sin});
  return Shapes("rope_table")
      .match(args.cos, "cos", {"tokens", "pairs"})
      .match(args.sin, "sin", {"tokens", "pairs"});
}

Shapes check(const RopeArgs& args) {
  check_f32("rope", {args.cos, args.sin, args.x});
  Shapes shapes("rope");
  shapes.match(args.cos, "cos", {"tokens", "pairs"})
      .match(args.sin, "sin", {"tokens", "pairs"})
      .match(args.x, "x", {"tokens", "heads", "head_dim"});
  CHECK(2 * shapes["pairs"] <= shapes["head_dim"], shapes["pairs"], shapes["head_dim"]);
  return shapes;
}

Shapes check(const KvWriteArgs& args) {
  check_f32("kv_write", {args.k});
  check_cache("kv_write", args.kv);
  Shapes shapes("kv_write");
  shapes.match(args.k, "k", {"tokens", "kv_heads", "head_dim"})
      .match(args.kv.k, "kv.k", {"blocks", "kv_heads", "block", "head_dim"});
  match_scales(args.kv, shapes);
  CHECK(args.v.defined() || args.kv.k.dtype != DType::kI8, "kv_write");
  if (!args.v.defined()) return shapes;
  check_f32("kv_write", {args.v});
  CHECK(args.kv.k.dtype == args.kv.v.dtype, describe(args.kv.k), describe(args.kv.v));
  return shapes.match(args.v, "v", {"tokens", "kv_heads", "v_dim"})
      .match(args.kv.v, "kv.v", {"blocks", "kv_heads", "block", "v_dim"});
}

Shapes check(const AttentionArgs& args) {
  check_f32("attention", {args.q});
  check_output("attention", args.out);
  check_cache("attention", args.kv);
  CHECK(args.kv.k.dtype == args.kv.v.dtype, describe(args.kv.k), describe(args.kv.v));
  Shapes shapes("attention");
  shapes.match(args.q, "q", {"tokens", "heads", "head_dim"})
      .match(args.kv.k, "kv.k", {"blocks", "kv_heads", "block", "head_dim"})
      .match(args.kv.v, "kv.v", {"blocks", "kv_heads", "block", "v_dim"})
      .match(args.out, "out", {"tokens", "heads", "v_dim"});
  match_scales(args.kv, shapes);
  CHECK(shapes["heads"] % shapes["kv_heads"] == 0, shapes["heads"], shapes["kv_heads"]);
  return shapes;
}

Shapes check(const GatedActArgs& args) {
  check_f32("gated_act", {args.gate, args.up});
  check_output("gated_act", args.out);
  CHECK(args.gate.defined() && args.out.defined(), "gated_act");
  Shapes shapes("gated_act");
  for (const auto& [tensor, name] : {std::pair{args.gate, "gate"}, {args.up, "up"}, {args.out, "out"}}) {
    if (args.gate.rank == 2) {
      shapes.match_if(tensor, name, {"tokens", "inner"});
    } else {
      shapes.match_if(tensor, name, {"tokens", "heads", "inner"});
    }
  }
  return shapes;
}

Shapes check(const AddArgs& args) {
  check_f32("add", {args.x, args.out});
  return Shapes("add").match(args.x, "x", {"tokens", "dim"}).match(args.out, "out", {"tokens", "dim"});
}

Shapes check(const GatherRowsArgs& args) {
  check_f32("gather_rows", {args.x, args.out});
  return Shapes("gather_rows")
      .match(args.x, "x", {"tokens", "dim"})
      .match(args.out, "out", {"picked", "dim"});
}

Shapes check(const SoftcapArgs& args) {
  check_f32("softcap", {args.x});
  return Shapes("softcap").match(args.x, "x", {"rows", "dim"});
}

Shapes check(const ArgMaxArgs& args) {
  check_f32("arg_max", {args.x});
  CHECK(args.ids != nullptr, "arg_max: ids");
  return Shapes("arg_max").match(args.x, "x", {"rows", "dim"});
}

Shapes check(const DrawArgs& args) {
  check_f32("draw", {args.x});
  CHECK(args.rows != nullptr && args.ids != nullptr, "draw: rows, ids");
  return Shapes("draw").match(args.x, "x", {"rows", "dim"});
}

Shapes check(const CopyArgs& args) {
  check_output("copy", args.x);
  check_output("copy", args.out);
  Shapes shapes("copy");
  if (args.x.rank == 2)
    return shapes.match(args.x, "x", {"tokens", "dim"}).match(args.out, "out", {"tokens", "dim"});
  return shapes.match(args.x, "x", {"tokens", "heads", "dim"})
      .match(args.out, "out", {"tokens", "heads", "dim"});
}

Shapes check(const TemperArgs& args) {
  check_f32("temper", {args.x});
  return Shapes("temper").match(args.x, "x", {"tokens", "heads", "head_dim"});
}

Shapes check(const ScaleArgs& args) {
  check_f32("scale", {args.x});
  return Shapes("scale").match(args.x, "x", {"tokens", "dim"});
}

Shapes check(const ScaleRowsArgs& args) {
  check_f32("scale_rows", {args.factors, args.x});
  Shapes shapes("scale_rows");
  shapes.match(args.factors, "factors", {"tokens", "one"}).match(args.x, "x", {"tokens", "dim"});
  CHECK(shapes["one"] == 1, describe(args.factors));
  return shapes;
}

Shapes check(const HeadLinearArgs& args) {
  check_f32("head_linear", {args.x, args.out});
  CHECK(is_float(args.weight.dtype), describe(args.weight));
  return Shapes("head_linear")
      .match(args.x, "x", {"tokens", "heads", "in"})
      .match(args.weight, "weight", {"heads", "out", "in"})
      .match(args.out, "out", {"tokens", "heads", "out"});
}

Shapes check(const LinearsArgs& args) {
  CHECK(1 <= args.count && args.count <= LinearsArgs::kMost && (!args.gated || args.count == 2), args.count);
  const Tensor& h = args.normalise ? args.h : args.x;
  Shapes shapes("linears");
  shapes.match(args.x, "x", {"tokens", "in"}).match(h, "h", {"tokens", "in"});
  if (args.normalise) check_f32("linears", {args.x});
  if (args.norm.defined()) check_f32("linears", {args.norm});
  shapes.match_if(args.norm, "norm", {"in"});
  for (int i = 0; i < args.count; ++i) {
    const LinearsArgs::Part& part = args.parts[i];
    check(LinearArgs{.x = h, .weight = part.weight, .bias = part.bias, .out = part.out});
  }
  if (!args.gated) return shapes;
  CHECK(!args.accumulate, "linears: gated ones have nothing to add to");
  check_output("linears", args.inner);
  for (int i = 0; i < args.count; ++i) shapes.match(args.parts[i].out, "out", {"tokens", "inner"});
  return shapes.match(args.inner, "inner", {"tokens", "inner"});
}

Shapes check(const FinishHeadsArgs& args) {
  CHECK(args.q.defined() || args.k.defined(), "finish_heads");
  CHECK(args.k.defined() == args.v.defined() && args.k.defined() == args.kv.k.defined(), "finish_heads");
  for (const Tensor& t : {args.q, args.k, args.v, args.q_norm, args.k_norm, args.cos, args.sin}) {
    if (t.defined()) check_f32("finish_heads", {t});
  }
  Shapes shapes("finish_heads");
  shapes.match_if(args.q, "q", {"tokens", "heads", "head_dim"})
      .match_if(args.k, "k", {"tokens", "kv_heads", "head_dim"})
      .match_if(args.v, "v", {"tokens", "kv_heads", "v_dim"})
      .match_if(args.q_norm, "q_norm", {"head_dim"})
      .match_if(args.k_norm, "k_norm", {"head_dim"})
      .match_if(args.cos, "cos", {"tokens", "pairs"})
      .match_if(args.sin, "sin", {"tokens", "pairs"});
  CHECK(args.cos.defined() == args.sin.defined(), "finish_heads");
  if (args.cos.defined())
    CHECK(2 * shapes["pairs"] <= shapes["head_dim"], shapes["pairs"], shapes["head_dim"]);
  if (args.k.defined()) check(KvWriteArgs{.k = args.k, .v = args.v, .slots = args.slots, .kv = args.kv});
  return shapes;
}

}  // namespace heed
