// In the place of src/kernels/cuda/ptx.cuh: what its functions do, on the CPU. Addresses in shared memory are
// offsets in the block's. Layouts of fragments: the PTX manual, of mma.m16n8k16 and ldmatrix.
#pragma once
#define HEED_EMULATED
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/check.h"
#include "tensor/dtype.h"
#include "tests/emulated/emulator.h"

#undef __launch_bounds__
#undef __grid_constant__
#undef __global__
#undef __device__
#undef __shared__
#undef __forceinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline

using std::isnan;
using std::max;
using std::min;

// threadIdx and the like: x is read where it is used.
template <unsigned (*kOf)()>
struct EmulatedIndex {
  struct {
    operator unsigned() const { return kOf(); }
  } x;
};
inline constexpr EmulatedIndex<heed::emulated::thread_index> threadIdx = {};
inline constexpr EmulatedIndex<heed::emulated::block_index> blockIdx = {};
inline constexpr EmulatedIndex<heed::emulated::blocks> gridDim = {};

inline void __syncthreads() { heed::emulated::sync_all(); }
inline void __syncwarp() {
  heed::emulated::together(nullptr, 0, nullptr, 0, [](const void*, void*) {});
}
template <class T>
T __shfl_sync(unsigned /*lanes*/, T x, int from) {
  struct Asked {
    T x;
    int from;
  };
  return heed::emulated::together<T>(Asked{x, from}, [](const Asked* all, T* to) {
    for (int i = 0; i < 32; ++i) to[i] = all[all[i].from % 32].x;
  });
}
template <class T>
T __shfl_up_sync(unsigned lanes, T x, int by) {
  const int from = heed::emulated::lane() - by;
  return __shfl_sync(lanes, x, from < 0 ? heed::emulated::lane() : from);
}
template <class T>
T __shfl_xor_sync(unsigned lanes, T x, int other) {
  return __shfl_sync(lanes, x, heed::emulated::lane() ^ other);
}
inline bool __any_sync(unsigned /*lanes*/, bool x) {
  return heed::emulated::together<bool>(x, [](const bool* all, bool* to) {
    std::fill_n(to, 32, std::any_of(all, all + 32, [](bool one) { return one; }));
  });
}
// Byte i of the result is the one of both words that digit i of `which` says, or its sign in all bits.
inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t which) {
  const uint64_t both = uint64_t{high} << 32 | low;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t digit = which >> (4 * i) & 15;
    uint32_t byte = both >> (8 * (digit & 7)) & 255;
    if ((digit & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}
inline float __uint_as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float __fdividef(float a, float b) { return a / b; }

namespace heed::cuda::ptx {

inline char* at(uint32_t address, int bytes) {
  CHECK(address % static_cast<unsigned>(bytes) == 0 &&
            address + static_cast<unsigned>(bytes) <= static_cast<unsigned>(emulated::block_memory_bytes()),
        address, bytes);
  return emulated::block_memory() + address;
}
template <class T>
T load_from(uint32_t address) {
  T value;
  std::memcpy(&value, at(address, sizeof(T)), sizeof(T));
  return value;
}
template <class T>
void store_to(uint32_t address, const T& value) {
  std::memcpy(at(address, sizeof(T)), &value, sizeof(T));
}

template <class T, int kAlign>
T* block_memory() {
  static_assert(kAlign <= 1024);
  return reinterpret_cast<T*>(emulated::block_memory());
}
inline uint32_t shared(const void* pointer) {
  return static_cast<uint32_t>(static_cast<const char*>(pointer) - emulated::block_memory());
}

// Nothing runs beside a block here.
inline void let_next_start() {}
inline void wait_for_previous() {}
inline void cluster_arrive() { CHECK(false, "no clusters here"); }
inline void cluster_wait() { CHECK(false, "no clusters here"); }
inline void store_in_block(int /*block*/, uint32_t /*address*/, float /*value*/) {
  CHECK(false, "no clusters here");
}
inline void prefetch(const void* /*from*/, int /*bytes*/) {}

inline void copy16(uint32_t to, const void* from, bool real = true) {
  CHECK(reinterpret_cast<uintptr_t>(from) % 16 == 0);
  emulated::copy_later(at(to, 16), real ? static_cast<const char*>(from) : nullptr);
}
inline void copy16_of_256(uint32_t to, const void* from) { copy16(to, from); }
inline void copies_commit() { emulated::commit_copies(); }
template <int kPending>
void copies_wait() {
  emulated::wait_for_copies(kPending);
}

inline float2 load_written(const float2* from) { return *from; }
inline bool comes_last(uint32_t* counter, int blocks) {
  *counter = (*counter + 1) % static_cast<unsigned>(blocks);
  return *counter == 0;
}
inline uint4 load_once(const void* from) {
  uint4 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline void store16(uint32_t to, uint4 value) { store_to(to, value); }
inline uint4 load16(uint32_t from) { return load_from<uint4>(from); }
inline uint2 load8(uint32_t from) { return load_from<uint2>(from); }
inline void store8(uint32_t to, uint2 value) { store_to(to, value); }
inline void store4(uint32_t to, uint32_t value) { store_to(to, value); }

template <int kCount>
struct Fragment {
  uint32_t m[kCount];
};
// kCount matrices, of whose 8 rows each lane 8 j + r has the address of row r of the j-th.
template <int kCount>
void load_rows(uint32_t (&m)[kCount], uint32_t from) {
  const auto all = emulated::together<Fragment<kCount>>(from, [](const uint32_t* rows, Fragment<kCount>* to) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int j = 0; j < kCount; ++j)
        to[lane].m[j] = load_from<uint32_t>(rows[8 * j + lane / 4] + static_cast<uint32_t>(lane % 4) * 4);
    }
  });
  std::copy_n(all.m, kCount, m);
}
inline void load_matrices(uint32_t (&m)[4], uint32_t from) { load_rows(m, from); }
inline void load_matrices(uint32_t (&m)[2], uint32_t from) { load_rows(m, from); }
inline void load_pair(uint32_t (&m)[2], uint32_t from) { load_rows(m, from); }
inline uint32_t transpose(uint32_t m) {
  return emulated::together<uint32_t>(m, [](const uint32_t* from, uint32_t* to) {
    const auto element = [&](int row, int column) {
      return from[row * 4 + column / 2] >> (column % 2 * 16) & 0xffff;
    };
    for (int lane = 0; lane < 32; ++lane) {
      const int row = lane / 4;
      const int column = lane % 4 * 2;
      to[lane] = element(column, row) | element(column + 1, row) << 16;
    }
  });
}
inline void load_transposed(uint32_t (&m)[4], uint32_t from) {
  const auto all = emulated::together<Fragment<4>>(from, [](const uint32_t* rows, Fragment<4>* to) {
    for (int lane = 0; lane < 32; ++lane) {
      const auto column = static_cast<uint32_t>(lane / 4) * 2;
      for (int j = 0; j < 4; ++j) {
        const uint32_t low = load_from<uint16_t>(rows[8 * j + lane % 4 * 2] + column);
        const uint32_t high = load_from<uint16_t>(rows[8 * j + lane % 4 * 2 + 1] + column);
        to[lane].m[j] = low | high << 16;
      }
    }
  });
  std::copy_n(all.m, 4, m);
}

inline uint32_t and_or(uint32_t a, uint32_t mask, uint32_t ones) { return (a & mask) | ones; }

// c[16, 8] += a[16, 16] b[16, 8], of numbers that value_of(pair, i) gives.
struct Operands {
  uint32_t a[4], b[2];
};
struct Product {
  float c[4];
};
template <class ValueOf>
void multiply_as(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, ValueOf value_of) {
  const Operands mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const auto product = emulated::together<Product>(mine, [&](const Operands* all, Product* to) {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 8; ++i) {
        const int pair = i / 2;
        left[lane / 4 + pair % 2 * 8][lane % 4 * 2 + i % 2 + pair / 2 * 8] =
            value_of(all[lane].a[pair], i % 2);
      }
      for (int i = 0; i < 4; ++i)
        right[lane % 4 * 2 + i % 2 + i / 2 * 8][lane / 4] = value_of(all[lane].b[i / 2], i % 2);
    }
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += left[lane / 4 + i / 2 * 8][k] * right[k][lane % 4 * 2 + i % 2];
        to[lane].c[i] = sum;
      }
    }
  });
  for (int i = 0; i < 4; ++i) c[i] += product.c[i];
}
inline void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  multiply_as(c, a, b0, b1, [](uint32_t pair, int i) {
    const uint32_t bits = (i == 0 ? pair : pair >> 16) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  });
}
inline void multiply_pair(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply(c, a, b[0], b[1]);
}
inline float value_of_half(uint32_t pair, int i) {
  __half value;
  const auto bits = static_cast<uint16_t>(i == 0 ? pair : pair >> 16);
  std::memcpy(&value, &bits, sizeof value);
  return __half2float(value);
}
inline void multiply_halves(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  multiply_as(c, a, b0, b1, value_of_half);
}

template <class Pair>
uint32_t bits_of(const Pair& pair) {
  static_assert(sizeof(Pair) == 4);
  uint32_t bits;
  std::memcpy(&bits, &pair, sizeof bits);
  return bits;
}
inline uint32_t pack(float low, float high) { return bits_of(__floats2bfloat162_rn(low, high)); }
inline uint32_t pack_halves(float low, float high) { return bits_of(__floats2half2_rn(low, high)); }
template <bool kHigh>
uint32_t halves_of_e4m3(uint32_t codes) {
  const auto value = [&](int i) {
    return heed::to_float(e4m3{static_cast<uint8_t>(codes >> (kHigh ? 16 : 0) >> 8 * i)});
  };
  return pack_halves(value(0), value(1));
}

inline float exp2(float x) { return std::exp2(x); }
inline void threads_sync(int id, int threads) { emulated::sync(id, threads); }

}  // namespace heed::cuda::ptx
