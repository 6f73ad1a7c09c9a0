// The products of wgmma.cuh with operands of one type, HEED_WGMMA_TYPE: "bf16" or "f16". Included there, once
// for each; HEED_NAMES_ and HEED_SUMS_ name the registers of d.

// d[64, 32] = (add: d +) a[64, 16] b[32, 16]^T, both by rows_descriptor
__device__ __forceinline__ void multiply(float (&d)[16], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE " {" HEED_NAMES_16
      "}, "
      "%16, %17, add, 1, 1, 0, 0;\n}"
      : HEED_SUMS_16(0)
      : "l"(a), "l"(b), "r"(add ? 1 : 0));
}

// d[64, 64] = (add: d +) a[64, 16] b[64, 16]^T, both by rows_descriptor
__device__ __forceinline__ void multiply(float (&d)[32], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE " {" HEED_NAMES_32
      "}, "
      "%32, %33, add, 1, 1, 0, 0;\n}"
      : HEED_SUMS_32(0)
      : "l"(a), "l"(b), "r"(add ? 1 : 0));
}

// d[64, 128] = (add: d +) a[64, 16] b[128, 16]^T, both by rows_descriptor
__device__ __forceinline__ void multiply(float (&d)[64], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE " {" HEED_NAMES_64
      "}, "
      "%64, %65, add, 1, 1, 0, 0;\n}"
      : HEED_SUMS_64(0)
      : "l"(a), "l"(b), "r"(add ? 1 : 0));
}

// d[64, 64] += a[64, 16] b[16, 64], a in registers, b by columns_descriptor
__device__ __forceinline__ void multiply(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE
               " {" HEED_NAMES_32
               "}, "
               "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
               : HEED_SUMS_32(0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// d[64, 128] += a[64, 16] b[16, 128], a in registers, b by columns_descriptor
__device__ __forceinline__ void multiply(float (&d)[64], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE
               " {" HEED_NAMES_64
               "}, "
               "{%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
               : HEED_SUMS_64(0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// d[64, 256] += a[64, 16] b[16, 256], a in registers, b by columns_descriptor
__device__ __forceinline__ void multiply(float (&d)[128], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE
               " {" HEED_NAMES_128
               "}, "
               "{%128, %129, %130, %131}, %132, 1, 1, 1, 1;"
               : HEED_SUMS_128(0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// d[64, 32] = (add: d +) a[64, 16] b[32, 16]^T, a in registers, b by rows_descriptor
__device__ __forceinline__ void multiply_rows(float (&d)[16], const uint32_t (&a)[4], uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %21, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE " {" HEED_NAMES_16
      "}, "
      "{%16, %17, %18, %19}, %20, add, 1, 1, 0;\n}"
      : HEED_SUMS_16(0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add ? 1 : 0));
}

// d[64, 64] += a[64, 16] b[64, 16]^T, a in registers, b by rows_descriptor
__device__ __forceinline__ void multiply_rows(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE
               " {" HEED_NAMES_32
               "}, "
               "{%32, %33, %34, %35}, %36, 1, 1, 1, 0;"
               : HEED_SUMS_32(0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// d[64, 128] += a[64, 16] b[128, 16]^T, a in registers, b by rows_descriptor
__device__ __forceinline__ void multiply_rows(float (&d)[64], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE
               " {" HEED_NAMES_64
               "}, "
               "{%64, %65, %66, %67}, %68, 1, 1, 1, 0;"
               : HEED_SUMS_64(0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// d[64, 32] += a[16, 64]^T b[32, 16]^T, a by columns_descriptor, b by rows_descriptor
__device__ __forceinline__ void multiply_turned(float (&d)[16], uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32." HEED_WGMMA_TYPE "." HEED_WGMMA_TYPE
               " {" HEED_NAMES_16
               "}, "
               "%16, %17, 1, 1, 1, 1, 0;"
               : HEED_SUMS_16(0)
               : "l"(a), "l"(b));
}
