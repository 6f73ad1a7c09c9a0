// How a kernel reads each format of weights in blocks (tensor/blocks.h): kLanes rows of weights at a time.
//
// A format says: kSpan, elements that are read together, of kBlock in a block of kBytes; kGroup, elements
// that share a scale; kBias, by how much stored codes are too high; kLargest, what they are at most; kWide,
// for dot_wide, of any size; kOffsets. scales() reads those of the `groups` groups from element `at` on, a
// multiple of 256; codes() the words of kSpan elements.
#pragma once
#include "kernels/cpu/isa/codes.h"

namespace heed {
namespace {

constexpr int kSuperBlock = 256;  // elements whose scales are read together

struct ChunkScales {
  alignas(64) float scales[kSuperBlock / 16][kLanes];
  alignas(64) float offsets[kSuperBlock / 16][kLanes];
};

template <int kElements, int kSize, int kShared, int kTogether>
struct BlockFormat {
  static constexpr int kBlock = kElements, kBytes = kSize, kGroup = kShared, kSpan = kTogether;
  static constexpr int kBias = 0, kLargest = 15;
  static constexpr bool kWide = false, kOffsets = false;
  static constexpr HEED_INLINE int64_t place(int64_t at) { return at / kBlock * kBytes; }
};

// Blocks of 32 that begin with an f16 scale and, with kHasOffset, an f16 offset.
template <int kSize, bool kHasOffset>
struct SmallBlock : BlockFormat<32, kSize, 32, 32> {
  static constexpr bool kOffsets = kHasOffset;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int groups, ChunkScales& out) {
    for (int g = 0; g < groups; ++g) {
      const Bytes both = words(r, (at / 32 + g) * kSize);
      store(out.scales[g], halves(both));
      if constexpr (kHasOffset) store(out.offsets[g], halves(down(both, 16)));
    }
  }
};

HEED_INLINE void nibble_words(const BlockRows& r, int64_t at, Bytes* out) {
  Bytes q[4];
  pieces(r, at, q);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    out[j] = low_nibbles(q[j]);
    out[4 + j] = high_nibbles(q[j]);
  }
}

struct Q80 : SmallBlock<34, false> {
  static constexpr int kBias = kWideBias;
  static constexpr bool kWide = true;
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    pieces(r, place(at) + 2, out);
    pieces(r, place(at) + 18, out + 4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) out[j] = wide(out[j]);
  }
};

struct Q40 : SmallBlock<18, false> {
  static constexpr int kBias = 8;
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    nibble_words(r, place(at) + 2, out);
  }
};

struct Q41 : SmallBlock<20, true> {
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    nibble_words(r, place(at) + 4, out);
  }
};

// Nibbles at `at`, and the 32 fifth bits before them.
HEED_INLINE void five_bit_words(const BlockRows& r, int64_t at, Bytes* out) {
  const Bytes fifth = words(r, at - 4);
  nibble_words(r, at, out);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) out[j] = out[j] | up(spread(down(fifth, 4 * j)), 4);
}

struct Q50 : SmallBlock<22, false> {
  static constexpr int kBias = 16, kLargest = 31;
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    five_bit_words(r, place(at) + 6, out);
  }
};

struct Q51 : SmallBlock<24, true> {
  static constexpr int kLargest = 31;
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    five_bit_words(r, place(at) + 8, out);
  }
};

alignas(16) constexpr int8_t kIq4Table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};
struct Iq4Nl : SmallBlock<18, false> {
  static constexpr int kBias = kWideBias;
  static constexpr bool kWide = true;
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    nibble_words(r, place(at) + 2, out);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) out[j] = wide(look_up(kIq4Table, out[j]));
  }
};

// Halves of E2M1, 12 too high; the scale is 2^(byte - 128) in two factors that are normal numbers.
alignas(16) constexpr int8_t kFp4Table[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
struct Mxfp4 : BlockFormat<32, 17, 32, 32> {
  static constexpr int kBias = 12, kLargest = 24;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int groups, ChunkScales& out) {
    for (int g = 0; g < groups; ++g) {
      const Bytes power = words(r, (at / 32 + g) * kBytes) & same(255);
      store(out.scales[g], scaled(set(1), floats(power) - set(128)));
    }
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    nibble_words(r, place(at) + 1, out);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) out[j] = look_up(kFp4Table, out[j]);
  }
};

