// Mixture of experts: moe_route, moe_sort, expert_sum. Definitions: kernels/ref/ref_moe.cpp.
#include "kernels/checks.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"

namespace heed::cuda {
namespace {

// ---- moe_route: a warp a token ----

constexpr int kRouteWarps = 4;

struct Route {
  const float* logits;
  int64_t logits_token;
  MoeRouteArgs::Score score;
  const float *bias, *expert_scale;
  int64_t tokens;
  int experts, groups, top_groups, top_k;
  bool renormalise;
  float scale;
  int32_t* chosen;
  float* weights;
};

struct Candidate {
  float value;
  int id;  // negative: none
};

// NaN is worse than anything else; of equals the first wins.
__device__ Candidate better(Candidate a, Candidate b) {
  if (a.id < 0) return b;
  if (b.id < 0) return a;
  const bool a_wins = a.value > b.value || (isnan(b.value) && !isnan(a.value));
  const bool b_wins = b.value > a.value || (isnan(a.value) && !isnan(b.value));
  if (a_wins != b_wins) return a_wins ? a : b;
  return a.id < b.id ? a : b;
}

__device__ Candidate best_of_warp(Candidate c) {
  for (int step = 16; step > 0; step /= 2) {
    c = better(c, {__shfl_xor_sync(~0U, c.value, step), __shfl_xor_sync(~0U, c.id, step)});
  }
  return c;
}

// The best of values[lo, hi) that is not taken.
__device__ Candidate best(const float* values, const bool* taken, int lo, int hi) {
  Candidate c = {0, -1};
  for (int i = lo + static_cast<int>(threadIdx.x % 32); i < hi; i += 32) {
    if (!taken[i]) c = better(c, {values[i], i});
  }
  return best_of_warp(c);
}

__device__ void take(bool* taken, int id) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) taken[id] = true;
  __syncwarp();
}

__device__ float sum_of_warp(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0U, x, step);
  return x;
}

__device__ void find_scores(const Route& p, const float* logits, float* scores) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  float largest = -INFINITY;
  for (int e = lane; e < p.experts; e += 32) largest = fmaxf(largest, logits[e]);
  for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0U, largest, step));
  float total = 0;
  for (int e = lane; e < p.experts; e += 32) {
    float x = logits[e];
    if (p.score == MoeRouteArgs::Score::kSoftmax) x = expf(x - largest);
    if (p.score == MoeRouteArgs::Score::kSigmoid) x = 1 / (1 + expf(-x));
    scores[e] = x;
    total += x;
  }
  total = sum_of_warp(total);
  if (p.score == MoeRouteArgs::Score::kSoftmax) {
    for (int e = lane; e < p.experts; e += 32) scores[e] /= total;
  }
}

// Experts outside of the best groups count as taken.
__device__ void take_all_but_best_groups(const Route& p, const float* values, bool* taken, float* worth,
                                         bool* group_taken) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int size = p.experts / p.groups;
  for (int g = 0; g < p.groups; ++g) {
    const Candidate first = best(values, taken, g * size, (g + 1) * size);
    take(taken, first.id);
    const Candidate second = best(values, taken, g * size, (g + 1) * size);
    __syncwarp();
    if (lane == 0) {
      taken[first.id] = false;
      worth[g] = second.id < 0 ? first.value : first.value + second.value;
      group_taken[g] = false;
    }
    __syncwarp();
  }
  for (int i = 0; i < p.top_groups; ++i) take(group_taken, best(worth, group_taken, 0, p.groups).id);
  for (int e = lane; e < p.experts; e += 32) taken[e] = !group_taken[e / size];
  __syncwarp();
}

