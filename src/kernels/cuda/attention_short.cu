// Attention of short sequences: decoding, drafts, the ends of prefills. And of all where there is no Hopper.
// Definition: kernels/ref/ref.cpp, attention. Bound by memory: each visible key and value is read once for
// every 16 packed rows.
//
// A block runs one unit at a time: 16 rows with a range of keys. Its 4 warps form groups of kShare warps; a
// group takes every n-th slice of 16 keys and has its own softmax and its own ring of kStages slices filled
// by asynchronous copies, so that groups never wait for each other before the end of the unit:
//
//   scores[16, 16] = Q[16, dim] K[16, dim]^T      every warp of the group
//   out[16, columns] += P[16, 16] V[16, columns]  each warp its share of the columns
//
// Then the groups' results are merged through shared memory in their order. Keys outside of the unit are
// never read: their places are filled with zeros.
#include "kernels/cuda/attention_device.cuh"

namespace heed::cuda {
namespace {

using ptx::copy16;
using ptx::shared;

constexpr int kSlice = 16;  // keys; the least block of a cache
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kPad = 8;  // elements between rows in shared memory, so that 8 rows use all banks

// kAliased: values are the first columns of the keys (latent attention).
template <int kK_, int kV_, int kShare_, int kStages_, bool kAliased_ = false>
struct Config {
  static constexpr int kK = kK_, kV = kV_;  // head_dim and v_dim, rounded up
  static constexpr int kShare = kShare_, kStages = kStages_;
  static constexpr bool kAliased = kAliased_;
  static constexpr int kGroups = kWarps / kShare;
  static constexpr int kColumns = kV / kShare;  // of a warp
  static constexpr int kKRow = kK + kPad, kVRow = kAliased ? kKRow : kV + kPad;
  static constexpr int kStage = kSlice * (kKRow + (kAliased ? 0 : kVRow));  // elements
  static constexpr int kQ = kShortTile * kKRow;
  static constexpr int kRing = kGroups * kStages * kStage * 2;                // bytes
  static constexpr int kMerge = kGroups * kShortTile * (kV + 2) * 4;          // bytes, over the ring
  static constexpr int kShared = kQ * 2 + (kRing > kMerge ? kRing : kMerge);  // bytes
};

// The slices of a unit that a group visits: first those of the sinks, then from the first key on.
struct Slices {
  int sinks, first, count;
  __device__ explicit Slices(const AttentionUnit& unit) {
    sinks = (unit.sink_hi + kSlice - 1) / kSlice;
    first = max(unit.key_lo / kSlice, sinks);
    count = sinks + max((unit.key_hi + kSlice - 1) / kSlice - first, 0);
  }
  __device__ int at(int i) const { return i < sinks ? i : first + i - sinks; }
};

template <class C>
struct Worker {
  const AttentionParams& p;
  const AttentionUnit& unit;
  const Slices slices;
  const int head, warp, lane, group, part;  // kv head; part: of the columns
  const int32_t* table;
  __nv_bfloat16* ring;
  RowMask mask[2];  // of rows lane / 4 and lane / 4 + 8
  int entry = 0;    // of the table, for one slice a lane

  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  float out[C::kColumns / 8][4] = {};

  __device__ Worker(const AttentionParams& params, const AttentionUnit& u, int kv_head, __nv_bfloat16* rings)
      : p(params),
        unit(u),
        slices(u),
        head(kv_head),
        warp(threadIdx.x / 32),
        lane(threadIdx.x % 32),
        group(warp / C::kShare),
        part(warp % C::kShare),
        table(table_of(params, u.sequence)),
        ring(rings + group * C::kStages * C::kStage) {
    for (int i = 0; i < 2; ++i) {
      const int row = lane / 4 + 8 * i;
      mask[i] = row < unit.rows ? p.rows[unit.token + (unit.row + row) / p.group] : RowMask{0, 0, 0};
    }
  }

  __device__ int count() const { return (slices.count - group + C::kGroups - 1) / C::kGroups; }
  __device__ int slice(int i) const { return slices.at(group + i * C::kGroups); }
  __device__ void group_sync() const {
    if constexpr (C::kShare == 1) {
      __syncwarp();
    } else {
      ptx::threads_sync(1 + group, 32 * C::kShare);
    }
  }
  __device__ __nv_bfloat16* keys(int i) const { return ring + i % C::kStages * C::kStage; }
  __device__ __nv_bfloat16* values(int i) const { return keys(i) + (C::kAliased ? 0 : kSlice * C::kKRow); }

