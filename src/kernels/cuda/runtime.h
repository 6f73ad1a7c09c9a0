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

// Unit of the i-th round of a block, when `blocks` of them share a list of units of falling cost: rounds run
// forth and back, so that the sums come out nearly equal.
__host__ __device__ inline int snake(int round, int block, int blocks) {
  return round * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
}

}  // namespace heed::cuda