__global__ void __launch_bounds__(kRouteWarps * 32) route_kernel(const __grid_constant__ Route p) {
  extern __shared__ float memory[];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t token = int64_t{blockIdx.x} * kRouteWarps + warp;
  if (token >= p.tokens) return;
  // Of a warp: scores, values, worth of groups, flags of experts and of groups.
  float* scores = memory + warp * (3 * p.experts + p.experts / 2 + 2);
  float* values = scores + p.experts;
  float* worth = values + p.experts;
  bool* taken = reinterpret_cast<bool*>(worth + p.experts);
  bool* group_taken = taken + p.experts;

  find_scores(p, p.logits + token * p.logits_token, scores);
  for (int e = lane; e < p.experts; e += 32) {
    values[e] = scores[e] + (p.bias != nullptr ? p.bias[e] : 0);
    taken[e] = false;
  }
  __syncwarp();
  if (p.groups > 1 && p.top_groups < p.groups) take_all_but_best_groups(p, values, taken, worth, group_taken);

  int32_t* chosen = p.chosen + token * p.top_k;
  float* weights = p.weights + token * p.top_k;
  const bool soft = p.score == MoeRouteArgs::Score::kSoftmaxOfChosen;
  float largest = -INFINITY;
  for (int i = 0; i < p.top_k; ++i) {
    const int id = best(values, taken, 0, p.experts).id;
    take(taken, id);
    if (lane == 0) chosen[i] = id;
    largest = fmaxf(largest, scores[id]);
  }
  __syncwarp();
  float exponents = 0;
  for (int i = lane; soft && i < p.top_k; i += 32) exponents += expf(scores[chosen[i]] - largest);
  exponents = sum_of_warp(exponents);
  const auto weight_of = [&](int i) {
    const float score = scores[chosen[i]];
    return soft ? expf(score - largest) / exponents : score;
  };
  float total = 0;
  for (int i = lane; i < p.top_k; i += 32) total += weight_of(i);
  total = sum_of_warp(total) + 1e-20F;
  for (int i = lane; i < p.top_k; i += 32) {
    float weight = weight_of(i);
    if (p.renormalise) weight /= total;
    weight *= p.scale;
    if (p.expert_scale != nullptr) weight *= p.expert_scale[chosen[i]];
    weights[i] = weight;
  }
}

// ---- moe_sort: where each expert's assignments start, then a block an expert, in order of assignments ----

constexpr int kSortThreads = 256;
constexpr int kMostExperts = 4096;

__global__ void __launch_bounds__(1024)
    start_kernel(const int32_t* experts, int64_t assignments, int expert_count, int32_t* expert_start) {
  __shared__ int counts[kMostExperts];
  for (int e = static_cast<int>(threadIdx.x); e < expert_count; e += 1024) counts[e] = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < assignments; i += 1024) atomicAdd(&counts[experts[i]], 1);
  __syncthreads();
  if (threadIdx.x >= 32) return;
  int sorted = 0;  // a warp adds them up, 32 at a time
  for (int first = 0; first < expert_count; first += 32) {
    const int e = first + static_cast<int>(threadIdx.x);
    const int own = e < expert_count ? counts[e] : 0;
    int sum = own;
    for (int step = 1; step < 32; step *= 2) {
      const int before = __shfl_up_sync(~0U, sum, step);
      if (static_cast<int>(threadIdx.x) >= step) sum += before;
    }
    if (e < expert_count) expert_start[e] = sorted + sum - own;
    sorted += __shfl_sync(~0U, sum, 31);
  }
  if (threadIdx.x == 0) expert_start[expert_count] = sorted;
}

