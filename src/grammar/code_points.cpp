#include "grammar/code_points.h"

#include <algorithm>

namespace heed::grammar {
namespace {

constexpr CodePoints kSurrogates = {0xD800, 0xDFFF};

CodePointSet merged(CodePointSet ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const CodePoints& a, const CodePoints& b) {
    return a.lo < b.lo || (a.lo == b.lo && a.hi < b.hi);
  });
  CodePointSet result;
  for (const CodePoints& range : ranges) {
    if (range.lo > range.hi) continue;
    if (!result.empty() && range.lo <= result.back().hi + 1) {
      result.back().hi = std::max(result.back().hi, range.hi);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

int encode(int32_t c, uint8_t* bytes) {
  if (c < 0x80) {
    bytes[0] = static_cast<uint8_t>(c);
    return 1;
  }
  const int length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = length - 1; i > 0; --i, c >>= 6) bytes[i] = static_cast<uint8_t>(0x80 | (c & 0x3F));
  constexpr std::array<int, 5> kLead = {0, 0, 0xC0, 0xE0, 0xF0};
  bytes[0] = static_cast<uint8_t>(kLead[static_cast<size_t>(length)] | c);
  return length;
}

// A range whose code points have encodings of one length: cut where the bytes after a place do not run from
// first to last.
void append_same_length(CodePoints range, std::vector<ByteSequence>& sequences) {
  for (int32_t mask = 0x3F; mask < 0x1000000 && range.hi >= 0x80; mask = mask << 6 | 0x3F) {
    if ((range.lo & ~mask) == (range.hi & ~mask)) break;
    if ((range.lo & mask) != 0) {
      append_same_length({range.lo, range.lo | mask}, sequences);
      append_same_length({(range.lo | mask) + 1, range.hi}, sequences);
      return;
    }
    if ((range.hi & mask) != mask) {
      append_same_length({range.lo, (range.hi & ~mask) - 1}, sequences);
      append_same_length({range.hi & ~mask, range.hi}, sequences);
      return;
    }
  }
  ByteSequence sequence;
  sequence.length = encode(range.lo, sequence.lo.data());
  encode(range.hi, sequence.hi.data());
  sequences.push_back(sequence);
}

}  // namespace

CodePointSet normalized(CodePointSet ranges) {
  CodePointSet result;
  for (const CodePoints& range : merged(std::move(ranges))) {
    const CodePoints below = {range.lo, std::min(range.hi, kSurrogates.lo - 1)};
    const CodePoints above = {std::max(range.lo, kSurrogates.hi + 1), std::min(range.hi, kLastCodePoint)};
    if (below.lo <= below.hi) result.push_back(below);
    if (above.lo <= above.hi) result.push_back(above);
  }
  return result;
}

CodePointSet complement(const CodePointSet& ranges) {
  CodePointSet result;
  int32_t next = 0;
  for (const CodePoints& range : merged(ranges)) {
    if (next < range.lo) result.push_back({next, range.lo - 1});
    next = std::max(next, range.hi + 1);
  }
  if (next <= kLastCodePoint) result.push_back({next, kLastCodePoint});
  return normalized(std::move(result));
}

std::optional<int32_t> next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const int lead = byte(at);
  if (at >= text.size()) return std::nullopt;
  if (lead < 0x80) {
    ++at;
    return lead;
  }
  const int length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return std::nullopt;
  int32_t c = lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    const int next = byte(at + static_cast<size_t>(i));
    if ((next & 0xC0) != 0x80) return std::nullopt;
    c = c << 6 | (next & 0x3F);
  }
  const int32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  if (c < least || c > kLastCodePoint || (c >= kSurrogates.lo && c <= kSurrogates.hi)) return std::nullopt;
  at += static_cast<size_t>(length);
  return c;
}

std::optional<std::vector<int32_t>> code_points(std::string_view text) {
  std::vector<int32_t> result;
  for (size_t at = 0; at < text.size();) {
    const std::optional<int32_t> c = next_code_point(text, at);
    if (!c) return std::nullopt;
    result.push_back(*c);
  }
  return result;
}

void append_utf8(CodePoints range, std::vector<ByteSequence>& sequences) {
  constexpr std::array<CodePoints, 5> kLengths = {
      {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, kLastCodePoint}}};
  for (const CodePoints& same : kLengths) {
    const CodePoints part = {std::max(range.lo, same.lo), std::min(range.hi, same.hi)};
    if (part.lo <= part.hi) append_same_length(part, sequences);
  }
}

}  // namespace heed::grammar
