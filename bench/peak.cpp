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

uint64_t read_all(const char* p, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 64 <= bytes; i += 64) {
    uint64_t words[8];
    std::memcpy(words, p + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] |= words[j];
  }
  return sums[0] | sums[1] | sums[2] | sums[3] | sums[4] | sums[5] | sums[6] | sums[7];
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
#endif

auto loop_for(std::string_view isa, bool bf16_pairs) {
#if defined(__x86_64__)
  if (isa == "avx512-bf16") return bf16_pairs ? pairs_avx512 : fma_avx512;
  if (isa == "avx512") return fma_avx512;
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