struct Q4Z : BlockFormat<32, 19, 32, 32> {
  static constexpr bool kOffsets = true;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int groups, ChunkScales& out) {
    for (int g = 0; g < groups; ++g) {
      const Bytes both = words(r, (at / 32 + g) * kBytes);
      const Vec scale = halves(both);
      store(out.scales[g], scale);
      store(out.offsets[g], (set(0) - byte_of(both, 2)) * scale);
    }
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    nibble_words(r, place(at) + 3, out);
  }
};

struct Q8F : BlockFormat<32, 36, 32, 32> {
  static constexpr int kBias = kWideBias;
  static constexpr bool kWide = true;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int groups, ChunkScales& out) {
    for (int g = 0; g < groups; ++g) store(out.scales[g], as_floats(words(r, (at / 32 + g) * kBytes)));
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    pieces(r, place(at) + 4, out);
    pieces(r, place(at) + 20, out + 4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) out[j] = wide(out[j]);
  }
};

struct Q8Z : BlockFormat<32, 35, 32, 32> {
  static constexpr int kBias = kWideBias;
  static constexpr bool kWide = true, kOffsets = true;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int groups, ChunkScales& out) {
    for (int g = 0; g < groups; ++g) {
      const Bytes both = words(r, (at / 32 + g) * kBytes);
      const Vec scale = halves(both);
      store(out.scales[g], scale);
      store(out.offsets[g], (set(128) - byte_of(both, 2)) * scale);
    }
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    pieces(r, place(at) + 3, out);
    pieces(r, place(at) + 19, out + 4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) out[j] = wide(out[j]);
  }
};

// The 6-bit scales and offsets of Q4_K and Q5_K, whose blocks begin with 16 bytes of scales.
HEED_INLINE void six_bit_scales(const BlockRows& r, int64_t block, ChunkScales& out) {
  Bytes w[4];
  pieces(r, block, w);
  const Vec scale = halves(w[0]);
  const Vec offset = set(0) - halves(down(w[0], 16));
  const Bytes six = same(0x3f3f3f3fU);
  const Bytes two = same(0x30303030U);
  const Bytes whole[2] = {w[1] & six, low_nibbles(w[3]) | (down(w[1], 2) & two)};
  const Bytes least[2] = {w[2] & six, high_nibbles(w[3]) | (down(w[2], 2) & two)};
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) {
    store(out.scales[g], scale * byte_of(whole[g / 4], g % 4));
    store(out.offsets[g], offset * byte_of(least[g / 4], g % 4));
  }
}

struct Q4K : BlockFormat<256, 144, 32, 64> {
  static constexpr bool kOffsets = true;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int /*groups*/, ChunkScales& out) {
    six_bit_scales(r, place(at), out);
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    Bytes q[8];
    const int64_t bytes = place(at) + 16 + at % 256 / 64 * 32;
    pieces(r, bytes, q);
    pieces(r, bytes + 16, q + 4);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      out[j] = low_nibbles(q[j]);
      out[8 + j] = high_nibbles(q[j]);
    }
  }
};

struct Q5K : BlockFormat<256, 176, 32, 64> {
  static constexpr int kLargest = 31;
  static constexpr bool kOffsets = true;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int /*groups*/, ChunkScales& out) {
    six_bit_scales(r, place(at), out);
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    Bytes q[8];
    Bytes h[8];
    const int64_t block = place(at);
    const int first = static_cast<int>(at % 256 / 32);
    pieces(r, block + 16, h);
    pieces(r, block + 32, h + 4);
    pieces(r, block + 48 + first * 16, q);
    pieces(r, block + 64 + first * 16, q + 4);
    const Bytes bit = same(0x01010101U);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      out[j] = low_nibbles(q[j]) | up(down(h[j], first) & bit, 4);
      out[8 + j] = high_nibbles(q[j]) | up(down(h[j], first + 1) & bit, 4);
    }
  }
};