__global__ void __launch_bounds__(kSortThreads)
    place_kernel(const int32_t* experts, int64_t assignments, int top_k, const int32_t* expert_start,
                 int32_t* rows, int32_t* place) {
  __shared__ int counts[kSortThreads / 32];
  const int expert = static_cast<int>(blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  int next = expert_start[expert];
  if (next == expert_start[expert + 1]) return;
  for (int64_t first = 0; first < assignments; first += kSortThreads) {
    const int64_t i = first + threadIdx.x;
    const bool mine = i < assignments && experts[i] == expert;
    const unsigned others = __ballot_sync(~0U, mine);
    if (threadIdx.x % 32 == 0) counts[warp] = __popc(others);
    __syncthreads();
    int at = next + __popc(others & ((1U << threadIdx.x % 32) - 1));
    for (int w = 0; w < kSortThreads / 32; ++w) {
      if (w < warp) at += counts[w];
      next += counts[w];
    }
    if (mine) {
      rows[at] = static_cast<int32_t>(i / top_k);
      place[i] = at;
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kSortThreads)
    sum_kernel(const float* x, int64_t x_row, const int32_t* place, const float* weights, int top_k,
               bool accumulate, float* out, int64_t out_row, int64_t tokens, int64_t dim) {
  const int64_t i = int64_t{blockIdx.x} * kSortThreads + threadIdx.x;
  if (i >= tokens * dim) return;
  const int64_t token = i / dim;
  float* to = out + token * out_row + i % dim;
  float sum = accumulate ? *to : 0;
  for (int c = 0; c < top_k; ++c)
    sum +=
        (weights != nullptr ? weights[token * top_k + c] : 1) * x[place[token * top_k + c] * x_row + i % dim];
  *to = sum;
}

}  // namespace

void moe_route(Stream& stream, const MoeRouteArgs& args) {
  const Shapes n = check(args);
  if (n["tokens"] == 0) return;
  const Route params = {.logits = args.logits.f32(),
                        .logits_token = args.logits.stride[0],
                        .score = args.score,
                        .bias = args.bias.defined() ? args.bias.f32() : nullptr,
                        .expert_scale = args.expert_scale.defined() ? args.expert_scale.f32() : nullptr,
                        .tokens = n["tokens"],
                        .experts = static_cast<int>(n["experts"]),
                        .groups = args.groups,
                        .top_groups = args.top_groups,
                        .top_k = args.top_k,
                        .renormalise = args.renormalise,
                        .scale = args.scale,
                        .chosen = args.experts,
                        .weights = args.weights};
  const int bytes =
      kRouteWarps * (3 * params.experts + params.experts / 2 + 2) * static_cast<int>(sizeof(float));
  allow_shared(route_kernel, bytes);
  const auto blocks = static_cast<unsigned>((n["tokens"] + kRouteWarps - 1) / kRouteWarps);
  route_kernel<<<blocks, kRouteWarps * 32, static_cast<size_t>(bytes), handle_of(stream)>>>(params);
  CUDA_LAUNCHED("route_kernel");
}

void moe_sort(Stream& stream, const MoeSortArgs& args) {
  check(args);
  CHECK(args.expert_count <= kMostExperts, args.expert_count);
  const int64_t assignments = args.tokens * args.top_k;
  start_kernel<<<1, 1024, 0, handle_of(stream)>>>(args.experts, assignments, args.expert_count,
                                                  args.expert_start);
  CUDA_LAUNCHED("start_kernel");
  if (assignments == 0) return;
  place_kernel<<<static_cast<unsigned>(args.expert_count), kSortThreads, 0, handle_of(stream)>>>(
      args.experts, assignments, args.top_k, args.expert_start, args.rows, args.place);
  CUDA_LAUNCHED("place_kernel");
}

void expert_sum(Stream& stream, const ExpertSumArgs& args) {
  const Shapes n = check(args);
  const int64_t count = n["tokens"] * n["dim"];
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>((count + kSortThreads - 1) / kSortThreads);
  sum_kernel<<<blocks, kSortThreads, 0, handle_of(stream)>>>(
      args.x.f32(), args.x.stride[0], args.place, args.weights, args.top_k, args.accumulate,
      args.out.mutable_f32(), args.out.stride[0], n["tokens"], n["dim"]);
  CUDA_LAUNCHED("sum_kernel");
}

}  // namespace heed::cuda
