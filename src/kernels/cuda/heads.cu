// finish_heads. Definition: kernels/parts.cpp.
//
// A warp finishes one head of one token, in shared memory: bound by memory where there are many tokens, by
// the latency of one read and one write where there are few.
#include <algorithm>

#include "kernels/checks.h"
#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/runtime.h"

namespace heed::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;

struct Heads {
  float* data;  // null: none
  int64_t token, head;
  int count, dim;
};
struct Cache {
  void* data;
  int64_t block, head, row;
  HeadScales scales;
};

struct Params {
  Heads q, k, v;
  const float *q_norm, *k_norm;
  bool norm_after, norm_v, interleaved;
  float eps;
  const float *cos, *sin;
  int64_t cos_row, sin_row;
  int pairs;
  const int64_t* slots;
  Cache k_cache, v_cache;
  int block;
  int64_t rows;  // tokens * heads, all three kinds
  int most_dim;
};

// What a lane needs of the norm's weights and the turn for the first elements of a head: it is there before
// the kernel that makes the head ends.
template <int kCount>
struct Known {
  static constexpr int kPairs = 2;
  Pack<float, kCount> weight;
  float cos[kPairs], sin[kPairs];

  __device__ Known(const Params& p, const float* weights, int dim, int64_t token, int lane) {
    if (weights != nullptr && lane * kCount < dim) weight = load<kCount>(weights + lane * kCount);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int pair = lane + i * 32;
      if (pair >= p.pairs) continue;
      cos[i] = p.cos[token * p.cos_row + pair];
      sin[i] = p.sin[token * p.sin_row + pair];
    }
  }
};

// In place, by a warp, as norm_kernel does a row; weights may be null.
template <int kCount>
__device__ void norm(float* x, const float* weights, const Known<kCount>& known, int dim, float eps,
                     int lane) {
  const float inverse = inverse_of(squares<kCount>(x, dim, lane, 32), dim, eps);
  for (int c = lane * kCount; c < dim; c += 32 * kCount) {
    auto v = load<kCount>(x + c);
    for (int i = 0; i < kCount; ++i) v.x[i] *= inverse;
    if (weights != nullptr) {
      const auto w = c < 32 * kCount ? known.weight : load<kCount>(weights + c);
      for (int i = 0; i < kCount; ++i) v.x[i] *= w.x[i];
    }
    store(x + c, v);
  }
  __syncwarp();
}

__device__ void turn_pair(const Params& p, float* x, int pair, float c, float s) {
  float* a = x + (p.interleaved ? 2 * pair : pair);
  float* b = a + (p.interleaved ? 1 : p.pairs);
  const float before = *a;
  *a = before * c - *b * s;
  *b = *b * c + before * s;
}

template <int kCount>
__device__ void turn(const Params& p, int64_t token, const Known<kCount>& known, float* x, int lane) {
#pragma unroll
  for (int i = 0; i < Known<kCount>::kPairs; ++i) {
    if (lane + i * 32 < p.pairs) turn_pair(p, x, lane + i * 32, known.cos[i], known.sin[i]);
  }
  for (int pair = lane + Known<kCount>::kPairs * 32; pair < p.pairs; pair += 32)
    turn_pair(p, x, pair, p.cos[token * p.cos_row + pair], p.sin[token * p.sin_row + pair]);
  __syncwarp();
}

template <int kCount, class T>
__device__ void put(const float* x, T* to, int dim, int lane, float scale = 1) {
  for (int c = lane * kCount; c < dim; c += 32 * kCount) {
    auto v = load<kCount>(x + c);
    for (int i = 0; i < kCount && sizeof(T) == 1; ++i) v.x[i] /= scale;
    store(to + c, v);
  }
}

