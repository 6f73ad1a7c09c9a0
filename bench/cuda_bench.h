// The device that heed_bench_cuda measures on: its ceilings, inputs, a timer, and a JSON line for each op.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/cuda/runtime.h"

namespace heed::bench {

inline constexpr int64_t kColdBytes = int64_t{512} << 20;  // read in turn, so that no cache holds the next

struct Timing {
  double median, p10, p90;  // seconds a call
};

class BenchDevice {
 public:
  BenchDevice() {
    std::mt19937 random(1);
    std::vector<uint16_t> values(size_t{16} << 20);
    std::normal_distribution<float> normal;
    for (uint16_t& v : values) v = from_float<bf16>(normal(random)).bits;
    pattern_ = put(values);
    std::vector<uint8_t> codes(values.size());
    for (size_t i = 0; i < values.size(); ++i) codes[i] = from_float<e4m3>(to_float(bf16{values[i]})).bits;
    codes_ = put(codes);
  }
  Stream stream() { return stream_.stream(); }
  CudaStream& cuda() { return stream_; }

  // bfloat16 values, normally distributed.
  DeviceBuffer random_bf16(int64_t elements) {
    DeviceBuffer buffer(elements * 2);
    repeat(pattern_, buffer);
    return buffer;
  }
  DeviceBuffer random_fp8(int64_t elements) {
    DeviceBuffer buffer(elements);
    repeat(codes_, buffer);
    return buffer;
  }
  DeviceBuffer random_f32(int64_t elements) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(std::min(elements, int64_t{4} << 20)));
    for (float& v : values) v = normal(random);
    const DeviceBuffer pattern = put(values);
    DeviceBuffer buffer(elements * 4);
    repeat(pattern, buffer);
    stream_.synchronize();
    return buffer;
  }
  template <class T>
  DeviceBuffer put(const std::vector<T>& values) {
    DeviceBuffer buffer(static_cast<int64_t>(values.size() * sizeof(T)));
    stream_.upload(buffer.data(), values.data(), buffer.bytes());
    return buffer;
  }

  // body(i) puts one call on the stream; i counts the calls. Short calls are timed several at once.
  Timing time(const std::function<void(int)>& body) {
    cudaEvent_t start = nullptr;
    cudaEvent_t end = nullptr;
    CUDA_CALL(cudaEventCreate(&start));
    CUDA_CALL(cudaEventCreate(&end));
    int calls = 0;
    const auto run = [&](int count) {
      CUDA_CALL(cudaEventRecord(start, handle()));
      for (int i = 0; i < count; ++i) body(calls++);
      CUDA_CALL(cudaEventRecord(end, handle()));
      CUDA_CALL(cudaEventSynchronize(end));
      float ms = 0;
      CUDA_CALL(cudaEventElapsedTime(&ms, start, end));
      return ms / 1e3 / count;
    };
    run(3);
    const int each = std::clamp(static_cast<int>(1e-3 / run(3)), 1, 50);
    std::vector<double> times;
    for (int i = 0; i < 25; ++i) times.push_back(run(each));
    std::sort(times.begin(), times.end());
    CUDA_CALL(cudaEventDestroy(start));
    CUDA_CALL(cudaEventDestroy(end));
    return {times[times.size() / 2], times[times.size() / 10], times[times.size() * 9 / 10]};
  }

  void measure() {
    cudaDeviceProp properties;
    CUDA_CALL(cudaGetDeviceProperties(&properties, 0));
    constexpr int64_t kCopy = int64_t{2} << 30;
    const DeviceBuffer from = random_bf16(kCopy / 2);
    const DeviceBuffer to(kCopy);
    const Timing copy = time([&](int) {
      CUDA_CALL(cudaMemcpyAsync(to.data(), from.data(), static_cast<size_t>(kCopy), cudaMemcpyDeviceToDevice,
                                handle()));
    });
    bytes_a_second_ = 2.0 * kCopy / copy.median;
    constexpr int64_t kSide = 8192;
    const DeviceBuffer out(kSide * kSide * 4);
    const LinearArgs args = {
        .x = Tensor(from.data(), DType::kBF16, {kSide, kSide}),
        .weight = Tensor(static_cast<char*>(from.data()) + kSide * kSide * 2, DType::kBF16, {kSide, kSide}),
        .out = Tensor(out.data(), DType::kF32, {kSide, kSide})};
    Stream s = stream();
    const Timing product = time([&](int) { cuda_kernels().linear(s, args); });
    flops_a_second_ = 2.0 * kSide * kSide * kSide / product.median;
    print({{"device", properties.name},
           {"copy_tb_s", bytes_a_second_ / 1e12},
           {"bf16_product_tflop_s", flops_a_second_ / 1e12}});
  }

  void report(const std::string& name, const Timing& t, double bytes, double flops) const {
    OrderedJson line = {
        {"op", name}, {"us", t.median * 1e6}, {"us_p10", t.p10 * 1e6}, {"us_p90", t.p90 * 1e6}};
    if (flops > 0) {
      line["tflop_s"] = flops / t.median / 1e12;
      line["of_product"] = flops / t.median / flops_a_second_;
    }
    if (bytes > 0) {
      line["tb_s"] = bytes / t.median / 1e12;
      line["of_copy"] = bytes / t.median / bytes_a_second_;
    }
    print(line);
  }

 private:
  // `buffer` full of copies of `pattern`.
  void repeat(const DeviceBuffer& pattern, const DeviceBuffer& buffer) {
    for (int64_t at = 0; at < buffer.bytes(); at += pattern.bytes()) {
      const int64_t bytes = std::min(pattern.bytes(), buffer.bytes() - at);
      CUDA_CALL(cudaMemcpyAsync(static_cast<char*>(buffer.data()) + at, pattern.data(),
                                static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, handle()));
    }
  }
  cudaStream_t handle() const { return static_cast<cudaStream_t>(stream_.handle()); }
  static void print(const OrderedJson& line) {
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }
  CudaStream stream_;
  DeviceBuffer pattern_, codes_;  // of bfloat16 and of fp8
  double bytes_a_second_ = 1, flops_a_second_ = 1;
};

// Recurrent layers, and mixtures of experts: those whose name has `filter` in it.
void run_layers(BenchDevice& device, const std::string& filter);
// Linear layers over weights in blocks, likewise.
void run_blocks(BenchDevice& device, const std::string& filter);

}  // namespace heed::bench
