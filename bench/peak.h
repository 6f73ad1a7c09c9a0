// What this machine can do at best, measured: the floor that ops are compared with.
#pragma once
#include <string_view>

#include "base/thread_pool.h"

namespace heed::bench {

double seconds();

// Bytes a second of reading memory that no cache holds, with all threads of the pool.
double read_bandwidth(ThreadPool& pool);

// Multiplications and additions a second in registers on all threads: float32 FMAs of the widest kind that
// the instruction set ("avx2", "avx512", ...) has, or its bf16 dot products where `bf16_pairs`.
double peak_flops(ThreadPool& pool, std::string_view isa, bool bf16_pairs);

}  // namespace heed::bench
