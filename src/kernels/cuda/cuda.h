// The cuda backend: kernels for NVIDIA GPUs, from compute capability 8.0 on.
//
// Everything that an op's arguments point to is device memory: the tensors' data and ids, positions, rows,
// seq_start, tables, slots, saves, experts. What stays on the host is what arguments hold by value, and
// ExpertLinearArgs::weights (the array of tensors). Ops are put on the stream and return at once; none of
// them waits, so all may be captured into a graph once the scratch memory is there.
//
// Numbers: sums are float32. Where keys and values are bfloat16, tensor cores multiply: queries and softmax
// weights are then rounded to bfloat16 first; where they are fp8, to float16. With float32 keys or x all
// arithmetic is float32. A sequence's attention has the same bits whatever is batched with it; a row of
// `linear` has not, since cuBLASLt chooses its algorithm by the number of rows, and so does the kernel for
// few rows where these are wide.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "kernels/kernels.h"

namespace heed {

namespace cuda {
class CublasLt;
}

const Kernels& cuda_kernels();

// Why the backend cannot run on device `index`, or "".
std::string cuda_why_not(int index = 0);

// How cuda.flash wants plans of batches for layers of this kind; see attention/plan.h.
class CudaStream;
AttentionPlanShape cuda_plan_shape(const AttentionNeeds& needs, const CudaStream& stream);

// Owns one allocation of device memory, not initialised.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(int64_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// A stream of work on the device, and the scratch memory that its ops share, one after the other.
class CudaStream {
 public:
  CudaStream();
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Stream stream() { return {.pool = nullptr, .device = this}; }
  void* handle() const { return handle_; }  // a cudaStream_t
  int sms() const { return sms_; }
  bool hopper() const { return hopper_; }  // has the instructions of sm_90a

  void upload(void* device, const void* host, int64_t bytes);    // from pageable memory: returns when read
  void download(void* host, const void* device, int64_t bytes);  // waits for the copy
  void synchronize();

  // Valid until the next op on this stream asks. It grows when it must, which waits for the stream: reserve
  // what Kernels::scratch_bytes and AttentionKernel::scratch_bytes say before capturing a graph.
  void* scratch(int64_t bytes);
  void reserve(int64_t bytes);

  // Zero between ops, each of which leaves them so.
  static constexpr int kCounters = 4096;
  uint32_t* counters() { return static_cast<uint32_t*>(counters_.data()); }

  cuda::CublasLt* blas() const { return blas_.get(); }  // null where this machine has none

 private:
  void* handle_ = nullptr;
  int sms_ = 0;
  bool hopper_ = false;
  DeviceBuffer scratch_, counters_;
  std::unique_ptr<cuda::CublasLt> blas_;
};

}  // namespace heed