  // Starts the copies of the group's i-th slice. Calls come in the order of i.
  __device__ void load(int i) {
    if (i < count()) {
      if (i % 32 == 0 && i + lane < count()) entry = table[slice(i + lane) * kSlice / p.block];
      const int block = __shfl_sync(~0U, entry, i % 32);
      const int key = slice(i) * kSlice;
      const int64_t row = key % p.block;
      load_rows<C::kK, C::kKRow>(keys(i), p.k + block * p.k_block + head * p.k_head + row * p.k_row, p.k_row,
                                 p.head_dim, key, block);
      if constexpr (!C::kAliased) {
        load_rows<C::kV, C::kVRow>(values(i), p.v + block * p.v_block + head * p.v_head + row * p.v_row,
                                   p.v_row, p.v_dim, key, block);
      }
    }
    ptx::copies_commit();
  }

  template <int kDim, int kRow>
  __device__ void load_rows(__nv_bfloat16* to, const __nv_bfloat16* from, int64_t stride, int dim, int key,
                            int block) const {
    constexpr int kChunks = kDim / 8;
    static_assert(kSlice * kChunks % (32 * C::kShare) == 0);
#pragma unroll 8
    for (int c = part * 32 + lane; c < kSlice * kChunks; c += 32 * C::kShare) {
      const int row = c / kChunks;
      const int column = c % kChunks * 8;
      const int k = key + row;
      const bool real =
          block >= 0 && column < dim && (k < unit.sink_hi || (unit.key_lo <= k && k < unit.key_hi));
      copy16(shared(to + row * kRow + column), real ? from + row * stride + column : p.k, real);
    }
  }

  __device__ void score(const __nv_bfloat16* q, const __nv_bfloat16* k, float (&s)[2][4]) const {
#pragma unroll
    for (int d = 0; d < C::kK; d += 16) {
      uint32_t a[4];
      uint32_t b[4];
      ptx::load_matrices(a, shared(q + lane % 16 * C::kKRow + d + lane / 16 * 8));
      ptx::load_matrices(b, shared(k + (lane % 8 + lane / 16 * 8) * C::kKRow + d + lane / 8 % 2 * 8));
      ptx::multiply(s[0], a, b[0], b[1]);
      ptx::multiply(s[1], a, b[2], b[3]);
    }
  }

  // Scores to weights; the sums so far are scaled to the new largest score.
  __device__ void weigh(int key, float (&s)[2][4]) {
    const bool test = key < unit.full_lo || key + kSlice > unit.full_hi;
    bool moved = false;
    float scale[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float most = largest[i];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float& x = s[j / 2][2 * i + j % 2];
        x = score_log2(p, x);
        if (test && !sees(mask[i], key + j / 2 * 8 + lane % 4 * 2 + j % 2)) x = -INFINITY;
        most = fmaxf(most, x);
      }
      most = fmaxf(most, __shfl_xor_sync(~0U, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0U, most, 2));
      const float base = most == -INFINITY ? 0 : most;
      scale[i] = ptx::exp2(largest[i] - base);
      moved |= most != largest[i];
      largest[i] = most;
      float added = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float& x = s[j / 2][2 * i + j % 2];
        x = ptx::exp2(x - base);
        added += x;
      }
      sum[i] = sum[i] * scale[i] + added;
    }
    if (!__any_sync(~0U, moved)) return;
#pragma unroll
    for (int c = 0; c < C::kColumns / 8; ++c) {
      out[c][0] *= scale[0];
      out[c][1] *= scale[0];
      out[c][2] *= scale[1];
      out[c][3] *= scale[1];
    }
  }

  __device__ void add_values(const __nv_bfloat16* v, const float (&s)[2][4]) {
    const uint32_t a[4] = {ptx::pack(s[0][0], s[0][1]), ptx::pack(s[0][2], s[0][3]),
                           ptx::pack(s[1][0], s[1][1]), ptx::pack(s[1][2], s[1][3])};
    const __nv_bfloat16* from = v + lane % 16 * C::kVRow + part * C::kColumns + lane / 16 * 8;
#pragma unroll
    for (int c = 0; c < C::kColumns; c += 16) {
      uint32_t b[4];
      ptx::load_transposed(b, shared(from + c));
      ptx::multiply(out[c / 8], a, b[0], b[1]);
      ptx::multiply(out[c / 8 + 1], a, b[2], b[3]);
    }
  }

  __device__ void run(const __nv_bfloat16* q) {
    for (int i = 0; i < C::kStages - 1; ++i) load(i);
    for (int i = 0; i < count(); ++i) {
      ptx::copies_wait<C::kStages - 2>();
      group_sync();  // everyone's copies of slice i are there, and everyone is done with the slice before it
      load(i + C::kStages - 1);
      float s[2][4] = {};
      score(q, keys(i), s);
      weigh(slice(i) * kSlice, s);
      add_values(values(i), s);
    }
    ptx::copies_wait<0>();
  }

