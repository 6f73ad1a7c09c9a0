#include "text/charsmap.h"

#include "text/unicode.h"

namespace heed {
namespace {

// The fields of a unit of the double array.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t label_of(uint32_t unit) { return unit & (1U << 31 | 0xFF); }
uint32_t offset_of(uint32_t unit) { return unit >> 10 << ((unit & 1U << 9) >> 6); }

uint32_t read_uint32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i)
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return value;
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

}  // namespace

Result<Charsmap> Charsmap::from_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return invalid("precompiled_charsmap is not base64");
    bits = bits << 6 | static_cast<uint32_t>(digit);
    num_bits += 6;
    if (num_bits >= 8) {
      num_bits -= 8;
      bytes += static_cast<char>(bits >> num_bits & 0xFF);
    }
  }
  return from_bytes(bytes);
}

Result<Charsmap> Charsmap::from_bytes(std::string_view bytes) {
  Charsmap map;
  if (bytes.empty()) return map;
  if (bytes.size() < 4) return invalid("precompiled_charsmap is cut off");
  const uint32_t trie_bytes = read_uint32(bytes, 0);
  if (trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4) {
    return invalid("precompiled_charsmap: a trie of " + std::to_string(trie_bytes) + " bytes in " +
                   std::to_string(bytes.size()));
  }
  for (size_t at = 4; at < 4 + size_t{trie_bytes}; at += 4) map.trie_.push_back(read_uint32(bytes, at));
  map.pool_ = bytes.substr(4 + size_t{trie_bytes});
  if (!is_valid_utf8(map.pool_)) return invalid("precompiled_charsmap: replacements that are not UTF-8");
  return map;
}

// That of the shortest prefix of `piece` in the trie.
std::optional<std::string_view> Charsmap::replacement(std::string_view piece) const {
  if (trie_.empty()) return {};
  uint32_t node = offset_of(trie_[0]);
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) return {};
    node ^= byte;
    if (node >= trie_.size() || label_of(trie_[node]) != byte) return {};
    const uint32_t unit = trie_[node];
    node ^= offset_of(unit);
    if (node >= trie_.size()) return {};
    if (has_leaf(unit)) {
      const uint32_t begin = value_of(trie_[node]);
      if (begin >= pool_.size()) return {};
      const size_t end = pool_.find('\0', begin);
      return std::string_view(pool_).substr(begin, end == std::string::npos ? end : end - begin);
    }
  }
  return {};
}

std::string Charsmap::normalize(std::string_view text) const {
  constexpr size_t kLongestWholeGrapheme = 5;
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t end = grapheme_end(text, i);
    const std::string_view grapheme = text.substr(i, end - i);
    i = end;
    if (grapheme.size() <= kLongestWholeGrapheme) {
      if (const auto whole = replacement(grapheme)) {
        out += *whole;
        continue;
      }
    }
    for (size_t k = 0; k < grapheme.size();) {
      const std::string_view character = grapheme.substr(k, code_point_at(grapheme, k).length);
      out += replacement(character).value_or(character);
      k += character.size();
    }
  }
  return out;
}

}  // namespace heed
