// Linear layers over weights in blocks on the cuda backend, beside the same in bfloat16.
#include "bench/cuda_bench.h"
#include "tests/kernels/cases_blocks.h"

namespace heed::bench {
namespace {

// Matrices one behind the other, more than caches hold; every block is one of some thousand random ones.
DeviceBuffer random_weights(BenchDevice& device, DType dtype, int64_t elements) {
  if (!is_blocks(dtype)) return device.random_bf16(elements);
  cases::Random random(1);
  std::vector<char> some(static_cast<size_t>(bytes_of(dtype, int64_t{1} << 20)));
  cases::fill_blocks(dtype, some.data(), std::ssize(some), random);
  DeviceBuffer all(bytes_of(dtype, elements));
  for (int64_t at = 0; at < all.bytes(); at += std::ssize(some)) {
    device.cuda().upload(static_cast<char*>(all.data()) + at, some.data(),
                         std::min<int64_t>(std::ssize(some), all.bytes() - at));
  }
  return all;
}

void run_linear(BenchDevice& device, DType dtype, int64_t tokens, int64_t in, int64_t outs) {
  const int64_t each = bytes_of(dtype, in * outs);
  const int64_t sets = std::max<int64_t>(kColdBytes / each, 1);
  const DeviceBuffer weights = random_weights(device, dtype, sets * in * outs);
  const DeviceBuffer x = device.random_bf16(tokens * in);
  const DeviceBuffer out(tokens * outs * 4);
  Stream stream = device.stream();
  const Timing timing = device.time([&](int i) {
    cuda_kernels().linear(
        stream, {.x = Tensor(x.data(), DType::kBF16, {tokens, in}),
                 .weight = Tensor(static_cast<char*>(weights.data()) + i % sets * each, dtype, {outs, in}),
                 .out = Tensor(out.data(), DType::kF32, {tokens, outs})});
  });
  device.report("blocks " + std::string(name_of(dtype)) + " " + std::to_string(tokens) + " x " +
                    std::to_string(in) + " x " + std::to_string(outs),
                timing, tokens <= 64 ? static_cast<double>(each) : 0,
                tokens > 64 ? 2.0 * static_cast<double>(tokens * in * outs) : 0);
}

}  // namespace

void run_blocks(BenchDevice& device, const std::string& filter) {
  for (const DType dtype :
       {DType::kBF16, DType::kQ80, DType::kQ40, DType::kQ4K, DType::kQ6K, DType::kQ4Z, DType::kFp8}) {
    if (("blocks " + std::string(name_of(dtype))).find(filter) == std::string::npos) continue;
    for (const int64_t tokens : {1, 4, 8, 16, 32, 64, 512, 4096})
      run_linear(device, dtype, tokens, 4096, 14336);
    for (const auto& [in, outs] :
         {std::pair{14336, 4096}, {4096, 6144}, {4096, 4096}, {2048, 6144}, {6144, 2048}, {2048, 4096}})
      run_linear(device, dtype, 1, in, outs);
  }
}

}  // namespace heed::bench
