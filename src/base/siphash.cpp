#include "base/siphash.h"

#include <bit>
#include <cstring>
#include <random>

namespace heed {
namespace {

struct State {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void rounds(int n) {
    for (int i = 0; i < n; ++i) round();
  }
  void absorb(uint64_t word) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  uint64_t digest() const { return v0 ^ v1 ^ v2 ^ v3; }
};

}  // namespace

Hash128 siphash(const Hash128& key, std::span<const std::byte> bytes) {
  State s{key.low ^ 0x736f6d6570736575ULL, key.high ^ 0x646f72616e646f6dULL ^ 0xee,
          key.low ^ 0x6c7967656e657261ULL, key.high ^ 0x7465646279746573ULL};
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    s.absorb(word);
  }
  uint64_t last = static_cast<uint64_t>(bytes.size()) << 56;
  for (size_t i = at; i < bytes.size(); ++i) last |= std::to_integer<uint64_t>(bytes[i]) << (8 * (i - at));
  s.absorb(last);
  s.v2 ^= 0xee;
  s.rounds(4);
  const uint64_t low = s.digest();
  s.v1 ^= 0xdd;
  s.rounds(4);
  return {low, s.digest()};
}

Hash128 random_key() {
  std::random_device source;
  const auto word = [&] { return (uint64_t{source()} << 32) | source(); };
  return {word(), word()};
}

}  // namespace heed
