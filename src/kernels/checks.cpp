#include "kernels/checks.h"

namespace heed {
namespace {

bool is_float(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16; }

void check_output(std::string_view op, const Tensor& out) {
  CHECK(out.dtype == DType::kF32 || out.dtype == DType::kBF16, op, describe(out));
}

void check_f32(std::string_view op, std::initializer_list<Tensor> tensors) {
  for (const Tensor& tensor : tensors) CHECK(tensor.dtype == DType::kF32, op, describe(tensor));
}

void check_cache(std::string_view op, const PagedKv& kv) {
  CHECK(kv.k.dtype == DType::kF32 || kv.k.dtype == DType::kBF16, op, describe(kv.k));
  CHECK(kv.k.dtype == kv.v.dtype, op, describe(kv.k), describe(kv.v));
}

}  // namespace

Shapes check(const EmbedArgs& args) {
  check_f32("embed", {args.out});
  CHECK(is_float(args.table.dtype), describe(args.table));
  return Shapes("embed")
      .match(args.table, "table", {"vocab", "hidden"})
      .match(args.out, "out", {"tokens", "hidden"});
}

Shapes check(const RmsNormArgs& args) {
  check_f32("rms_norm", {args.x, args.weight});
  check_output("rms_norm", args.out);
  CHECK(!args.accumulate || args.out.dtype == DType::kF32, "rms_norm accumulates in float32 only");
  Shapes shapes("rms_norm");
  if (args.x.rank == 2) {
    shapes.match(args.x, "x", {"rows", "dim"}).match(args.out, "out", {"rows", "dim"});
  } else {
    shapes.match(args.x, "x", {"rows", "heads", "dim"}).match(args.out, "out", {"rows", "heads", "dim"});
  }
  return shapes.match(args.weight, "weight", {"dim"});
}

Shapes check(const LinearArgs& args) {
  check_f32("linear", {args.out});
  CHECK(args.x.dtype == DType::kF32 || (args.x.dtype == DType::kBF16 && args.weight.dtype == DType::kBF16),
        "linear", describe(args.x), describe(args.weight));
  CHECK(is_float(args.weight.dtype), describe(args.weight));
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
  check_f32("kv_write", {args.k, args.v});
  check_cache("kv_write", args.kv);
  return Shapes("kv_write")
      .match(args.k, "k", {"tokens", "kv_heads", "head_dim"})
      .match(args.v, "v", {"tokens", "kv_heads", "v_dim"})
      .match(args.kv.k, "kv.k", {"blocks", "kv_heads", "block", "head_dim"})
      .match(args.kv.v, "kv.v", {"blocks", "kv_heads", "block", "v_dim"});
}

Shapes check(const AttentionArgs& args) {
  check_f32("attention", {args.q});
  check_output("attention", args.out);
  check_cache("attention", args.kv);
  Shapes shapes("attention");
  shapes.match(args.q, "q", {"tokens", "heads", "head_dim"})
      .match(args.kv.k, "kv.k", {"blocks", "kv_heads", "block", "head_dim"})
      .match(args.kv.v, "kv.v", {"blocks", "kv_heads", "block", "v_dim"})
      .match(args.out, "out", {"tokens", "heads", "v_dim"});
  CHECK(shapes["heads"] % shapes["kv_heads"] == 0, shapes["heads"], shapes["kv_heads"]);
  return shapes;
}

Shapes check(const GatedActArgs& args) {
  check_f32("gated_act", {args.gate, args.up});
  check_output("gated_act", args.out);
  return Shapes("gated_act")
      .match(args.gate, "gate", {"tokens", "inner"})
      .match(args.up, "up", {"tokens", "inner"})
      .match(args.out, "out", {"tokens", "inner"});
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

}  // namespace heed
