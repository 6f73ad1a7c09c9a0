// gated_delta over chunks of 64 tokens on tensor cores. Definition: kernels/ref/ref_recurrent.cpp.
//
// With S the state before a chunk, g the sums of decays within it and u what its tokens add to the state:
//   u = U - W S, where U = T beta V, W = T beta e^g K and T = (1 + A)^-1
//     with A_ij = beta_i e^(g_i - g_j) k_i . k_j for j < i
//   S' = e^g_last S + sum_j e^(g_last - g_j) k_j (x) u_j
//   out_i = e^g_i q_i S + sum over j <= i of e^(g_i - g_j) (q_i . k_j) u_j
// In three phases: W and U of a chunk; along each sequence, a block for 32 columns of a
// head's state, which leaves the state before each chunk and u; answers. One launch has all three: some
// blocks go along states, those of the others take chunks to be prepared and to be answered in turn. They
// wait for one another by counts in memory, so all must run at once, a block on each multiprocessor.
#include <algorithm>

#include "kernels/cuda/recurrent_answer.cuh"
#include "kernels/cuda/recurrent_prepare.cuh"
#include "kernels/cuda/recurrent_scan.cuh"

// For GPUs before Hopper the kernels are compiled empty.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

using namespace chunks;

constexpr int kThreads = 3 * kGroup;
// Chunks of heads whose remains have a place: of so many they stay in the second-level cache.
constexpr int64_t kPlacesLeft = 224;
constexpr int kMostParts = 32;  // columns of a state, 32 at a time
constexpr int kEach = (std::max(kPrepareShared, kAnswerShared) + kAtom - 1) / kAtom * kAtom;
constexpr int kGroupBarriersAt = 2 * kEach;
constexpr int kShared =
    std::max(kScanShared, kGroupBarriersAt + 2 * kAnswerBarriers * 8) + kAtom;  // to align

// Chunks of all sequences; a warp asks with all its threads.
__device__ int count_chunks(const State& state) {
  int chunks = 0;
  for (int s = static_cast<int>(threadIdx.x % 32); s < state.sequences; s += 32)
    chunks += chunks_in(state, s);
  return __reduce_add_sync(~0U, chunks);
}

// The `i`-th unit of the launch: of each step the chunks to be prepared, then those to be answered, whose
// step was `lag` steps before. Its sequence is -1 where there is nothing to do.
struct Task {
  Unit unit;
  bool is_answer;
};
__device__ Task find_task(const DeltaParams& params, const State& state, int chunks, int i) {
  const int each = params.pass_heads * (1 + params.column_blocks);
  const bool is_answer = i % each >= params.pass_heads;
  const int step = i / each - (is_answer ? params.lag : 0);
  const int rest = i % each - (is_answer ? params.pass_heads : 0);
  const int blocks = is_answer ? params.column_blocks : 1;
  Task task = {.unit = {.sequence = -1}, .is_answer = is_answer};
  if (step < 0 || step >= chunks * params.passes) return task;
  task.unit = find_chunk(params, state, chunks, step, rest / blocks, rest % blocks);
  if (task.unit.head >= params.p.heads) task.unit.sequence = -1;
  return task;
}
// Units in turn with the other blocks' warpgroups.
__device__ void work(const DeltaParams& params, const State& state, Group group, int chunks) {
  const int workers = static_cast<int>(gridDim.x) - params.scans;
  const int end = (chunks * params.passes + params.lag) * params.pass_heads * (1 + params.column_blocks);
  int phase = 0;
  for (int i = group.id * workers + static_cast<int>(blockIdx.x) - params.scans; i < end; i += 2 * workers) {
    const Task task = find_task(params, state, chunks, i);
    if (task.unit.sequence < 0) continue;
    if (task.is_answer) {
      answer(params, state, group, task.unit, phase);
      phase ^= 1;
    } else {
      prepare(params, state, group, task.unit);
    }
    ptx::shared_writes_to_engines();
    group.sync();  // its shared memory is free again
  }
  group.tell();
}

