// draw: a token of each row, drawn as the sampler on the host does. Definition: kernels/ref/ref.cpp, draw.
// Bound by reading the rows three times, of which twice from the second-level cache, and by float64
// exponentials.
//
//   1. the largest of each row, by parts;
//   2. weights, by parts. Where all tokens race, each part's first; else each part's sum and a histogram of
//      how far below the largest its logits are;
//   3. a block for each row: the first of all parts. Or, from the histogram, how far below the largest
//      everything in question lies for sure; what lies there is collected and sorted in shared memory, cut
//      off exactly, and races.
//
// Sums run in the order of threads and parts, so that a row has the same result every time.
#include <climits>

#include "kernels/checks.h"
#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/draw.h"

namespace heed::cuda {
namespace {

constexpr int kBins = kPartThreads;
constexpr float kBinsPerNat = 16;  // the last one takes all that is more than 16 nats below
constexpr int kCandidates = 4096;  // that can be sorted
constexpr int kSelectThreads = 1024;
constexpr int64_t kMostRows = 64;   // of a launch: what they leave between the kernels is of a fixed size
constexpr float kMargin = 1.0001F;  // by which rounded sums of the histogram are exceeded

struct Bin {
  int count;
  float weight;
};

struct Part {
  double total;  // of weights
  double time;   // of the first that arrives
  int place, token;
  Bin bins[kBins];
};

// Who arrives first. No constructors: it lies in shared memory.
struct Arrival {
  double time;
  int place, token;

  __device__ static Arrival none() { return {INFINITY, 0, INT_MAX}; }
  __device__ void meet(double other_time, int other_place, int other_token) {
    if (other_time > time || (other_time == time && other_token >= token)) return;
    time = other_time;
    place = other_place;
    token = other_token;
  }
};

__device__ Arrival first_of_warp(Arrival first) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const double time = __shfl_xor_sync(~0U, first.time, step);
    const int place = __shfl_xor_sync(~0U, first.place, step);
    const int token = __shfl_xor_sync(~0U, first.token, step);
    first.meet(time, place, token);
  }
  return first;
}

// All threads get it. `warps`: of shared memory, one a warp.
template <int kThreads>
__device__ Arrival first_of_block(Arrival first, Arrival* warps) {
  first = first_of_warp(first);
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = first;
  __syncthreads();
  first = threadIdx.x % 32 < kThreads / 32 ? warps[threadIdx.x % 32] : Arrival::none();
  return first_of_warp(first);
}

__device__ double sum_of_warp(double x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0U, x, step);
  return x;
}

// Of one row.
struct Row {
  DrawRow how;
  const float* x;
  const int32_t* id_offsets;
  float largest;
  float bins_per_unit;

  __device__ bool races_whole() const { return how.top_k == 0 && how.top_p >= 1; }
  // 0: not in question.
  __device__ double weight(int i) const {
    const double w = exp((static_cast<double>(x[i]) - largest) / how.temperature);
    return w > 0 && w >= how.min_p ? w : 0;
  }
  __device__ int bin(int i) const {
    const float below = (largest - x[i]) * bins_per_unit;
    return below < kBins - 1 ? static_cast<int>(below) : kBins - 1;
  }
  __device__ int token(int i) const { return id_offsets != nullptr ? i + id_offsets[i] : i; }
  __device__ void race(int i, double weight, Arrival& first) const {
    const double u = draw_number(how.key, token(i));
    // -log(u) >= 1 - u: most of those that come late are known without a logarithm.
    if (1 - u > first.time * weight) return;
    first.meet(-log(u) / weight, i, token(i));
  }
};

// Where x has nothing above -infinity, or the likeliest is wanted, `best` decides alone.
__device__ bool is_decided(const DrawRow& how, Key best) { return best == 0 || how.temperature == 0; }

struct DrawParams {
  const float* x;
  int64_t x_row;
  int dim, parts;
  const DrawRow* rows;
  const int32_t* id_offsets;
  const Key* largest;  // [rows, parts]
  Part* of_parts;      // [rows, parts]
  int32_t* ids;

  __device__ Key best(int row) const {  // by all threads of a warp
    Key key = 0;
    for (int i = static_cast<int>(threadIdx.x % 32); i < parts; i += 32) {
      const Key other = largest[int64_t{row} * parts + i];
      key = other > key ? other : key;
    }
    return largest_of_warp(key);
  }
  __device__ Row row(int r, Key best) const {
    DrawRow how = rows[r];
    if (how.top_k >= dim) how.top_k = 0;
    return {how, x + r * x_row, id_offsets, value_of(best), kBinsPerNat / how.temperature};
  }
};

