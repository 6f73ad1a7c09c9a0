// Elements of any float type, read as float32 and written with one rounding; four at a time where they lie
// so.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tensor/tensor.h"

namespace heed::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float to_float(__half x) { return __half2float(x); }

template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

// What is beyond 448 becomes 448.
template <>
__device__ inline e4m3 from_float<e4m3>(float x) {
#if __CUDA_ARCH__ >= 890
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0F), "f"(x));
  return {static_cast<uint8_t>(pair)};
#else
  return heed::from_float<e4m3>(x);
#endif
}

// kCount consecutive elements of type T as they lie in memory, aligned to their size.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T x[kCount];
};

template <int kCount, class T>
__device__ Pack<float, kCount> load(const T* from) {
  const auto raw = *reinterpret_cast<const Pack<T, kCount>*>(from);
  Pack<float, kCount> values;
#pragma unroll
  for (int i = 0; i < kCount; ++i) values.x[i] = to_float(raw.x[i]);
  return values;
}

template <int kCount, class T>
__device__ void store(T* to, const Pack<float, kCount>& values) {
  Pack<T, kCount> raw;
#pragma unroll
  for (int i = 0; i < kCount; ++i) raw.x[i] = from_float<T>(values.x[i]);
  *reinterpret_cast<Pack<T, kCount>*>(to) = raw;
}

// May the rows of `t` be read four elements at a time? Strides other than the innermost, in elements.
inline bool in_fours(const Tensor& t) {
  if (!t.defined()) return true;
  const int64_t align = 4 * size_of(t.dtype);
  bool yes =
      t.size[t.rank - 1] % 4 == 0 && reinterpret_cast<uintptr_t>(t.data) % static_cast<uintptr_t>(align) == 0;
  for (int i = 0; i + 1 < t.rank; ++i) yes = yes && t.stride[i] % 4 == 0;
  return yes;
}

// The scale of a head where a cache has any: PagedKv.
struct HeadScales {
  const float* all;  // null: ones
  explicit HeadScales(const Tensor& t) : all(t.as<const float>()) {}
  __device__ float of(int64_t head) const { return all != nullptr ? all[head] : 1; }
};

// Calls body with a null pointer of the device's type for a cache's dtype.
template <class Body>
void with_cache_type(DType dtype, const Body& body) {
  if (dtype == DType::kF32) return body(static_cast<const float*>(nullptr));
  if (dtype == DType::kBF16) return body(static_cast<const __nv_bfloat16*>(nullptr));
  CHECK(dtype == DType::kE4M3, name_of(dtype));
  body(static_cast<const e4m3*>(nullptr));
}

// Calls body with a null pointer of the device's type for a dtype.
template <class Body>
void with_type(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF32:
      return body(static_cast<const float*>(nullptr));
    case DType::kBF16:
      return body(static_cast<const __nv_bfloat16*>(nullptr));
    case DType::kF16:
      return body(static_cast<const __half*>(nullptr));
    default:
      CHECK(false, name_of(dtype));
  }
}

}  // namespace heed::cuda
