// draw: a token of each row, drawn as the sampler on the host does. Definition: kernels/ref/ref.cpp, draw.
// Bound by reading the rows three times, of which twice from the second-level cache, and by float64
// exponentials.
//
//   1. the largest of each row, by parts;
//   2. weights, by parts. Where all tokens race, each part's first; else a histogram of how far below the
//      largest its tokens are, with their weights;
//   3. a block for each row: the first of all parts. Or, from the histogram, the bin in which top-k or top-p
//      cuts off, whose tokens alone are sorted; those of the bins before it race unsorted.
#include <climits>

#include "kernels/checks.h"
#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/draw.h"

namespace heed::cuda {
namespace {

constexpr int kSelectThreads = 1024;
constexpr int kBins = kSelectThreads;
constexpr float kBinsPerNat = 64;  // the last one takes all that is more than 16 nats below
constexpr int kCandidates = 4096;  // of a bin, that can be sorted
constexpr int kWeighPart = 8192;   // elements
constexpr int64_t kMostRows = 16;  // of a launch: histograms are large
__host__ __device__ constexpr int weigh_parts_of(int dim) { return (dim + kWeighPart - 1) / kWeighPart; }

struct Bin {
  double weight;
  int count;
};

struct Part {
  double time;  // of the first that arrives
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
  Part* of_parts;      // [rows, weigh_parts_of(dim)]
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
  __shared__ Bin bins[kBins];
  const int r = static_cast<int>(blockIdx.y);
  const Key best = p.best(r);
  const Row row = p.row(r, best);
  if (is_decided(row.how, best)) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int begin = static_cast<int>(blockIdx.x) * kWeighPart;
  const int end = min(p.dim, begin + kWeighPart);
  Part& part = p.of_parts[int64_t{r} * gridDim.x + blockIdx.x];
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
  for (int i = thread; i < kBins; i += kPartThreads) bins[i] = {0, 0};
  __syncthreads();
  for (int i = begin + thread; i < end; i += kPartThreads) {
    const double w = row.weight(i);
    if (w == 0) continue;
    Bin& bin = bins[row.bin(i)];
    atomicAdd(&bin.count, 1);
    atomicAdd(&bin.weight, w);
  }
  __syncthreads();
  for (int i = thread; i < kBins; i += kPartThreads) part.bins[i] = bins[i];
}

struct Selection {
  double keys[kCandidates];  // weights of one bin, heaviest first
  int places[kCandidates];
  Arrival warps[kSelectThreads / 32];
  double sums[kSelectThreads / 32];
  int counts[kSelectThreads / 32];
  double weight_upto[kBins];  // of a bin and all before it
  int count_upto[kBins];
  int found, first;
};

// In question are all tokens of the bins before this one, and the `take` heaviest of it.
struct Cut {
  int bin = kBins, take = 0;
};

template <class T>
__device__ T scan_warp(T x) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const T other = __shfl_up_sync(~0U, x, step);
    if (threadIdx.x % 32 >= step) x += other;
  }
  return x;
}

// The sum of x over this thread and those before it.
template <class T>
__device__ T scan_block(T x, T* warps) {
  x = scan_warp(x);
  __syncthreads();
  if (threadIdx.x % 32 == 31) warps[threadIdx.x / 32] = x;
  __syncthreads();
  T before = 0;
  for (int i = 0; i < static_cast<int>(threadIdx.x / 32); ++i) before += warps[i];
  return before + x;
}

// The first thread, place or whatever `mine` counts that `is_it` is true for; else `none`.
__device__ int first_that(bool is_it, int mine, int none, Selection& s) {
  __syncthreads();
  if (threadIdx.x == 0) s.first = none;
  __syncthreads();
  if (is_it) atomicMin(&s.first, mine);
  __syncthreads();
  return s.first;
}

