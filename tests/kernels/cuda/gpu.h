// Problems of the common cases, copied to the device and back.
#pragma once
#include <gtest/gtest.h>

#include <iostream>
#include <vector>

#include "attention/plan.h"
#include "kernels/cuda/cuda.h"
#include "kernels/ref/ref.h"
#include "tests/kernels/cases.h"
#include "tests/kernels/compare.h"

namespace heed {

// A test of the device, skipped where there is none.
class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = cuda_why_not(); !reason.empty()) GTEST_SKIP() << reason;
    device = std::make_unique<CudaStream>();
    stream = device->stream();
  }

  template <class T>
  T* put(const std::vector<T>& values) {
    return static_cast<T*>(put(values.data(), static_cast<int64_t>(values.size() * sizeof(T))));
  }
  // The tensor of `array` with all of its memory, padding included.
  Tensor put(const cases::Array& array) {
    Tensor t = array.t;
    char* memory = static_cast<char*>(put(array.memory.data(), static_cast<int64_t>(array.memory.size())));
    t.data = memory + (array.t.as<char>() - array.memory.data());
    return t;
  }
  // `array`'s memory as it is on the device, where put gave `tensor` for it.
  void get(cases::Array& array, const Tensor& tensor) {
    const char* memory = tensor.as<char>() - (array.t.as<char>() - array.memory.data());
    device->download(array.memory.data(), memory, static_cast<int64_t>(array.memory.size()));
  }
  template <class T>
  std::vector<T> get(const T* values, size_t count) {
    std::vector<T> all(count);
    device->download(all.data(), values, static_cast<int64_t>(count * sizeof(T)));
    return all;
  }
  void forget() {
    device->synchronize();
    buffers.clear();
  }

  std::unique_ptr<CudaStream> device;
  Stream stream;
  Stream host;
  const Kernels& cuda = cuda_kernels();
  const Kernels& ref = ref_kernels();

 private:
  void* put(const void* data, int64_t bytes) {
    buffers.emplace_back(std::max<int64_t>(bytes, 16));
    if (bytes > 0) device->upload(buffers.back().data(), data, bytes);
    return buffers.back().data();
  }
  std::vector<DeviceBuffer> buffers;
};

}  // namespace heed