__global__ void __launch_bounds__(kPartThreads) weigh_kernel(const __grid_constant__ DrawParams p) {
  ptx::let_next_start();
  ptx::wait_for_previous();
  __shared__ Arrival warps[kPartThreads / 32];
  __shared__ double sums[kPartThreads / 32];
  __shared__ int counts[kBins];
  __shared__ float weights[kBins];
  const int r = static_cast<int>(blockIdx.y);
  const Key best = p.best(r);
  const Row row = p.row(r, best);
  if (is_decided(row.how, best)) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int begin = static_cast<int>(blockIdx.x) * kPart;
  const int end = min(p.dim, begin + kPart);
  Part& part = p.of_parts[int64_t{r} * p.parts + blockIdx.x];
  if (row.races_whole()) {
    Arrival first = Arrival::none();
    for (int i = begin + thread; i < end; i += kPartThreads) {
      if (const double w = row.weight(i); w > 0) row.race(i, w, first);
    }
    first = first_of_block<kPartThreads>(first, warps);
    if (thread > 0) return;
    part.time = first.time;
    part.place = first.place;
    part.token = first.token;
    return;
  }
  counts[thread] = 0;
  weights[thread] = 0;
  __syncthreads();
  double sum = 0;
  for (int i = begin + thread; i < end; i += kPartThreads) {
    const double w = row.weight(i);
    if (w == 0) continue;
    sum += w;
    atomicAdd(&counts[row.bin(i)], 1);
    atomicAdd(&weights[row.bin(i)], static_cast<float>(w));
  }
  sum = sum_of_warp(sum);
  if (thread % 32 == 0) sums[thread / 32] = sum;
  __syncthreads();
  part.bins[thread] = {counts[thread], weights[thread]};
  if (thread > 0) return;
  for (int i = 1; i < kPartThreads / 32; ++i) sum += sums[i];
  part.total = sum;
}

struct Selection {
  double keys[kCandidates];  // weights, heaviest first
  int places[kCandidates];
  Arrival warps[kSelectThreads / 32];
  double sums[kSelectThreads / 32];
  int counts[kBins];
  float weights[kBins];
  double total;
  int last_bin, found, kept;
};

// The last bin that may hold a token in question.
__device__ void find_last_bin(const DrawParams& p, const Row& row, const Part* parts, Selection& s) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kBins) {
    int count = 0;
    float weight = 0;
    for (int i = 0; i < p.parts; ++i) {
      count += parts[i].bins[thread].count;
      weight += parts[i].bins[thread].weight;
    }
    s.counts[thread] = count;
    s.weights[thread] = weight;
  } else if (thread == kBins) {
    s.total = 0;
    for (int i = 0; i < p.parts; ++i) s.total += parts[i].total;
  }
  __syncthreads();
  if (thread > 0) return;
  s.found = 0;
  int count = 0;
  float weight = 0;
  int bin = 0;
  const float enough = row.how.top_p * static_cast<float>(s.total) * kMargin;
  for (; bin < kBins - 1; ++bin) {
    count += s.counts[bin];
    weight += s.weights[bin];
    if (row.how.top_k > 0 ? count >= row.how.top_k : weight >= enough) break;
  }
  s.last_bin = bin;
}

__device__ bool is_before(double a, int a_place, double b, int b_place) {
  return a > b || (a == b && a_place < b_place);
}

// Bitonic; size: a power of two.
__device__ void sort(Selection& s, int size) {
  for (int k = 2; k <= size; k *= 2) {
    for (int j = k / 2; j > 0; j /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < size; i += kSelectThreads) {
        const int other = i ^ j;
        if (other < i) continue;
        const bool swaps =
            is_before(s.keys[other], s.places[other], s.keys[i], s.places[i]) == ((i & k) == 0);
        if (!swaps) continue;
        const double key = s.keys[i];
        const int place = s.places[i];
        s.keys[i] = s.keys[other];
        s.places[i] = s.places[other];
        s.keys[other] = key;
        s.places[other] = place;
      }
      __syncthreads();
    }
  }
}

// Collects what lies in the bins, heaviest first. False if it is too much.
__device__ bool collect(const DrawParams& p, const Row& row, Selection& s) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < p.dim; i += kSelectThreads) {
    if (row.bin(i) > s.last_bin) continue;
    const double w = row.weight(i);
    if (w == 0) continue;
    const int at = atomicAdd(&s.found, 1);
    if (at >= kCandidates) continue;
    s.keys[at] = w;
    s.places[at] = i;
  }
  __syncthreads();
  const int found = s.found;
  if (found > kCandidates) return false;
  int size = 2;
  while (size < found) size *= 2;
  for (int i = found + thread; i < size; i += kSelectThreads) {
    s.keys[i] = 0;
    s.places[i] = INT_MAX;
  }
  __syncthreads();
  sort(s, size);
  return true;
}

