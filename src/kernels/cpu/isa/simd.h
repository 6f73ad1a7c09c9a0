// Vec: kLanes float32 in one register, the little that the kernels of this folder need of an instruction set.
//
// Each file of this folder is compiled once per instruction set (cmake/cpu_kernels.cmake), and the flags
// alone decide which of the three implementations it sees. We wrap the intrinsics ourselves instead of using
// Highway because Debian's Highway 1.0.3 has no run-time target with AVX-512-BF16.
//
// Everything here and in the kernels lives in an unnamed namespace and uses no templates of the standard
// library: a weak symbol compiled with wide instructions could otherwise be the copy that the linker keeps
// for the whole program. tools/check_isa_symbols.py holds the objects to it.
//
// All of them offer, with n in [0, kLanes]:
//   load(p), load_first(p, n)       from float, bf16, f16, int8 or e4m3 at any address; the rest is 0 and is
//   not read store(p, v), store_first(...)   to float, or rounded to nearest even to bf16 load_pairs(p),
//   even, odd        2 * kLanes bf16, and their even and odd elements as float32 deinterleave(a, b, even,
//   odd) the even and odd elements of a, b; interleave(even, odd, a, b): back sum4(a, b, c, d, out) the sums
//   of four vectors; the order does not depend on the position sum, largest                    over the
//   lanes, in a fixed order; first_lane select(mask, a, b)              mask_of(bits): lane i from bit i;
//   less(a, b) nearest, scaled(v, n)           round to integral; v * 2^n, subnormal results included
//   transpose(rows)                 of kLanes rows in place
#pragma once
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

#define HEED_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include "kernels/cpu/isa/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "kernels/cpu/isa/simd_avx2.h"
#else
#include "kernels/cpu/isa/simd_portable.h"
#endif

namespace heed {
namespace {

// What follows from the above for every instruction set.
HEED_INLINE Vec operator+(Vec a, Vec b) { return add(a, b); }
HEED_INLINE Vec operator-(Vec a, Vec b) { return sub(a, b); }
HEED_INLINE Vec operator*(Vec a, Vec b) { return mul(a, b); }
HEED_INLINE Vec operator/(Vec a, Vec b) { return div(a, b); }

HEED_INLINE int smaller_of(int64_t a, int b) { return static_cast<int>(a < b ? a : b); }

// body(offset, n) over [0, count) in vectors; n is kLanes but for the last.
template <class Body>
HEED_INLINE void for_vectors(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
  if (i < count) body(i, static_cast<int>(count - i));
}

// Into a cache near the core, for what is read soon; any address will do.
HEED_INLINE void fetch_soon(const void* p) { __builtin_prefetch(p, 0, 2); }

// load_first and store_first that skip the mask where n is kLanes.
template <class T>
HEED_INLINE Vec load_some(const T* p, int n) {
  return n == kLanes ? load(p) : load_first(p, n);
}
template <class T>
HEED_INLINE void store_some(T* p, Vec v, int n) {
  if (n == kLanes) {
    store(p, v);
  } else {
    store_first(p, v, n);
  }
}

}  // namespace
}  // namespace heed
