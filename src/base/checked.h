// Arithmetic on sizes that come from a file or a request: the result, or nothing where it would overflow.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

namespace heed {

inline std::optional<int64_t> checked_add(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? std::nullopt : std::optional<int64_t>(sum);
}

inline std::optional<int64_t> checked_mul(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::nullopt : std::optional<int64_t>(product);
}

// The product of all factors (1 for none); nothing if a factor is negative or the product overflows.
inline std::optional<int64_t> checked_product(std::span<const int64_t> factors) {
  std::optional<int64_t> product = 1;
  for (const int64_t factor : factors) {
    if (factor < 0) return std::nullopt;
    if (product) product = checked_mul(*product, factor);
    if (factor == 0) return 0;
  }
  return product;
}

inline int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t multiple) { return div_up(a, multiple) * multiple; }

}  // namespace heed
