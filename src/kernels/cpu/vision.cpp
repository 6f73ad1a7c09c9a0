// Ops of vision towers: rows are split over threads. Next to the products between them they cost little.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace heed::cpu {
namespace {

constexpr int64_t kElementsPerThread = 16384;

int64_t grain(int64_t row_elements) { return kElementsPerThread / std::max<int64_t>(row_elements, 1) + 1; }

template <class T>
T* row_of(const Tensor& t, int64_t row) {
  return t.as<T>() + row * t.stride[0];
}

// In lanes, so that compilers may use vectors; the order depends on the size alone.
template <class F>
float sum_of(int64_t n, const F& value) {
  constexpr int kLanes = 8;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += value(i + lane);
  }
  float sum = 0;
  for (; i < n; ++i) sum += value(i);
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace

void layer_norm(const RowTable& isa, Stream& stream, const LayerNormArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  const float* weight = args.weight.f32();
  const float* bias = args.bias.f32();
  stream.pool->parallel_for(n["rows"], grain(4 * dim), [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(dim));
    for (int64_t r = begin; r < end; ++r) {
      const auto* x = row_of<const float>(args.x, r);
      const float mean = sum_of(dim, [&](int64_t i) { return x[i]; }) / static_cast<float>(dim);
      const float squares = sum_of(dim, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
      const float inverse = 1 / std::sqrt(squares / static_cast<float>(dim) + args.eps);
      for (int64_t i = 0; i < dim; ++i) row[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
      char* out = args.out.as<char>() + r * args.out.stride[0] * size_of(args.out.dtype);
      isa.narrow(row.data(), out, args.out.dtype, dim);
    }
  });
}

void clamp(Stream& stream, const ClampArgs& args) {
  const Shapes n = check(args);
  const auto clamped = [&](float x) { return std::min(std::max(x, args.lowest), args.highest); };
  stream.pool->parallel_for(n["rows"], grain(n["dim"]), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (args.x.dtype == DType::kF32) {
        auto* x = row_of<float>(args.x, r);
        for (int64_t i = 0; i < args.x.size[1]; ++i) x[i] = clamped(x[i]);
      } else {
        auto* x = row_of<bf16>(args.x, r);
        for (int64_t i = 0; i < args.x.size[1]; ++i) x[i] = from_float<bf16>(clamped(to_float(x[i])));
      }
    }
  });
}

void standardise(Stream& stream, const StandardiseArgs& args) {
  const Shapes n = check(args);
  const float* shift = args.shift.f32();
  const float* scale = args.scale.f32();
  stream.pool->parallel_for(n["rows"], grain(n["dim"]), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      auto* x = row_of<float>(args.x, r);
      for (int64_t i = 0; i < args.x.size[1]; ++i) x[i] = (x[i] - shift[i]) * scale[i];
    }
  });
}

void average_patches(Stream& stream, const AveragePatchesArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  const int64_t pool = args.pool;
  const int64_t across = args.columns / pool;
  const auto count = static_cast<float>(pool * pool);
  stream.pool->parallel_for(n["averages"], grain(pool * pool * dim), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      auto* out = row_of<float>(args.out, o);
      std::fill_n(out, dim, 0.0F);
      for (int64_t i = 0; i < pool * pool; ++i) {
        const int64_t row = o / across * pool + i / pool;
        const auto* x = row_of<const float>(args.x, row * args.columns + o % across * pool + i % pool);
        for (int64_t c = 0; c < dim; ++c) out[c] += x[c];
      }
      for (int64_t c = 0; c < dim; ++c) out[c] = out[c] / count * args.scale;
    }
  });
}

}  // namespace heed::cpu