  // The group's sums to shared memory: [kShortTile, kV] and the stats of the rows.
  __device__ void put(float* sums, float2* stats) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum[i] += __shfl_xor_sync(~0U, sum[i], 1);
      sum[i] += __shfl_xor_sync(~0U, sum[i], 2);
      const int row = lane / 4 + 8 * i;
      if (part == 0 && lane % 4 == 0) stats[group * kShortTile + row] = {largest[i], sum[i]};
      float* to = sums + (group * kShortTile + row) * C::kV + part * C::kColumns + lane % 4 * 2;
#pragma unroll
      for (int c = 0; c < C::kColumns; c += 8) {
        *reinterpret_cast<float2*>(to + c) = {out[c / 8][2 * i], out[c / 8][2 * i + 1]};
      }
    }
  }
};

template <class C>
__device__ void load_queries(const AttentionParams& p, const AttentionUnit& unit, int head,
                             __nv_bfloat16* q) {
  for (int c = threadIdx.x; c < kShortTile * (C::kK / 4); c += kThreads) {
    const int row = c / (C::kK / 4);
    const int column = c % (C::kK / 4) * 4;
    float4 x = {0, 0, 0, 0};
    if (row < unit.rows && column < p.head_dim) {
      const int r = unit.row + row;
      x = *reinterpret_cast<const float4*>(p.q + (unit.token + r / p.group) * p.q_token +
                                           (head * p.group + r % p.group) * p.q_head + column);
    }
    *reinterpret_cast<uint2*>(q + row * C::kKRow + column) = {ptx::pack(x.x, x.y), ptx::pack(x.z, x.w)};
  }
}

// Weight of a result with these stats in a merge whose largest score is `largest`.
__device__ float weight_of(float2 stats, float largest) {
  return stats.y == 0 ? 0 : ptx::exp2(stats.x - largest);
}

__device__ void add_scaled(float4& to, float4 x, float scale) {
  to.x += x.x * scale;
  to.y += x.y * scale;
  to.z += x.z * scale;
  to.w += x.w * scale;
}

__device__ void store_row(const AttentionParams& p, int64_t token, int row, int kv_head, int column,
                          float4 sums, float2 stats) {
  const int head = kv_head * p.group + row % p.group;
  const float total = with_sink(p, head, stats).y;
  const float scale = total == 0 ? 0 : ptx::exp2(stats.x - with_sink(p, head, stats).x) / total;
  float4 out = {0, 0, 0, 0};
  if (stats.y != 0) add_scaled(out, sums, scale);
  store4(p, token + row / p.group, head, column, out);
}

// Merges the groups and writes the output, or a partial result for the merge kernel.
template <class C>
__device__ void finish(const AttentionParams& p, const AttentionUnit& unit, int head, const float* sums,
                       const float2* stats) {
  const int columns = p.v_dim / 4;
  for (int c = threadIdx.x; c < unit.rows * columns; c += kThreads) {
    const int row = c / columns;
    const int column = c % columns * 4;
    float2 whole = {-INFINITY, 0};
    for (int g = 0; g < C::kGroups; ++g) whole.x = fmaxf(whole.x, stats[g * kShortTile + row].x);
    float4 value = {0, 0, 0, 0};
    for (int g = 0; g < C::kGroups; ++g) {
      const float2 own = stats[g * kShortTile + row];
      const float weight = weight_of(own, whole.x);
      whole.y += own.y * weight;
      add_scaled(value, *reinterpret_cast<const float4*>(sums + (g * kShortTile + row) * C::kV + column),
                 weight);
    }
    if (unit.slot < 0) {
      store_row(p, unit.token, unit.row + row, head, column, value, whole);
      continue;
    }
    const int64_t place = (int64_t{unit.slot} * p.kv_heads + head) * kShortTile + row;
    *reinterpret_cast<float4*>(p.partial + place * p.v_dim + column) = value;
    if (column == 0) p.stats[place] = whole;
  }
}

template <class C>
__global__ void __launch_bounds__(kThreads) short_kernel(const __grid_constant__ AttentionParams p) {
  extern __shared__ __align__(128) char memory[];
  auto* q = reinterpret_cast<__nv_bfloat16*>(memory);
  char* rest = memory + C::kQ * 2;
  auto* sums = reinterpret_cast<float*>(rest);
  auto* stats = reinterpret_cast<float2*>(rest + C::kGroups * kShortTile * C::kV * 4);
  const auto* units =
      reinterpret_cast<const AttentionUnit*>(reinterpret_cast<const char*>(p.plan) + p.plan->short_offset);
  const int work = p.plan->short_units * p.kv_heads;
  for (int round = 0;; ++round) {
    const int index = snake(round, blockIdx.x, gridDim.x);
    if (round * static_cast<int>(gridDim.x) >= work) break;
    if (index >= work) continue;
    const AttentionUnit unit = units[index / p.kv_heads];
    const int head = index % p.kv_heads;
    load_queries<C>(p, unit, head, q);
    __syncthreads();
    Worker<C> worker(p, unit, head, reinterpret_cast<__nv_bfloat16*>(rest));
    worker.run(q);
    __syncthreads();  // the results go where the rings were
    worker.put(sums, stats);
    __syncthreads();
    finish<C>(p, unit, head, sums, stats);
    __syncthreads();
  }
}

