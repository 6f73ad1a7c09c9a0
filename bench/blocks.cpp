// Linear layers over weights in blocks, at the shapes of a model of 0.5 billion parameters: one token through
// all of them, which reads every weight once, and 512 tokens through one layer.
#include "bench/bench.h"
#include "tests/kernels/cases_blocks.h"

namespace heed::bench {
namespace {

using namespace cases;

struct LayerShape {
  int64_t out, in;
};
// Hidden 1024, 16 and 8 heads of 128, inner 3072: q, k, v, o, gate, up, down.
constexpr LayerShape kShapes[] = {{2048, 1024}, {1024, 1024}, {1024, 1024}, {1024, 2048},
                                  {3072, 1024}, {3072, 1024}, {1024, 3072}};
constexpr int kLayers = 24;
constexpr LayerShape kHead = {151936, 1024};

// The weights of a whole model, one after the other; every block is one of a few thousand random ones.
class WholeModel {
 public:
  explicit WholeModel(DType dtype) {
    std::vector<LayerShape> shapes;
    for (int layer = 0; layer < kLayers; ++layer)
      shapes.insert(shapes.end(), std::begin(kShapes), std::end(kShapes));
    shapes.push_back(kHead);
    for (const LayerShape& s : shapes) bytes_ += bytes_of(dtype, s.out * s.in);
    memory_ = Buffer(bytes_);
    Random random(1);
    const int64_t sample = bytes_of(dtype, 1 << 18);
    std::vector<char> some(static_cast<size_t>(sample));
    if (is_blocks(dtype)) {
      fill_blocks(dtype, some.data(), sample, random);
    } else {
      Tensor t(some.data(), dtype, {1 << 18});
      for_each(t, [&](int64_t at) { write(t, at, random.uniform(-1, 1)); });
    }
    auto* memory = static_cast<char*>(memory_.data());
    for (int64_t at = 0; at < bytes_; at += sample)
      std::memcpy(memory + at, some.data(), static_cast<size_t>(std::min(sample, bytes_ - at)));
    for (const LayerShape& s : shapes) {
      weights.emplace_back(memory, dtype, std::initializer_list<int64_t>{s.out, s.in});
      memory += weights.back().bytes();
    }
  }
  int64_t bytes() const { return bytes_; }
  std::vector<Tensor> weights;

 private:
  Buffer memory_;
  int64_t bytes_ = 0;
};

void bench_format(Bench& bench, DType dtype) {
  const std::string name(name_of(dtype));
  const std::string decode = "decode 0.5b " + name;
  const std::string prefill = "prefill 512 of a 0.5b layer " + name;
  if (!bench.wants(decode) && !bench.wants(prefill)) return;
  const WholeModel model(dtype);
  const DType x_type = dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
  Random random(2);
  Array x(x_type, {512, 3072});
  x.fill(random);
  Array out(DType::kF32, {512, kHead.out});
  Stream stream = bench.stream();
  const auto run = [&](const Tensor& weight, int64_t tokens) {
    bench.kernels().linear(stream, {.x = Tensor(x.t.data, x_type, {tokens, weight.size[1]}),
                                    .weight = weight,
                                    .out = Tensor(out.t.data, DType::kF32, {tokens, weight.size[0]})});
  };
  if (bench.wants(decode)) {
    bench.time({.name = decode, .bytes = static_cast<double>(model.bytes())}, [&](int) {
      for (const Tensor& weight : model.weights) run(weight, 1);
    });
  }
  if (!bench.wants(prefill)) return;
  double elements = 0;
  for (const LayerShape& s : kShapes) elements += static_cast<double>(s.out * s.in);
  bench.time({.name = prefill,
              .bytes = static_cast<double>(model.bytes()) / kLayers,
              .flops = 2 * 512 * elements,
              .peak = is_blocks(dtype)         ? Peak::kInt8
                      : x_type == DType::kBF16 ? Peak::kBfloat16
                                               : Peak::kFloat32},
             [&](int i) {
               for (size_t s = 0; s < std::size(kShapes); ++s)
                 run(model.weights[static_cast<size_t>(i % kLayers) * std::size(kShapes) + s], 512);
             });
}

}  // namespace

void bench_blocks(Bench& bench) {
  for (const DType dtype : {DType::kBF16, DType::kF32}) bench_format(bench, dtype);
  for (const DType dtype : kBlockTypes) bench_format(bench, dtype);
}

}  // namespace heed::bench
