#include "bench/peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "tensor/tensor.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace heed::bench {
namespace {

constexpr int64_t kRounds = 20'000'000;
constexpr int kChains = 12;  // more than latency times throughput of any core

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

// Four products of 16 x 16 x 32 at a time, with the loads of their operands from the nearest cache.
__attribute__((target("amx-tile,amx-bf16"))) double tiles_amx() {
  struct alignas(64) {
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  alignas(64) char operands[4096] = {};
  asm volatile("" ::"r"(&shapes), "r"(operands) : "memory");
  _tile_loadconfig(&shapes);
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

auto loop_for(std::string_view isa, bool bf16_pairs) {
#if defined(__x86_64__)
  if (isa == "avx512-amx" && bf16_pairs) return tiles_amx;
  if (isa == "avx512-bf16" && bf16_pairs) return pairs_avx512;
  if (isa.starts_with("avx512")) return fma_avx512;
  if (isa == "avx2") return fma_avx2;
#endif
  (void)isa;
  (void)bf16_pairs;
  return fma_baseline;
}

}  // namespace

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double read_bandwidth(ThreadPool& pool) {
  const int64_t bytes = int64_t{1} << 30;
  const Buffer memory(bytes);
  std::memset(memory.data(), 1, static_cast<size_t>(bytes));
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    std::atomic<uint64_t> sink{0};
    const double start = seconds();
    pool.parallel_for(bytes, 1, [&](int64_t begin, int64_t end) {
      sink |= read_all(static_cast<const char*>(memory.data()) + begin, end - begin);
    });
    best = std::max(best, static_cast<double>(bytes) / (seconds() - start));
  }
  return best;
}

double peak_flops(ThreadPool& pool, std::string_view isa, bool bf16_pairs) {
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    std::atomic<double> done{0};
    const double start = seconds();
    pool.parallel_for(pool.size(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) done.fetch_add(loop_for(isa, bf16_pairs)());
    });
    best = std::max(best, done.load() / (seconds() - start));
  }
  return best;
}

}  // namespace heed::bench
