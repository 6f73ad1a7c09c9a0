// What the sources of this folder share: checked calls, and the stream behind a Stream.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>

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
  // Shared memory that a multiprocessor is asked to have for these blocks, bytes; 0: as CUDA thinks best,
  // which is enough for as many blocks as it can run. What is left of its memory is the cache through which
  // linear layers read their weights, and it keeps this until nothing runs on it.
  int shared_of_all = 0;
  bool together = false;  // all blocks run at once: they wait for one another
};

// Launches a kernel that says itself from where on it needs what the one before it wrote, and when the next
// may start: ptx::wait_for_previous and let_next_start, both of which it must call. Where the device cannot
// do that, kernels follow one another; as those do whose blocks run together, which say nothing of both.
template <class... Params, class... Args>
void launch(const Stream& stream, const LaunchShape& shape, void (*kernel)(Params...), const Args&... args) {
  const CudaStream& device = device_of(stream);
  cudaLaunchAttribute attributes[3] = {};
  cudaLaunchConfig_t config = {.gridDim = dim3(shape.blocks, shape.rows),
                               .blockDim = dim3(shape.threads),
                               .dynamicSmemBytes = static_cast<size_t>(shape.shared),
                               .stream = static_cast<cudaStream_t>(device.handle()),
                               .attrs = attributes,
                               .numAttrs = 0};
  if (shape.together) {
    attributes[config.numAttrs].id = cudaLaunchAttributeCooperative;
    attributes[config.numAttrs++].val.cooperative = 1;
  } else if (device.hopper()) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  }
  if (shape.shared_of_all > 0 && device.hopper()) {
    constexpr int kMost = 228 << 10;
    attributes[config.numAttrs].id = cudaLaunchAttributePreferredSharedMemoryCarveout;
    attributes[config.numAttrs++].val.sharedMemCarveout =
        static_cast<unsigned>(std::min((shape.shared_of_all * 100 + kMost - 1) / kMost, 100));  // percent
  }
  CUDA_CALL(cudaLaunchKernelEx(&config, kernel, Params(args)...));
}

}  // namespace heed::cuda
