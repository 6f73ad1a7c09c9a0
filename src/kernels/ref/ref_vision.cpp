// The ops of vision towers, as naive loops.
#include <algorithm>
#include <cmath>

#include "kernels/checks.h"
#include "kernels/ref/elements.h"
#include "kernels/ref/ops.h"

namespace heed::ref {

void layer_norm(Stream& /*stream*/, const LayerNormArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  for (int64_t r = 0; r < n["rows"]; ++r) {
    const auto x = [&](int64_t i) { return load(args.x, at(args.x, r, i)); };
    float sum = 0;
    for (int64_t i = 0; i < dim; ++i) sum += x(i);
    const float mean = sum / static_cast<float>(dim);
    float squares = 0;
    for (int64_t i = 0; i < dim; ++i) squares += (x(i) - mean) * (x(i) - mean);
    const float inverse = 1 / std::sqrt(squares / static_cast<float>(dim) + args.eps);
    for (int64_t i = 0; i < dim; ++i) {
      store(args.out, at(args.out, r, i),
            (x(i) - mean) * inverse * load(args.weight, i) + load(args.bias, i));
    }
  }
}

void clamp(Stream& /*stream*/, const ClampArgs& args) {
  const Shapes n = check(args);
  for (int64_t r = 0; r < n["rows"]; ++r) {
    for (int64_t i = 0; i < n["dim"]; ++i) {
      const int64_t place = at(args.x, r, i);
      store(args.x, place, std::min(std::max(load(args.x, place), args.lowest), args.highest));
    }
  }
}

void standardise(Stream& /*stream*/, const StandardiseArgs& args) {
  const Shapes n = check(args);
  for (int64_t r = 0; r < n["rows"]; ++r) {
    for (int64_t i = 0; i < n["dim"]; ++i) {
      const int64_t place = at(args.x, r, i);
      store(args.x, place, (load(args.x, place) - load(args.shift, i)) * load(args.scale, i));
    }
  }
}

void average_patches(Stream& /*stream*/, const AveragePatchesArgs& args) {
  const Shapes n = check(args);
  const int64_t pool = args.pool;
  const int64_t across = args.columns / pool;
  for (int64_t o = 0; o < n["averages"]; ++o) {
    for (int64_t i = 0; i < n["dim"]; ++i) {
      float sum = 0;
      for (int64_t row = o / across * pool; row < (o / across + 1) * pool; ++row) {
        for (int64_t column = o % across * pool; column < (o % across + 1) * pool; ++column)
          sum += load(args.x, at(args.x, row * args.columns + column, i));
      }
      store(args.out, at(args.out, o, i), sum / static_cast<float>(pool * pool) * args.scale);
    }
  }
}

}  // namespace heed::ref
