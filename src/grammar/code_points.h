// Code points: sets of them, reading them from UTF-8, and the byte sequences that spell a range of them.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heed::grammar {

inline constexpr int32_t kLastCodePoint = 0x10FFFF;

struct CodePoints {  // lo and hi belong to it
  int32_t lo = 0;
  int32_t hi = 0;
  bool operator==(const CodePoints&) const = default;
};
using CodePointSet =
    std::vector<CodePoints>;  // once normalized: sorted, disjoint, not adjacent, no surrogates

CodePointSet normalized(CodePointSet ranges);
CodePointSet complement(const CodePointSet& ranges);  // of any ranges; the result is normalized

// The code point at text[at], which moves behind it; nothing (and `at` stays) where the bytes are not UTF-8.
std::optional<int32_t> next_code_point(std::string_view text, size_t& at);
// All code points of a text; nothing if it is not UTF-8.
std::optional<std::vector<int32_t>> code_points(std::string_view text);

// Bytes b with lo[i] <= b[i] <= hi[i] for each i < length.
struct ByteSequence {
  int length = 0;
  std::array<uint8_t, 6> lo{};
  std::array<uint8_t, 6> hi{};
};

// The UTF-8 of all code points of a range. At each place the byte ranges of two sequences with the same
// beginning are equal or disjoint, also over several disjoint ranges: they form a deterministic trie.
void append_utf8(CodePoints range, std::vector<ByteSequence>& sequences);

}  // namespace heed::grammar