__global__ void __launch_bounds__(kThreads, 1)
    delta_kernel(const __grid_constant__ DeltaParams params, const __grid_constant__ State state) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ char unaligned[];
  char* memory = unaligned + (kAtom - ptx::shared(unaligned) % kAtom) % kAtom;
  const int chunks = count_chunks(state);
  if (chunks == 0) return;
  if (static_cast<int>(blockIdx.x) < params.scans) return scan(params, state, memory, chunks);
  const int thread = static_cast<int>(threadIdx.x);
  const int id = thread / kGroup;
  const uint32_t barriers = ptx::shared(memory) + kGroupBarriersAt;
  if (thread == 0) {
    for (int i = 0; i < 2 * kAnswerBarriers; ++i) ptx::barrier_init(barriers + i * 8, 1);
    ptx::barrier_inits_done();
  }
  __syncthreads();
  if (id == 2) return ptx::give_registers<kHelping>();
  ptx::take_registers<kWorking>();
  memory += id * kEach;
  const Group group = {.id = id,
                       .thread = thread % kGroup,
                       .warp = thread % kGroup / 32,
                       .lane = thread % 32,
                       .memory = memory,
                       .base = ptx::shared(memory),
                       .barriers = barriers + id * kAnswerBarriers * 8};
  work(params, state, group, chunks);
#endif
}

}  // namespace

bool delta_chunks_take(const CudaStream& device, const Recurrence& p) {
  return p.v_dim <= std::min(kMostParts, device.sms() - 1) * kColumns;
}

void run_delta_chunks(const Stream& stream, const Recurrence& p, const State& state, int64_t tokens) {
  static const bool ready = [] {
    allow_shared(delta_kernel, kShared);
    return true;
  }();
  CHECK(ready);
  const int blocks = (p.v_dim + kDim - 1) / kDim;
  const int parts = p.v_dim / kColumns;
  const int image_bytes = kParts + parts * kPart;
  const int sms = device_of(stream).sms();
  // Not three tenths of the multiprocessors, and the same number of heads in each pass.
  const int most_heads = std::max(1, sms * 3 / 10 / parts);
  const int passes = (p.heads + most_heads - 1) / most_heads;
  const int pass_heads = (p.heads + passes - 1) / passes;
  const int64_t bytes = int64_t{pass_heads} * (image_bytes + blocks * kLeft);
  const int64_t steps =
      (tokens / kTokens + std::min<int64_t>(state.sequences, tokens / kLeastInChunks)) * passes;
  const int64_t count_bytes = (steps * pass_heads * 4 + 127) / 128 * 128;
  const int64_t ring = std::min(
      {std::max<int64_t>(kPlacesLeft / pass_heads, 28), (kChunkScratch - count_bytes) / bytes, steps});
  // A state is shown once the next chunk is there.
  CHECK(ring >= std::min<int64_t>(steps, 2), ring, steps, bytes);
  char* scratch = static_cast<char*>(device_of(stream).scratch(count_bytes + ring * bytes));
  const DeltaParams params = {.p = p,
                              .images = scratch + count_bytes,
                              .left = scratch + count_bytes + ring * pass_heads * image_bytes,
                              .counts = reinterpret_cast<int*>(scratch),
                              .pass_heads = pass_heads,
                              .passes = passes,
                              .ring = static_cast<int>(ring),
                              .lag = static_cast<int>(ring / 2),
                              .image_bytes = image_bytes,
                              .parts = parts,
                              .column_blocks = blocks,
                              .scans = parts * pass_heads};
  CHECK(params.scans < sms);
  CUDA_CALL(cudaMemsetAsync(params.counts, 0, count_bytes, handle_of(stream)));
  launch(stream,
         {.blocks = static_cast<unsigned>(sms), .threads = kThreads, .shared = kShared, .together = true},
         delta_kernel, params, state);
}

}  // namespace heed::cuda
