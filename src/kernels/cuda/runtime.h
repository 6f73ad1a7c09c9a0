// What the sources of this folder share: checked calls, and the stream behind a Stream.
#pragma once
#include <cuda_runtime.h>

#include "base/check.h"
#include "kernels/cuda/cuda.h"

// A failed call is our bug or a broken device: it names the call, the error and the place, and aborts.
#define CUDA_CALL(call) ::heed::cuda::check_call(call, #call, __FILE__, __LINE__)
// After a launch: what the launch itself was refused for.
#define CUDA_LAUNCHED(kernel) \
  ::heed::cuda::check_call(cudaGetLastError(), "launch of " kernel, __FILE__, __LINE__)

namespace heed::cuda {

inline void check_call(cudaError_t error, const char* call, const char* file, int line) {
  if (error == cudaSuccess) return;
  detail::check_failed(file, line, call, cudaGetErrorName(error), cudaGetErrorString(error));
}

inline CudaStream& device_of(const Stream& stream) {
  CHECK(stream.device != nullptr, "the cuda backend runs on a CudaStream");
  return *static_cast<CudaStream*>(stream.device);
}
inline cudaStream_t handle_of(const Stream& stream) {
  return static_cast<cudaStream_t>(device_of(stream).handle());
}

// Lets a kernel have `bytes` of dynamic shared memory; more than 48 KiB must be asked for.
template <class Kernel>
void allow_shared(Kernel* kernel, int bytes) {
  CUDA_CALL(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

struct LaunchShape {
  unsigned blocks = 1, rows = 1;  // of the grid
  unsigned threads = 1;
  int shared = 0;   // bytes of dynamic shared memory
  int cluster = 1;  // blocks
};

// Launches a kernel that says itself from where on it needs what the one before it wrote, and when the next
// may start: ptx::wait_for_previous and let_next_start, both of which it must call. Where the device cannot
// do that, kernels follow one another.
template <class... Params, class... Args>
void launch(const Stream& stream, const LaunchShape& shape, void (*kernel)(Params...), const Args&... args) {
  const CudaStream& device = device_of(stream);
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config = {.gridDim = dim3(shape.blocks, shape.rows),
                               .blockDim = dim3(shape.threads),
                               .dynamicSmemBytes = static_cast<size_t>(shape.shared),
                               .stream = static_cast<cudaStream_t>(device.handle()),
                               .attrs = attributes,
                               .numAttrs = 0};
  if (device.hopper()) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  }
  CUDA_CALL(cudaLaunchKernelEx(&config, kernel, Params(args)...));
}

}  // namespace heed::cuda
