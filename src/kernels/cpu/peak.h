// What this machine can do at best, measured, medians of five rounds: the floor that times are compared with.
#pragma once
#include <string_view>

#include "base/thread_pool.h"

namespace heed {

// Bytes a second of reading memory that no cache holds, with all threads of the pool.
double read_bandwidth(ThreadPool& pool);

// Multiplications and additions a second in registers on all threads, with the best instructions that kernels
// of the instruction set ("avx2", "avx512-amx", ...) have for it.
enum class Peak : unsigned char { kFloat32, kBfloat16, kInt8 };
double peak_rate(ThreadPool& pool, std::string_view isa, Peak peak);

}  // namespace heed
