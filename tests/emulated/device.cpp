// The cuda backend as far as it runs here: its stream over the host's memory, and a table with the ops whose
// kernels are compiled for the emulator. The others are ref's.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_launch.h"
#include "kernels/cuda/block_few.h"
#include "kernels/cuda/blocks.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"
#include "kernels/ref/ref.h"
#include "tensor/blocks.h"
#include "tests/emulated/emulator.h"

// What kernels ask the runtime for, where no device is.
extern "C" {
cudaError_t CUDARTAPI cudaGetDevice(int* /*device*/) { return cudaErrorNoDevice; }
cudaError_t CUDARTAPI cudaDeviceGetAttribute(int* /*value*/, cudaDeviceAttr /*what*/, int /*device*/) {
  return cudaErrorNoDevice;
}
cudaError_t CUDARTAPI cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks,
                                                                             const void* /*kernel*/,
                                                                             int /*threads*/, size_t shared,
                                                                             unsigned /*flags*/) {
  *blocks = static_cast<int>((228 << 10) / (shared + 1024));
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaOccupancyMaxActiveClusters(int* clusters, const void* /*kernel*/,
                                                     const cudaLaunchConfig_t* /*config*/) {
  *clusters = 0;
  return cudaErrorNotSupported;
}
}

namespace heed {
namespace cuda {

class CublasLt {};

// Kernels that the emulator has not.
int prefill_tile(int /*head_dim*/, int /*v_dim*/) { return 0; }
void run_prefill(const AttentionLaunch& /*launch*/, const AttentionParams& /*params*/) { CHECK(false); }
void run_prefill_fp8(const AttentionLaunch& /*launch*/, const AttentionParams& /*params*/) { CHECK(false); }
void embed_blocks(Stream& /*stream*/, const EmbedArgs& /*args*/) { CHECK(false); }
namespace {

// Rows in float32.
std::vector<float> widened(const Tensor& t) {
  std::vector<float> wide;
  for (int64_t row = 0; row < t.size[0]; ++row) {
    for (int64_t i = 0; i < t.size[1]; ++i) {
      const int64_t at = row * t.stride[0] + i;
      wide.push_back(t.dtype == DType::kF32 ? t.as<float>()[at] : to_float(t.as<bf16>()[at]));
    }
  }
  return wide;
}

// By ref, in float32, with weights rounded to what x is, as other kernels have them.
void linear_of_widened(const LinearArgs& args) {
  const Tensor& weight = args.weight;
  std::vector<float> wide(static_cast<size_t>(weight.size[0] * weight.size[1]));
  for (int64_t row = 0; row < weight.size[0]; ++row)
    widen_blocks(weight.dtype, weight.slice(row, row + 1).data, weight.size[1], &wide[row * weight.size[1]]);
  if (args.x.dtype == DType::kBF16) std::transform(wide.begin(), wide.end(), wide.begin(), rounded_to_bf16);
  std::vector<float> x = widened(args.x);
  LinearArgs plain = args;
  plain.x = Tensor(x.data(), DType::kF32, {args.x.size[0], args.x.size[1]});
  plain.weight = Tensor(wide.data(), DType::kF32, {weight.size[0], weight.size[1]});
  Stream host;
  ref_kernels().linear(host, plain);
}

}  // namespace

// Of weights in blocks nearly as linear.cu has it: up to 32 rows by the kernel, as many at a time as want no
// cluster; more with widened weights. Else ref's.
void linear(Stream& stream, const LinearArgs& args) {
  Stream host;
  if (!is_blocks(args.weight.dtype)) return ref_kernels().linear(host, args);
  const CudaStream& device = *static_cast<CudaStream*>(stream.device);
  const int64_t some_rows = std::clamp<int64_t>((64 << 10) / (args.x.size[1] * 2), 1, kMostBlockFewRows);
  const auto part = [&](int64_t row) {
    const int64_t end = std::min(row + some_rows, args.x.size[0]);
    LinearsArgs some = {.x = args.x.slice(row, end), .accumulate = args.accumulate};
    some.parts[0] = {args.weight, args.bias, args.out.slice(row, end)};
    return some;
  };
  if (args.x.size[0] > 2 * kMostBlockFewRows || !block_few_takes(device, part(0)))
    return linear_of_widened(args);
  for (int64_t row = 0; row < args.x.size[0]; row += some_rows) run_block_few(stream, part(row));
}

}  // namespace cuda

std::string cuda_why_not(int /*index*/) { return ""; }

DeviceBuffer::DeviceBuffer(int64_t bytes)
    : data_(std::aligned_alloc(1024, static_cast<size_t>((bytes + 1024) / 1024 * 1024))), bytes_(bytes) {
  std::memset(data_, 0xff, static_cast<size_t>(bytes));
}
DeviceBuffer::~DeviceBuffer() { std::free(data_); }

// Of as many multiprocessors as HEED_EMULATED_SMS says.
CudaStream::CudaStream() : hopper_(true) {
  const char* sms = std::getenv("HEED_EMULATED_SMS");
  sms_ = sms != nullptr ? std::atoi(sms) : 1;
  counters_ = DeviceBuffer(kCounters * int64_t{sizeof(uint32_t)});
  std::memset(counters_.data(), 0, static_cast<size_t>(counters_.bytes()));
}
CudaStream::~CudaStream() = default;
void CudaStream::upload(void* to, const void* from, int64_t bytes) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}
void CudaStream::download(void* to, const void* from, int64_t bytes) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}
void CudaStream::synchronize() {}
void* CudaStream::scratch(int64_t bytes) {
  reserve(bytes);
  return scratch_.data();
}
void CudaStream::reserve(int64_t bytes) {
  if (bytes > scratch_.bytes()) scratch_ = DeviceBuffer(bytes);
}

const Kernels& cuda_kernels() {
  static const AttentionKernel attention[] = {{.name = "cuda.flash",
                                               .why_not = cuda::flash_why_not,
                                               .run = cuda::flash_attention,
                                               .scratch_bytes = cuda::flash_scratch_bytes,
                                               .plan_shape = cuda::flash_plan_shape},
                                              ref_kernels().attention[0]};
  static const Kernels kernels = [] {
    Kernels all = ref_kernels();
    all.attention = attention;
    all.embed = cuda::embed;
    all.rms_norm = cuda::rms_norm;
    all.linear = cuda::linear;
    all.rope_table = cuda::rope_table;
    all.rope = cuda::rope;
    all.kv_write = cuda::kv_write;
    all.gated_act = cuda::gated_act;
    all.add = cuda::add;
    all.gather_rows = cuda::gather_rows;
    all.softcap = cuda::softcap;
    all.copy = cuda::copy;
    all.temper = cuda::temper;
    all.scale = cuda::scale;
    all.scale_rows = cuda::scale_rows;
    all.linears = cuda::linears;
    all.finish_heads = cuda::finish_heads;
    return all;
  }();
  return kernels;
}

}  // namespace heed
