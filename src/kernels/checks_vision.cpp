// Checks of the ops of vision towers.
#include "kernels/checks.h"

namespace heed {

Shapes check(const LayerNormArgs& args) {
  check_f32("layer_norm", {args.x, args.weight, args.bias});
  CHECK(args.out.dtype == DType::kF32 || args.out.dtype == DType::kBF16, "layer_norm", describe(args.out));
  return Shapes("layer_norm")
      .match(args.x, "x", {"rows", "dim"})
      .match(args.weight, "weight", {"dim"})
      .match(args.bias, "bias", {"dim"})
      .match(args.out, "out", {"rows", "dim"});
}

Shapes check(const ClampArgs& args) {
  CHECK(args.x.dtype == DType::kF32 || args.x.dtype == DType::kBF16, "clamp", describe(args.x));
  CHECK(args.lowest <= args.highest, "clamp", args.lowest, args.highest);
  return Shapes("clamp").match(args.x, "x", {"rows", "dim"});
}

Shapes check(const StandardiseArgs& args) {
  check_f32("standardise", {args.shift, args.scale, args.x});
  return Shapes("standardise")
      .match(args.shift, "shift", {"dim"})
      .match(args.scale, "scale", {"dim"})
      .match(args.x, "x", {"rows", "dim"});
}

Shapes check(const AveragePatchesArgs& args) {
  check_f32("average_patches", {args.x, args.out});
  Shapes shapes("average_patches");
  shapes.match(args.x, "x", {"patches", "dim"}).match(args.out, "out", {"averages", "dim"});
  CHECK(args.columns > 0 && args.pool > 0 && args.columns % args.pool == 0, args.columns, args.pool);
  const int64_t patches = shapes["patches"];
  CHECK(patches % (int64_t{args.columns} * args.pool) == 0, patches, args.columns, args.pool);
  CHECK(shapes["averages"] == patches / args.pool / args.pool, patches, args.pool, shapes["averages"]);
  return shapes;
}

}  // namespace heed
