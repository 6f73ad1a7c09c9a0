// Device over one CudaStream: allocations, copies in the order of the stream, and recordings as CUDA graphs.
#include "kernels/cuda/device.h"
#include "kernels/cuda/runtime.h"

namespace heed::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    scatter_kernel(int32_t* words, const int32_t* places, const int32_t* values, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) words[places[i]] = values[i];
}

__global__ void __launch_bounds__(kThreads)
    feed_kernel(int32_t* tokens, const int32_t* places, const int32_t* ids, const int32_t* rows,
                int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) tokens[places[i]] = max(ids[rows[i]], 0);
}

void release_device(void* memory) { CUDA_CALL(cudaFree(memory)); }
void release_pinned(void* memory) { CUDA_CALL(cudaFreeHost(memory)); }

class Event final : public Fence {
 public:
  Event(cudaStream_t stream, bool timed) : stream_(stream) {
    CUDA_CALL(cudaEventCreateWithFlags(&event_, timed ? cudaEventDefault : cudaEventDisableTiming));
  }
  ~Event() override { CUDA_CALL(cudaEventDestroy(event_)); }
  void set() override { CUDA_CALL(cudaEventRecord(event_, stream_)); }
  void wait() override { CUDA_CALL(cudaEventSynchronize(event_)); }
  double seconds_since(const Fence& earlier) const override {
    float milliseconds = 0;
    CUDA_CALL(cudaEventElapsedTime(&milliseconds, static_cast<const Event&>(earlier).event_, event_));
    return 1e-3 * milliseconds;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t event_ = nullptr;
};

class Graph final : public Recording {
 public:
  Graph(cudaGraph_t graph, const void* scratch_memory) : scratch(scratch_memory) {
    CUDA_CALL(cudaGraphInstantiate(&runnable, graph, 0));
  }
  ~Graph() override { CUDA_CALL(cudaGraphExecDestroy(runnable)); }
  cudaGraphExec_t runnable = nullptr;
  const void* scratch;  // that its ops use
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    CUDA_CALL(cudaSetDevice(index));
    stream_ = std::make_unique<CudaStream>();
  }
  ~CudaDevice() override { CUDA_CALL(cudaSetDevice(index_)); }

  void* stream() override { return stream_.get(); }
  void enter() override { CUDA_CALL(cudaSetDevice(index_)); }

  Buffer take(int64_t bytes) override {
    if (bytes == 0) return {};
    void* memory = nullptr;
    CUDA_CALL(cudaMalloc(&memory, static_cast<size_t>(bytes)));
    return {memory, bytes, release_device};
  }
  Buffer take_pinned(int64_t bytes) override {
    if (bytes == 0) return {};
    void* memory = nullptr;
    CUDA_CALL(cudaMallocHost(&memory, static_cast<size_t>(bytes)));
    return {memory, bytes, release_pinned};
  }

  void upload(void* to, const void* from, int64_t bytes) override {
    if (bytes > 0) stream_->upload(to, from, bytes);
  }
  void download(void* to, const void* from, int64_t bytes) override {
    if (bytes > 0) stream_->download(to, from, bytes);
  }
  void download_later(void* to, const void* from, int64_t bytes) override {
    CUDA_CALL(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, handle()));
  }
  void copy(void* to, const void* from, int64_t bytes) override {
    CUDA_CALL(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, handle()));
  }
  void zero(void* at, int64_t bytes) override {
    CUDA_CALL(cudaMemsetAsync(at, 0, static_cast<size_t>(bytes), handle()));
  }
  void wait() override { stream_->synchronize(); }
  std::unique_ptr<Fence> make_fence() override { return std::make_unique<Event>(handle(), false); }
  std::unique_ptr<Fence> make_timed_fence() override { return std::make_unique<Event>(handle(), true); }

  void scatter(int32_t* words, const int32_t* places, const int32_t* values, int64_t count) override {
    if (count == 0) return;
    const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
    scatter_kernel<<<blocks, kThreads, 0, handle()>>>(words, places, values, count);
    CUDA_LAUNCHED("scatter_kernel");
  }
  void feed(int32_t* tokens, const int32_t* places, const int32_t* ids, const int32_t* rows,
            int64_t count) override {
    if (count == 0) return;
    const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
    feed_kernel<<<blocks, kThreads, 0, handle()>>>(tokens, places, ids, rows, count);
    CUDA_LAUNCHED("feed_kernel");
  }

  void reserve_scratch(int64_t bytes) override { stream_->reserve(bytes); }
  bool begin_recording() override {
    CUDA_CALL(cudaStreamBeginCapture(handle(), cudaStreamCaptureModeThreadLocal));
    return true;
  }
  std::unique_ptr<Recording> finish_recording() override {
    cudaGraph_t graph = nullptr;
    CUDA_CALL(cudaStreamEndCapture(handle(), &graph));
    auto recording = std::make_unique<Graph>(graph, stream_->scratch(0));
    CUDA_CALL(cudaGraphDestroy(graph));
    return recording;
  }
  void replay(const Recording& recording) override {
    CUDA_CALL(cudaGraphLaunch(static_cast<const Graph&>(recording).runnable, handle()));
  }
  bool is_valid(const Recording& recording) const override {
    return static_cast<const Graph&>(recording).scratch == stream_->scratch(0);
  }

 private:
  cudaStream_t handle() const { return static_cast<cudaStream_t>(stream_->handle()); }

  int index_;
  std::unique_ptr<CudaStream> stream_;
};

}  // namespace

std::string why_not(int index) { return cuda_why_not(index); }

std::string describe(int index) {
  cudaDeviceProp properties;
  CUDA_CALL(cudaGetDeviceProperties(&properties, index));
  return properties.name;
}

int64_t free_bytes(int index) {
  CUDA_CALL(cudaSetDevice(index));
  size_t free = 0;
  size_t total = 0;
  CUDA_CALL(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

std::unique_ptr<Device> open(int index) { return std::make_unique<CudaDevice>(index); }

}  // namespace heed::cuda