// How many of the heaviest are in question.
__device__ int cut_off(const DrawRow& how, Selection& s) {
  constexpr int kEach = kCandidates / kSelectThreads;
  const int thread = static_cast<int>(threadIdx.x);
  const int count = how.top_k > 0 ? min(how.top_k, s.found) : s.found;
  if (how.top_p >= 1) return count;
  double own[kEach];
  double sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const int i = thread * kEach + j;
    own[j] = i < count ? s.keys[i] : 0;
    sum += own[j];
  }
  double before = sum;  // of the warp's lanes so far
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(~0U, before, step);
    if (thread % 32 >= step) before += other;
  }
  if (thread % 32 == 31) s.sums[thread / 32] = before;
  if (thread == 0) s.kept = count;
  __syncthreads();
  double total = 0;
  double warps = 0;
  for (int i = 0; i < kSelectThreads / 32; ++i) {
    if (i == thread / 32) warps = total;
    total += s.sums[i];
  }
  if (how.top_k == 0) total = s.total;
  double reached = warps + before - sum;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    reached += own[j];
    if (thread * kEach + j < count && reached >= how.top_p * total)
      atomicMin(&s.kept, thread * kEach + j + 1);
  }
  __syncthreads();
  return s.kept;
}

__global__ void __launch_bounds__(kSelectThreads) select_kernel(const __grid_constant__ DrawParams p) {
  ptx::let_next_start();
  ptx::wait_for_previous();
  extern __shared__ __align__(16) char memory[];
  Selection& s = *reinterpret_cast<Selection*>(memory);
  const int r = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const Key best = p.best(r);
  const Row row = p.row(r, best);
  int32_t* id = p.ids + r;
  if (is_decided(row.how, best)) {
    if (thread == 0) *id = place_of(best);
    return;
  }
  const Part* parts = p.of_parts + int64_t{r} * p.parts;
  Arrival first = Arrival::none();
  if (row.races_whole()) {
    for (int i = thread; i < p.parts; i += kSelectThreads)
      first.meet(parts[i].time, parts[i].place, parts[i].token);
  } else {
    find_last_bin(p, row, parts, s);
    __syncthreads();
    if (!collect(p, row, s)) {
      if (thread == 0) *id = -1;
      return;
    }
    const int kept = cut_off(row.how, s);
    for (int i = thread; i < kept; i += kSelectThreads) row.race(s.places[i], s.keys[i], first);
  }
  first = first_of_block<kSelectThreads>(first, s.warps);
  if (thread == 0) *id = first.token == INT_MAX ? place_of(best) : first.place;
}

}  // namespace

void draw(Stream& stream, const DrawArgs& args) {
  const Shapes n = check(args);
  const int64_t rows = n["rows"];
  const int dim = static_cast<int>(n["dim"]);
  const int parts = parts_of(dim);
  CHECK(dim > 0, dim);
  allow_shared(select_kernel, static_cast<int>(sizeof(Selection)));
  for (int64_t first = 0; first < rows; first += kMostRows) {
    const int64_t some = std::min(kMostRows, rows - first);
    const int64_t count = some * parts;
    auto* of_parts =
        static_cast<Part*>(device_of(stream).scratch(count * int64_t{sizeof(Part) + sizeof(Key)}));
    auto* largest = reinterpret_cast<Key*>(of_parts + count);
    const Tensor x = args.x.slice(first, first + some);
    const DrawParams params = {.x = x.f32(),
                               .x_row = x.stride[0],
                               .dim = dim,
                               .parts = parts,
                               .rows = args.rows + first,
                               .id_offsets = args.id_offsets,
                               .largest = largest,
                               .of_parts = of_parts,
                               .ids = args.ids + first};
    const auto row_blocks = static_cast<unsigned>(some);
    find_largest(stream, x, largest);
    launch(stream, {.blocks = static_cast<unsigned>(parts), .rows = row_blocks, .threads = kPartThreads},
           weigh_kernel, params);
    launch(stream,
           {.blocks = row_blocks, .threads = kSelectThreads, .shared = static_cast<int>(sizeof(Selection))},
           select_kernel, params);
  }
}

}  // namespace heed::cuda