__device__ void add_up_bins(const Part* parts, int count, Selection& s) {
  const auto bin = static_cast<int>(threadIdx.x);
  Bin all = {0, 0};
  for (int i = 0; i < count; ++i) {
    all.weight += parts[i].bins[bin].weight;
    all.count += parts[i].bins[bin].count;
  }
  s.weight_upto[bin] = scan_block(all.weight, s.sums);
  s.count_upto[bin] = scan_block(all.count, s.counts);
  __syncthreads();
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

// Puts a bin's tokens in order. False if they are too many.
__device__ bool sort_bin(const Row& row, int dim, int bin, Selection& s) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  if (thread == 0) s.found = 0;
  __syncthreads();
  for (int i = thread; i < dim; i += kSelectThreads) {
    if (row.bin(i) != bin) continue;
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

// Of the `count` heaviest of the sorted bin: how many it takes until all up to there have `enough` weight;
// and what the `count` and all before them have.
struct Reach {
  int take;
  double total;
};
__device__ Reach reach(int count, double before, double enough, Selection& s) {
  constexpr int kEach = kCandidates / kSelectThreads;
  const int thread = static_cast<int>(threadIdx.x);
  double own[kEach];
  double sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    own[j] = thread * kEach + j < count ? s.keys[thread * kEach + j] : 0;
    sum += own[j];
  }
  const double upto = scan_block(sum, s.sums);
  double reached = before + upto - sum;
  int mine = count;
#pragma unroll
  for (int j = kEach - 1; j >= 0; --j) {
    double here = reached;
    for (int i = 0; i <= j; ++i) here += own[i];
    if (here >= enough) mine = min(mine, thread * kEach + j + 1);
  }
  const int take = first_that(mine < count, mine, count, s);
  double total = before;
  for (const double warp : s.sums) total += warp;
  return {take, total};
}

__device__ double weight_before(int bin, const Selection& s) { return bin > 0 ? s.weight_upto[bin - 1] : 0; }

// False if a bin is too full to be sorted.
__device__ bool find_cut(const DrawParams& p, const Row& row, Selection& s, Cut& cut) {
  const auto thread = static_cast<int>(threadIdx.x);
  double total = s.weight_upto[kBins - 1];
  const int k = row.how.top_k;
  const bool limits_k = k > 0 && k < s.count_upto[kBins - 1];
  if (limits_k) {
    cut.bin = first_that(s.count_upto[thread] >= k, thread, kBins - 1, s);
    cut.take = k - (cut.bin > 0 ? s.count_upto[cut.bin - 1] : 0);
    if (!sort_bin(row, p.dim, cut.bin, s)) return false;
    total = reach(cut.take, weight_before(cut.bin, s), INFINITY, s).total;
  }
  if (row.how.top_p >= 1) return true;
  const double enough = row.how.top_p * total;
  const int bin = first_that(s.weight_upto[thread] >= enough, thread, kBins, s);
  if (bin < cut.bin) {
    cut = {bin, kCandidates};
    if (!sort_bin(row, p.dim, bin, s)) return false;
    cut.take = s.found;
  }
  if (cut.bin < kBins) cut.take = reach(cut.take, weight_before(cut.bin, s), enough, s).take;
  return true;
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
  const int count = weigh_parts_of(p.dim);
  const Part* parts = p.of_parts + int64_t{r} * count;
  Arrival first = Arrival::none();
  if (row.races_whole()) {
    for (int i = thread; i < count; i += kSelectThreads)
      first.meet(parts[i].time, parts[i].place, parts[i].token);
  } else {
    add_up_bins(parts, count, s);
    Cut cut;
    if (!find_cut(p, row, s, cut)) {
      if (thread == 0) *id = -1;
      return;
    }
    for (int i = thread; i < p.dim; i += kSelectThreads) {
      if (row.bin(i) >= cut.bin) continue;
      if (const double w = row.weight(i); w > 0) row.race(i, w, first);
    }
    for (int i = thread; i < cut.take; i += kSelectThreads) row.race(s.places[i], s.keys[i], first);
  }
  first = first_of_block<kSelectThreads>(first, s.warps);
  if (thread == 0) *id = first.token == INT_MAX ? place_of(best) : first.place;
}

}  // namespace

void draw(Stream& stream, const DrawArgs& args) {
  const Shapes n = check(args);
  const int64_t rows = n["rows"];
  const int dim = static_cast<int>(n["dim"]);
  CHECK(dim > 0, dim);
  const int parts = parts_of(dim);
  const int weigh_parts = weigh_parts_of(dim);
  allow_shared(select_kernel, static_cast<int>(sizeof(Selection)));
  for (int64_t first = 0; first < rows; first += kMostRows) {
    const int64_t some = std::min(kMostRows, rows - first);
    const int64_t bytes = some * (weigh_parts * int64_t{sizeof(Part)} + parts * int64_t{sizeof(Key)});
    auto* of_parts = static_cast<Part*>(device_of(stream).scratch(bytes));
    auto* largest = reinterpret_cast<Key*>(of_parts + some * weigh_parts);
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
    launch(stream,
           {.blocks = static_cast<unsigned>(weigh_parts), .rows = row_blocks, .threads = kPartThreads},
           weigh_kernel, params);
    launch(stream,
           {.blocks = row_blocks, .threads = kSelectThreads, .shared = static_cast<int>(sizeof(Selection))},
           select_kernel, params);
  }
}

}  // namespace heed::cuda