// Four runs of 32 elements in pairs of bits of 32 bytes at `at`.
HEED_INLINE void two_bit_words(const BlockRows& r, int64_t at, Bytes* out) {
  Bytes q[8];
  pieces(r, at, q);
  pieces(r, at + 16, q + 4);
#pragma GCC unroll 4
  for (int run = 0; run < 4; ++run) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) out[8 * run + j] = down(q[j], 2 * run) & same(0x03030303U);
  }
}

struct Q2K : BlockFormat<256, 84, 16, 128> {
  static constexpr int kLargest = 3;
  static constexpr bool kOffsets = true;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int /*groups*/, ChunkScales& out) {
    Bytes w[4];
    pieces(r, place(at), w);
    const Bytes both = words(r, place(at) + 80);
    const Vec scale = halves(both);
    const Vec offset = set(0) - halves(down(both, 16));
#pragma GCC unroll 16
    for (int g = 0; g < 16; ++g) {
      store(out.scales[g], scale * byte_of(low_nibbles(w[g / 4]), g % 4));
      store(out.offsets[g], offset * byte_of(high_nibbles(w[g / 4]), g % 4));
    }
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    two_bit_words(r, place(at) + 16 + at % 256 / 4, out);
  }
};

struct Q3K : BlockFormat<256, 110, 16, 128> {
  static constexpr int kBias = 4, kLargest = 7;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int /*groups*/, ChunkScales& out) {
    const int64_t block = place(at);
    const Bytes first = words(r, block + 96);
    const Bytes second = words(r, block + 100);
    const Bytes high = words(r, block + 104);
    const Vec scale = halves(down(words(r, block + 106), 16));
    const Bytes low[4] = {low_nibbles(first), low_nibbles(second), high_nibbles(first), high_nibbles(second)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Bytes six = low[i] | up(down(high, 2 * i) & same(0x03030303U), 4);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) store(out.scales[4 * i + j], scale * (byte_of(six, j) - set(32)));
    }
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    Bytes h[8];
    const int64_t block = place(at);
    const int first = static_cast<int>(at % 256 / 32);
    two_bit_words(r, block + 32 + first * 8, out);
    pieces(r, block, h);
    pieces(r, block + 16, h + 4);
    for (int run = 0; run < 4; ++run) {
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        out[8 * run + j] = out[8 * run + j] | up(down(h[j], first + run) & same(0x01010101U), 2);
      }
    }
  }
};

struct Q6K : BlockFormat<256, 210, 16, 128> {
  static constexpr int kBias = 32, kLargest = 63;
  static HEED_INLINE void scales(const BlockRows& r, int64_t at, int /*groups*/, ChunkScales& out) {
    Bytes w[4];
    pieces(r, place(at) + 192, w);
    const Vec scale = halves(down(words(r, place(at) + 206), 16));
#pragma GCC unroll 16
    for (int g = 0; g < 16; ++g) {  // a signed byte, counted from -128
      store(out.scales[g], scale * (byte_of(w[g / 4] ^ same(0x80808080U), g % 4) - set(128)));
    }
  }
  static HEED_INLINE void codes(const BlockRows& r, int64_t at, Bytes* out) {
    const int64_t block = place(at);
    const int64_t run = at % 256 / 128;
    const Bytes two = same(0x30303030U);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {  // 16 elements of each run of 32
      Bytes q[8];
      Bytes h[4];
      pieces(r, block + run * 64 + 16 * half, q);
      pieces(r, block + run * 64 + 32 + 16 * half, q + 4);
      pieces(r, block + 128 + run * 32 + 16 * half, h);
      Bytes* to = out + 4 * half;
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        to[j] = low_nibbles(q[j]) | (up(h[j], 4) & two);
        to[8 + j] = low_nibbles(q[4 + j]) | (up(h[j], 2) & two);
        to[16 + j] = high_nibbles(q[j]) | (h[j] & two);
        to[24 + j] = high_nibbles(q[4 + j]) | (down(h[j], 2) & two);
      }
    }
  }
};

}  // namespace
}  // namespace heed
