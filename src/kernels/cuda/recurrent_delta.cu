// gated_delta over chunks of 64 tokens on tensor cores. Definition: kernels/ref/ref_recurrent.cpp.
//
// With S the state before a chunk, g the sums of decays within it and u what its tokens add to the state:
//   u = U - W S, where U = T beta V, W = T beta e^g K and T = (1 + A)^-1
//     with A_ij = beta_i e^(g_i - g_j) k_i . k_j for j < i
//   S' = e^g_last S + sum_j e^(g_last - g_j) k_j (x) u_j
//   out_i = e^g_i q_i S + sum over j <= i of e^(g_i - g_j) (q_i . k_j) u_j
// In three phases: W, U and the keys of S' of many chunks at once; along each sequence, a block for 32
// columns of a head's state, which leaves the state before each chunk and u; answers, of many chunks at once.
// Windows of chunks follow one another: a launch has the second phase of one, the third of that before and
// the first of that behind, so that the chain of states, which few blocks go along, leaves no multiprocessor
// idle.
#include <algorithm>

#include "kernels/cuda/recurrent_answer.cuh"
#include "kernels/cuda/recurrent_prepare.cuh"
#include "kernels/cuda/recurrent_scan.cuh"

// For GPUs before Hopper the kernels are compiled empty.
#pragma nv_diag_suppress 177

namespace heed::cuda {
namespace {

using namespace chunks;

constexpr int kThreads = 2 * kGroup;  // each warpgroup has a chunk, but in the second phase
// Chunks: of 8 heads, what is left of two windows stays in the second-level cache.
constexpr int64_t kMostOfWindow = 12;
constexpr int kEach = (std::max(kPrepareShared, kAnswerShared) + kAtom - 1) / kAtom * kAtom;
constexpr int kShared = std::max(kScanShared, 2 * kEach) + kAtom;  // kAtom to align

__global__ void __launch_bounds__(kThreads, 1)
    delta_kernel(const __grid_constant__ DeltaParams params, const __grid_constant__ State state) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ char unaligned[];
  char* memory = unaligned + (kAtom - ptx::shared(unaligned) % kAtom) % kAtom;
  const int block = static_cast<int>(blockIdx.x);
  if (block < params.scans) return scan(params, state, memory);
  const int thread = static_cast<int>(threadIdx.x);
  const int id = thread / kGroup;
  memory += id * kEach;
  const Group group = {.id = id,
                       .thread = thread % kGroup,
                       .warp = thread % kGroup / 32,
                       .lane = thread % 32,
                       .memory = memory,
                       .base = ptx::shared(memory)};
  const int unit = (block - params.scans) * 2 + id;
  if (unit < params.answers) {
    answer(params, state, group, unit);
  } else if (unit < params.answers + params.prepares) {
    prepare(params, state, group, unit - params.answers);
  }
#endif
}

}  // namespace

void run_delta_chunks(const Stream& stream, const Recurrence& p, const State& state, int64_t tokens) {
  static const bool ready = [] {
    allow_shared(delta_kernel, kShared);
    return true;
  }();
  CHECK(ready);
  const int blocks = (p.v_dim + kDim - 1) / kDim;
  const int image_bytes = kParts + p.v_dim / kColumns * kPart;
  const int64_t bytes = int64_t{p.heads} * (image_bytes + blocks * kLeft);
  // As many chunks as there can be; a window has as many as there is scratch memory for, twice.
  const int64_t sequences = std::min<int64_t>(state.sequences, tokens / kLeastInChunks);
  const int64_t all = tokens / kTokens + sequences;
  const int64_t each = std::clamp<int64_t>(kChunkScratch / (2 * bytes), 1, std::min(all, kMostOfWindow));
  char* scratch = static_cast<char*>(device_of(stream).scratch(2 * each * bytes));
  const auto window = [&](int64_t i) {
    char* images = scratch + (i % 2) * each * bytes;
    return Window{.first = static_cast<int>(i * each),
                  .count = static_cast<int>(std::clamp<int64_t>(i < 0 ? 0 : all - i * each, 0, each)),
                  .images = images,
                  .left = images + each * p.heads * image_bytes};
  };
  const int64_t windows = (all + each - 1) / each;
  for (int64_t i = 0; i < windows + 2; ++i) {
    DeltaParams params = {.p = p,
                          .prepared = window(i),
                          .scanned = window(i - 1),
                          .answered = window(i - 2),
                          .image_bytes = image_bytes,
                          .column_blocks = blocks};
    params.scans =
        static_cast<int>(p.v_dim / kColumns * p.heads * std::min<int64_t>(sequences, params.scanned.count));
    params.answers = params.answered.count * p.heads * blocks;
    params.prepares = params.prepared.count * p.heads;
    const int grid = params.scans + (params.answers + params.prepares + 1) / 2;
    delta_kernel<<<static_cast<unsigned>(grid), kThreads, kShared, handle_of(stream)>>>(params, state);
    CUDA_LAUNCHED("delta_kernel");
  }
}

}  // namespace heed::cuda
