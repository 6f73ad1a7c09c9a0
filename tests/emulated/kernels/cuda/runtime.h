// In the place of src/kernels/cuda/runtime.h: kernels run at once, on the CPU.
#pragma once
#include <cuda_runtime.h>

#include "base/check.h"
#include "kernels/cuda/cuda.h"
#include "tests/emulated/emulator.h"

#define CUDA_CALL(call) static_cast<void>(call)

namespace heed::cuda {

inline CudaStream& device_of(const Stream& stream) { return *static_cast<CudaStream*>(stream.device); }

template <class Kernel>
void allow_shared(Kernel* /*kernel*/, int bytes) {
  CHECK(bytes <= 227 << 10, bytes);
}

struct LaunchShape {
  unsigned blocks = 1, rows = 1;
  unsigned threads = 1;
  int shared = 0;
  int cluster = 1;
  int shared_of_all = 0;
  bool together = false;
};

template <class... Params, class... Args>
void launch(const Stream& /*stream*/, const LaunchShape& shape, void (*kernel)(Params...),
            const Args&... args) {
  CHECK(shape.cluster == 1 && shape.rows == 1, shape.cluster, shape.rows);
  emulated::run(shape.blocks, shape.threads, shape.shared, [&] { kernel(Params(args)...); });
}

}  // namespace heed::cuda
