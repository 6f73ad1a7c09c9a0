#include "base/siphash.h"

#include <gtest/gtest.h>

#include <vector>

namespace heed {
namespace {

// Vectors of the authors' reference implementation: key 00 01 .. 0f, input 00 01 .. (n - 1).
TEST(SipHash, gives_the_published_vectors) {
  const Hash128 key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  const auto hash = [&](int n) {
    std::vector<std::byte> input;
    for (int i = 0; i < n; ++i) input.push_back(static_cast<std::byte>(i));
    return siphash(key, input);
  };
  EXPECT_EQ(hash(0), (Hash128{0xe6a825ba047f81a3ULL, 0x930255c71472f66dULL}));
  EXPECT_EQ(hash(1), (Hash128{0x44af996bd8c187daULL, 0x45fc229b11597634ULL}));
  EXPECT_EQ(hash(15), (Hash128{0x11a8b03399e99354ULL, 0xd9c3cf970fec087eULL}));
}

TEST(SipHash, another_key_gives_another_hash) {
  const std::byte input[] = {std::byte{1}};
  EXPECT_NE(siphash({1, 2}, input), siphash({1, 3}, input));
  EXPECT_NE(random_key(), random_key());
}

}  // namespace
}  // namespace heed
