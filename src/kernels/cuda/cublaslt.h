// cuBLASLt, found at run time: the program neither links it nor needs it to start.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

namespace heed::cuda {

class CublasLt {
 public:
  // Null where the library is not on this machine.
  static std::unique_ptr<CublasLt> open();
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  // out[tokens, outs] = (accumulate: out +) x[tokens, in] weight[outs, in]^T + bias[outs]. x and weight are
  // bfloat16 or both float32 (then the arithmetic is float32 as well); rows at multiples of 16 bytes.
  struct Product {
    const void *x, *weight;
    const float* bias;
    float* out;
    int64_t tokens, in, outs, x_row, weight_row, out_row;
    bool bf16, accumulate;
  };
  void multiply(cudaStream_t stream, const Product& product, void* scratch, int64_t scratch_bytes);

 private:
  struct Library;
  explicit CublasLt(std::unique_ptr<Library> library);
  std::unique_ptr<Library> library_;
};

}  // namespace heed::cuda
