// The mask algebra on the device: it must compile there, and where there is a GPU it must fill the same rows.
#include <gtest/gtest.h>

#include <vector>

#include "attention/rows.h"

namespace heed {
namespace {

__global__ void fill(Mask mask, SeqFacts facts, int count, RowMask* rows) {
  const int q = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (q < count) rows[q] = row_of(mask, facts, q);
}

TEST(MaskDevice, rows_filled_by_a_kernel_equal_those_filled_by_the_host) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no CUDA device here";
  constexpr int kCount = 1000;
  const Span images[] = {{10, 300}, {500, 520}};
  Span* device_images = nullptr;
  RowMask* device_rows = nullptr;
  ASSERT_EQ(cudaMalloc(&device_images, sizeof(images)), cudaSuccess);
  ASSERT_EQ(cudaMalloc(&device_rows, kCount * sizeof(RowMask)), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(device_images, images, sizeof(images), cudaMemcpyHostToDevice), cudaSuccess);
  const Mask masks[] = {causal(),
                        causal() & window(64),
                        causal() & chunk(48, 1),
                        (causal() | media()) & window(64),
                        (causal() & window(8)).with_sinks(4),
                        full() & around(3, 5)};
  for (const Mask& mask : masks) {
    SeqFacts facts{kCount, 0, images, 2};
    std::vector<RowMask> want(kCount), got(kCount);
    fill_rows(mask, facts, 0, kCount, want.data());
    facts.media = device_images;
    fill<<<(kCount + 127) / 128, 128>>>(mask, facts, kCount, device_rows);
    ASSERT_EQ(cudaMemcpy(got.data(), device_rows, kCount * sizeof(RowMask), cudaMemcpyDeviceToHost),
              cudaSuccess);
    EXPECT_EQ(got, want) << describe(mask);
  }
  cudaFree(device_images);
  cudaFree(device_rows);
}

}  // namespace
}  // namespace heed