template <int kCount, class T>
__global__ void __launch_bounds__(kThreads) heads_kernel(const __grid_constant__ Params p) {
  auto* memory = ptx::block_memory<float, 16>();
  ptx::let_next_start();
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  const int all = p.q.count + p.k.count + p.v.count;
  const int64_t token = min(row, p.rows - 1) / all;
  int head = static_cast<int>(min(row, p.rows - 1) % all);
  const bool is_q = head < p.q.count;
  if (!is_q) head -= p.q.count;
  const bool is_v = !is_q && head >= p.k.count;
  if (is_v) head -= p.k.count;
  const Heads& h = is_q ? p.q : is_v ? p.v : p.k;
  const float* weights = is_q ? p.q_norm : is_v ? nullptr : p.k_norm;
  const Known<kCount> known(p, weights, h.dim, token, lane);
  const int64_t slot = is_q ? 0 : p.slots[token];
  const Cache& cache = is_v ? p.v_cache : p.k_cache;
  const float scale = is_q || sizeof(T) > 1 ? 1 : cache.scales.of(head);
  ptx::wait_for_previous();
  if (row >= p.rows || slot < 0) return;
  float* x = memory + threadIdx.x / 32 * p.most_dim;
  float* from = h.data + token * h.token + head * h.head;
  for (int c = lane * kCount; c < h.dim; c += 32 * kCount) store(x + c, load<kCount>(from + c));
  __syncwarp();
  if (is_v) {
    if (p.norm_v) norm<kCount>(x, nullptr, known, h.dim, p.eps, lane);
  } else {
    if (weights != nullptr) norm<kCount>(x, weights, known, h.dim, p.eps, lane);
    if (p.cos != nullptr) turn(p, token, known, x, lane);
    if (p.norm_after) norm<kCount>(x, nullptr, known, h.dim, p.eps, lane);
  }
  if (is_q) return put<kCount>(x, from, h.dim, lane);
  put<kCount>(x,
              static_cast<T*>(cache.data) + slot / p.block * cache.block + head * cache.head +
                  slot % p.block * cache.row,
              h.dim, lane, scale);
}

Heads heads_of(const Tensor& t) {
  if (!t.defined()) return {};
  return {.data = t.mutable_f32(),
          .token = t.stride[0],
          .head = t.stride[1],
          .count = static_cast<int>(t.size[1]),
          .dim = static_cast<int>(t.size[2])};
}
Cache cache_of(const Tensor& t, const Tensor& scales) {
  return {.data = t.data,
          .block = t.stride[0],
          .head = t.stride[1],
          .row = t.stride[2],
          .scales = HeadScales(scales)};
}
const float* floats_of(const Tensor& t) { return t.defined() ? t.f32() : nullptr; }

Params params_of(const FinishHeadsArgs& args, int64_t tokens) {
  Params p = {.q = heads_of(args.q),
              .k = heads_of(args.k),
              .v = heads_of(args.v),
              .q_norm = floats_of(args.q_norm),
              .k_norm = floats_of(args.k_norm),
              .norm_after = args.norm_after,
              .norm_v = args.norm_v,
              .interleaved = args.interleaved,
              .eps = args.eps,
              .cos = floats_of(args.cos),
              .sin = floats_of(args.sin),
              .cos_row = args.cos.stride[0],
              .sin_row = args.sin.stride[0],
              .pairs = args.cos.defined() ? static_cast<int>(args.cos.size[1]) : 0,
              .slots = args.slots,
              .k_cache = cache_of(args.kv.k, args.kv.k_scale),
              .v_cache = cache_of(args.kv.v, args.kv.v_scale),
              .block = args.kv.k.defined() ? static_cast<int>(args.kv.k.size[2]) : 1};
  p.rows = tokens * (p.q.count + p.k.count + p.v.count);
  p.most_dim = (std::max({p.q.dim, p.k.dim, p.v.dim}) + 3) / 4 * 4;
  return p;
}

}  // namespace

void finish_heads(Stream& stream, const FinishHeadsArgs& args) {
  const Shapes n = check(args);
  const Params p = params_of(args, n["tokens"]);
  if (p.rows == 0) return;
  const bool fours = in_fours(args.q) && in_fours(args.k) && in_fours(args.v) && in_fours(args.q_norm) &&
                     in_fours(args.k_norm) && in_fours(args.kv.k) && in_fours(args.kv.v);
  const LaunchShape shape = {.blocks = static_cast<unsigned>((p.rows + kWarps - 1) / kWarps),
                             .threads = kThreads,
                             .shared = kWarps * p.most_dim * int{sizeof(float)}};
  with_cache_type(args.kv.k.dtype, [&]<class T>(const T*) {
    fours ? launch(stream, shape, heads_kernel<4, T>, p) : launch(stream, shape, heads_kernel<1, T>, p);
  });
}

}  // namespace heed::cuda