// One row at a time; the parts are shared out among lanes that each take a column of 4, in ascending order.
__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ AttentionParams p) {
  extern __shared__ __align__(128) char memory[];
  auto* sums = reinterpret_cast<float4*>(memory);  // [takers, columns]
  const auto* merges =
      reinterpret_cast<const AttentionMerge*>(reinterpret_cast<const char*>(p.plan) + p.plan->merge_offset);
  const int columns = p.v_dim / 4;
  const int takers = max(kThreads / columns, 1);
  for (int i = blockIdx.x; i < p.plan->merges * kShortTile * p.kv_heads; i += gridDim.x) {
    const AttentionMerge merge = merges[i / (kShortTile * p.kv_heads)];
    const int row = i / p.kv_heads % kShortTile;
    const int head = i % p.kv_heads;
    if (row >= merge.rows) continue;
    const auto place = [&](int part) {
      return (int64_t{merge.slot + part} * p.kv_heads + head) * kShortTile + row;
    };
    float2 whole = {-INFINITY, 0};
    for (int part = threadIdx.x % 32; part < merge.slots; part += 32)
      whole.x = fmaxf(whole.x, p.stats[place(part)].x);
    for (int step = 16; step > 0; step /= 2) whole.x = fmaxf(whole.x, __shfl_xor_sync(~0U, whole.x, step));
    for (int part = threadIdx.x % 32; part < merge.slots; part += 32) {
      const float2 own = p.stats[place(part)];
      whole.y += own.y * weight_of(own, whole.x);
    }
    for (int step = 16; step > 0; step /= 2) whole.y += __shfl_xor_sync(~0U, whole.y, step);

    for (int c = threadIdx.x; c < takers * columns; c += kThreads) {
      float4 value = {0, 0, 0, 0};
#pragma unroll 4
      for (int part = c / columns; part < merge.slots; part += takers) {
        const float4 own =
            *reinterpret_cast<const float4*>(p.partial + place(part) * p.v_dim + c % columns * 4);
        add_scaled(value, own, weight_of(p.stats[place(part)], whole.x));
      }
      sums[c] = value;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < columns; c += kThreads) {
      float4 value = sums[c];
      for (int taker = 1; taker < takers; ++taker) add_scaled(value, sums[taker * columns + c], 1);
      store_row(p, merge.token, merge.row + row, head, c * 4, value, whole);
    }
    __syncthreads();
  }
}

template <class C>
void launch_for(const AttentionLaunch& launch, const AttentionParams& params) {
  static const int blocks = [] {
    allow_shared(short_kernel<C>, C::kShared);
    int each = 0;
    CUDA_CALL(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, short_kernel<C>, kThreads, C::kShared));
    CHECK(each > 0, C::kShared);
    return each;
  }();
  short_kernel<C><<<blocks * launch.sms, kThreads, C::kShared, launch.stream>>>(params);
  CUDA_LAUNCHED("attention short_kernel");
  if (launch.merges == 0) return;
  const int bytes = (params.v_dim / 4 + kThreads) * static_cast<int>(sizeof(float4));
  merge_kernel<<<4 * launch.sms, kThreads, bytes, launch.stream>>>(params);
  CUDA_LAUNCHED("attention merge_kernel");
}

}  // namespace

void run_short(const AttentionLaunch& launch, const AttentionParams& params) {
  const int k = params.head_dim;
  const int v = params.v_dim;
  if (k <= 64 && v <= 64) return launch_for<Config<64, 64, 1, 4>>(launch, params);
  if (k <= 128 && v <= 128) return launch_for<Config<128, 128, 1, 3>>(launch, params);
  if (k <= 256 && v <= 256) return launch_for<Config<256, 256, 2, 3>>(launch, params);
  CHECK(k <= 576 && v <= 512, k, v);
  const bool aliased = params.k == params.v && params.k_block == params.v_block &&
                       params.k_head == params.v_head && params.k_row == params.v_row;
  if (aliased) return launch_for<Config<576, 512, 4, 3, true>>(launch, params);
  launch_for<Config<576, 512, 4, 3>>(launch, params);
}

}  // namespace heed::cuda
