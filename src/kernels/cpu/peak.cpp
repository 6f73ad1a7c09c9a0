#include "kernels/cpu/peak.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "tensor/tensor.h"
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/isa/tile_shapes.h"
#endif

namespace heed {
namespace {

constexpr int64_t kRounds = 20'000'000;
constexpr int kChains = 12;  // more than latency times throughput of any core

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint64_t read_baseline(const char* p, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 64 <= bytes; i += 64) {
    uint64_t words[8];
    std::memcpy(words, p + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] |= words[j];
  }
  return sums[0] | sums[1] | sums[2] | sums[3] | sums[4] | sums[5] | sums[6] | sums[7];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t read_avx2(const char* p, int64_t bytes) {
  __m256i sums[8] = {};
  for (int64_t i = 0; i + 256 <= bytes; i += 256) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j)
      sums[j] =
          _mm256_or_si256(sums[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i + 32 * j)));
  }
  for (int j = 1; j < 8; ++j) sums[0] = _mm256_or_si256(sums[0], sums[j]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 0) | _mm256_extract_epi64(sums[0], 2));
}
#endif

uint64_t read_all(const char* p, int64_t bytes) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return read_avx2(p, bytes);
#endif
  return read_baseline(p, bytes);
}

// Each runs kRounds * kChains instructions and returns floating-point operations done.
double fma_baseline() {
  using Floats = float __attribute__((vector_size(16)));
  Floats sums[kChains] = {};
  for (Floats& sum : sums) asm volatile("" : "+x"(sum));  // unknown, or equal sums become one
  Floats x = {1, 1, 1, 1};
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+x"(x));
#pragma GCC unroll 12
    for (Floats& sum : sums) sum = sum + x * x;
  }
  for (Floats& sum : sums) asm volatile("" ::"x"(sum));
  return 2.0 * 4 * kRounds * kChains;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) double fma_avx2() {
  __m256 sums[kChains] = {};
  for (__m256& sum : sums) asm volatile("" : "+x"(sum));
  __m256 x = _mm256_set1_ps(1);
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+x"(x));
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(x, x, sum);
  }
  for (__m256& sum : sums) asm volatile("" ::"x"(sum));
  return 2.0 * 8 * kRounds * kChains;
}

__attribute__((target("avx512f"))) double fma_avx512() {
  __m512 sums[kChains] = {};
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  __m512 x = _mm512_set1_ps(1);
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+v"(x));
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(x, x, sum);
  }
  for (__m512& sum : sums) asm volatile("" ::"v"(sum));
  return 2.0 * 16 * kRounds * kChains;
}

__attribute__((target("avx512f,avx512bf16"))) double pairs_avx512() {
  __m512 sums[kChains] = {};
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  __m512i x = _mm512_set1_epi16(0x3f80);
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+v"(x));
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)x);
  }
  for (__m512& sum : sums) asm volatile("" ::"v"(sum));
  return 2.0 * 32 * kRounds * kChains;
}

__attribute__((target("avx512f,avx512vnni"))) double int8_avx512() {
  __m512i sums[kChains] = {};
  for (__m512i& sum : sums) asm volatile("" : "+v"(sum));
  __m512i x = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+v"(x));
#pragma GCC unroll 12
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, x, x);
  }
  for (__m512i& sum : sums) asm volatile("" ::"v"(sum));
  return 2.0 * 64 * kRounds * kChains;
}

// Three instructions for what the one above does.
__attribute__((target("avx2"))) double int8_avx2() {
  __m256i sums[kChains] = {};
  for (__m256i& sum : sums) asm volatile("" : "+x"(sum));
  __m256i x = _mm256_set1_epi8(1);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(x));  // or the product would be the same for all
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), ones));
    }
  }
  for (__m256i& sum : sums) asm volatile("" ::"x"(sum));
  return 2.0 * 32 * kRounds * kChains;
}

// Four products of 16 x 16 x 32 at a time, with the loads of their operands from the nearest cache.
__attribute__((target("amx-tile,amx-bf16"))) double tiles_amx() {
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) shapes.set(i, 16, 64);
  load_shapes(shapes);
  alignas(64) char operands[4096] = {};
  asm volatile("" ::"r"(operands) : "memory");
  const int64_t rounds = kRounds / 10;
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_loadd(4, operands, 64);
    _tile_loadd(5, operands + 1024, 64);
    _tile_loadd(6, operands + 2048, 64);
    _tile_loadd(7, operands + 3072, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return 2.0 * 4 * 16 * 16 * 32 * static_cast<double>(rounds);
}
#endif

using Loop = double (*)();

Loop loop_for(std::string_view isa, Peak peak) {
#if defined(__x86_64__)
  const bool tiles = isa == "avx512-amx";
  const bool pairs = isa == "avx512-bf16";
  if (peak == Peak::kBfloat16 && tiles) return tiles_amx;
  if (peak == Peak::kBfloat16 && pairs) return pairs_avx512;
  if (peak == Peak::kInt8 && (tiles || pairs || isa == "avx512-vnni")) return int8_avx512;
  if (peak == Peak::kInt8 && (isa == "avx512" || isa == "avx2")) return int8_avx2;
  if (isa.starts_with("avx512")) return fma_avx512;
  if (isa == "avx2") return fma_avx2;
#endif
  (void)isa;
  (void)peak;
  return fma_baseline;
}

// The middle of a few rounds: the best one would be what a shared machine does not keep up.
constexpr int kMeasured = 5;
template <class Round>
double median_rate(Round round) {
  std::array<double, kMeasured> rates;
  for (double& rate : rates) {
    const double start = seconds();
    const double done = round();
    rate = done / (seconds() - start);
  }
  std::nth_element(rates.begin(), rates.begin() + kMeasured / 2, rates.end());
  return rates[kMeasured / 2];
}

}  // namespace

double read_bandwidth(ThreadPool& pool) {
  const int64_t bytes = int64_t{1} << 30;
  const Buffer memory(bytes);
  std::memset(memory.data(), 1, static_cast<size_t>(bytes));
  return median_rate([&] {
    std::atomic<uint64_t> sink{0};
    pool.parallel_for(bytes, 1, [&](int64_t begin, int64_t end) {
      sink |= read_all(static_cast<const char*>(memory.data()) + begin, end - begin);
    });
    return static_cast<double>(bytes);
  });
}

double peak_rate(ThreadPool& pool, std::string_view isa, Peak peak) {
  return median_rate([&] {
    std::atomic<double> done{0};
    pool.parallel_for(pool.size(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) done.fetch_add(loop_for(isa, peak)());
    });
    return done.load();
  });
}

}  // namespace heed
