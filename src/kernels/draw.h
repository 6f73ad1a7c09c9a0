// The random numbers by which tokens are drawn, the same wherever that is done: a number depends on the seed,
// the position and the token only.
//
// Every token in question arrives after an exponential time of rate `weight`, -log(u) / weight with a u of
// its own; the first one is drawn, with probability weight / total. Ties go to the smaller id.
#pragma once
#include <cstdint>

namespace heed {

// A round of splitmix64.
constexpr uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

constexpr uint64_t draw_key(uint64_t seed, uint64_t position) {
  return mixed(seed * 0x9e3779b97f4a7c15ULL + position + 0x632be59bd9b4e019ULL);
}

// In (0, 1).
constexpr double draw_number(uint64_t key, int token) {
  const uint64_t bits = mixed(key + static_cast<uint64_t>(token));
  return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
}

}  // namespace heed
