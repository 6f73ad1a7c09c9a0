#include "kernels/cuda/runtime.h"

#include "kernels/cuda/cublaslt.h"

namespace heed {
namespace {

using namespace cuda;

constexpr int kOldestMajor = 8;

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }

}  // namespace

std::string cuda_why_not(int index) {
  int devices = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&devices); error != cudaSuccess) {
    cudaGetLastError();  // or the next launch reports it again
    return std::string("no CUDA device: ") + cudaGetErrorString(error);
  }
  if (devices == 0) return "no CUDA device";
  if (index >= devices) {
    return "no CUDA device " + std::to_string(index) + ": this machine has " + std::to_string(devices);
  }
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess) {
    cudaGetLastError();
    return "CUDA device " + std::to_string(index) + " does not answer: " + cudaGetErrorString(error);
  }
  if (properties.major < kOldestMajor) {
    return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) +
           "." + std::to_string(properties.minor) + ": 8.0 and newer are supported";
  }
  return "";
}

DeviceBuffer::DeviceBuffer(int64_t bytes) : bytes_(bytes) {
  if (bytes > 0) CUDA_CALL(cudaMalloc(&data_, static_cast<size_t>(bytes)));
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) CUDA_CALL(cudaFree(data_));
}

CudaStream::CudaStream() {
  cudaStream_t stream = nullptr;
  CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  handle_ = stream;
  int device = 0;
  int major = 0;
  CUDA_CALL(cudaGetDevice(&device));
  CUDA_CALL(cudaDeviceGetAttribute(&sms_, cudaDevAttrMultiProcessorCount, device));
  CUDA_CALL(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  hopper_ = major == 9;
  counters_ = DeviceBuffer(kCounters * int64_t{sizeof(uint32_t)});
  CUDA_CALL(cudaMemsetAsync(counters_.data(), 0, static_cast<size_t>(counters_.bytes()), stream));
  blas_ = CublasLt::open();
}

CudaStream::~CudaStream() {
  CUDA_CALL(cudaStreamSynchronize(stream_of(handle_)));
  CUDA_CALL(cudaStreamDestroy(stream_of(handle_)));
}

void CudaStream::upload(void* device, const void* host, int64_t bytes) {
  CUDA_CALL(
      cudaMemcpyAsync(device, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_of(handle_)));
}

void CudaStream::download(void* host, const void* device, int64_t bytes) {
  CUDA_CALL(
      cudaMemcpyAsync(host, device, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_of(handle_)));
  synchronize();
}

void CudaStream::synchronize() { CUDA_CALL(cudaStreamSynchronize(stream_of(handle_))); }

void* CudaStream::scratch(int64_t bytes) {
  reserve(bytes);
  return scratch_.data();
}

void CudaStream::reserve(int64_t bytes) {
  if (bytes <= scratch_.bytes()) return;
  synchronize();
  scratch_ = DeviceBuffer();  // free first: the two together may not fit
  scratch_ = DeviceBuffer(bytes);
}

}  // namespace heed
