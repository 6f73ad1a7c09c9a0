// arg_max: the largest of each row and where it is. Definition: kernels/ref/ref.cpp, arg_max. Bound by
// reading the rows once: a row is cut into parts of kPart elements, one a block, whose results a warp
// compares.
#include "kernels/checks.h"
#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/ops.h"

namespace heed::cuda {
namespace {

constexpr int64_t kMostRows = 4096;  // of a launch

__global__ void __launch_bounds__(32) finish_kernel(const Key* parts, int count, int32_t* ids) {
  ptx::let_next_start();
  ptx::wait_for_previous();
  const Key* row = parts + int64_t{blockIdx.x} * count;
  Key best = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 32) best = row[i] > best ? row[i] : best;
  best = largest_of_warp(best);
  if (threadIdx.x == 0) ids[blockIdx.x] = place_of(best);
}

}  // namespace

void arg_max(Stream& stream, const ArgMaxArgs& args) {
  const Shapes n = check(args);
  const int64_t rows = n["rows"];
  const int dim = static_cast<int>(n["dim"]);
  if (rows == 0) return;
  const auto count = static_cast<unsigned>(parts_of(dim));
  for (int64_t first = 0; first < rows; first += kMostRows) {
    const auto some = static_cast<unsigned>(std::min(kMostRows, rows - first));
    auto* parts = static_cast<Key*>(device_of(stream).scratch(int64_t{some} * count * int64_t{sizeof(Key)}));
    if (count > 0) find_largest(stream, args.x.slice(first, first + some), parts);
    launch(stream, {.blocks = some, .threads = 32}, finish_kernel, parts, static_cast<int>(count),
           args.ids + first);
  }
}

}  // namespace heed::cuda
