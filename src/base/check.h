// CHECK: our own invariants, always on. Input from outside never reaches a CHECK; it becomes a Result
// (result.h).
//   CHECK(a == b, a, b)   prints the expression, the values and the place, then aborts.
//   DCHECK                the same in Debug builds only, for conditions that are too costly to test always.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>

namespace heed::detail {
template <class... Values>
[[noreturn]] void check_failed(const char* file, int line, const char* what, const Values&... values) {
  std::ostringstream out;
  out << file << ":" << line << ": CHECK failed: " << what;
  ((out << " | " << values), ...);
  std::cerr << out.str() << std::endl;
  std::abort();
}
}  // namespace heed::detail

#define CHECK(condition, ...)                                                                  \
  do {                                                                                         \
    if (!(condition)) [[unlikely]]                                                             \
      ::heed::detail::check_failed(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__); \
  } while (0)

#ifdef NDEBUG
#define DCHECK(condition, ...) \
  do {                         \
  } while (0)
#else
#define DCHECK(condition, ...) CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif
