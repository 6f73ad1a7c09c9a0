// Tensor core products of a warpgroup (128 threads), sm_90a. They run asynchronously: registers and shared
// memory of a product belong to it until a wait; see the PTX manual, wgmma.
//
// Operands are bfloat16, in namespace f16 float16. In shared memory they are made of atoms of 8 rows of 64
// columns, that is rows of 128 bytes, with the chunks of 16 bytes of row r at chunk ^ r: the 128-byte
// swizzle, which the tensor copy engine writes as well. Atoms begin at multiples of 1024 bytes.
#pragma once
#include <cstdint>

namespace heed::cuda::wgmma {

// a and b of scores: rows run along the summed dimension, of which `at` is 16 columns. `step` bytes from 8
// rows to the next.
__device__ __forceinline__ uint64_t rows_descriptor(uint32_t at, int step) {
  return uint64_t{(at & 0x3ffff) >> 4} | uint64_t{1} << 16 | static_cast<uint64_t>(step >> 4) << 32 |
         uint64_t{1} << 62;
}
// b of values: rows are the summed dimension, of which `at` is 16; the columns' atoms lie one behind the
// other.
__device__ __forceinline__ uint64_t columns_descriptor(uint32_t at, int step) {
  return uint64_t{(at & 0x3ffff) >> 4} | uint64_t{1024 >> 4} << 16 | static_cast<uint64_t>(step >> 4) << 32 |
         uint64_t{1} << 62;
}

// The same where the next 64 columns are `next` bytes further.
__device__ __forceinline__ uint64_t columns_descriptor(uint32_t at, int step, int next) {
  return uint64_t{(at & 0x3ffff) >> 4} | static_cast<uint64_t>(next >> 4) << 16 |
         static_cast<uint64_t>(step >> 4) << 32 | uint64_t{1} << 62;
}

// Orders the registers written before it with the products after it.
__device__ __forceinline__ void fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// The compiler must not move reads or writes of the registers across this.
template <int kCount>
__device__ __forceinline__ void pin(float (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}

// Element [row, column] of a product's result lies in thread (row % 16 / 8 gives which pair, see below):
// register 4 * (column / 8) + 2 * (row / 8 % 2) + column % 2 of lane 4 * (row % 8) + column % 8 / 2 of warp
// row / 16. As the left operand of the next product, 16 columns are registers {0 1}, {2 3}, {4 5}, {6 7}.

// The registers of a product's sums d, as asm statements have them: their names, and d[i], d[i + 1], ...
#define HEED_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define HEED_NAMES_32 \
  HEED_NAMES_16       \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define HEED_NAMES_64                                                                            \
  HEED_NAMES_32                                                                                  \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define HEED_NAMES_128                                                                           \
  HEED_NAMES_64                                                                                  \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
  "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, "   \
  "%100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, "   \
  "%115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define HEED_SUMS_8(i)                                                                      \
  "+f"(d[(i) + 0]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3]), "+f"(d[(i) + 4]), \
      "+f"(d[(i) + 5]), "+f"(d[(i) + 6]), "+f"(d[(i) + 7])
#define HEED_SUMS_16(i) HEED_SUMS_8(i), HEED_SUMS_8((i) + 8)
#define HEED_SUMS_32(i) HEED_SUMS_16(i), HEED_SUMS_16((i) + 16)
#define HEED_SUMS_64(i) HEED_SUMS_32(i), HEED_SUMS_32((i) + 32)
#define HEED_SUMS_128(i) HEED_SUMS_64(i), HEED_SUMS_64((i) + 64)

#define HEED_WGMMA_TYPE "bf16"
#include "kernels/cuda/wgmma_products.cuh"
#undef HEED_WGMMA_TYPE

namespace f16 {
#define HEED_WGMMA_TYPE "f16"
#include "kernels/cuda/wgmma_products.cuh"
#undef HEED_WGMMA_TYPE
}  // namespace f16

#undef HEED_NAMES_16
#undef HEED_NAMES_32
#undef HEED_NAMES_64
#undef HEED_NAMES_128
#undef HEED_SUMS_8
#undef HEED_SUMS_16
#undef HEED_SUMS_32
#undef HEED_SUMS_64
#undef HEED_SUMS_128

}  // namespace heed::cuda::wgmma
