// SipHash-2-4 with 128 bits of output: a keyed hash that nobody without the key can collide.
// Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012); the 128-bit variant of the
// authors' reference implementation.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>

namespace heed {

struct Hash128 {
  uint64_t low = 0, high = 0;
  auto operator<=>(const Hash128&) const = default;
};

Hash128 siphash(const Hash128& key, std::span<const std::byte> bytes);

// A key from the operating system's random source.
Hash128 random_key();

}  // namespace heed
