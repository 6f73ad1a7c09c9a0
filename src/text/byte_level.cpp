#include "text/byte_level.h"

#include <array>

#include "text/unicode.h"

namespace heed {
namespace {

constexpr bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr int kAlphabetEnd = 0x100 + 68;

constexpr std::array<char32_t, 256> kCharacterOf = [] {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[static_cast<size_t>(byte)] = stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return table;
}();

constexpr std::array<int, kAlphabetEnd> kByteOf = [] {
  std::array<int, kAlphabetEnd> table{};
  table.fill(-1);
  for (int byte = 0; byte < 256; ++byte) table[kCharacterOf[static_cast<size_t>(byte)]] = byte;
  return table;
}();

}  // namespace

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) append_utf8(out, kCharacterOf[static_cast<unsigned char>(byte)]);
}

std::optional<std::string> bytes_of_token(std::string_view token) {
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const CodePoint c = code_point_at(token, i);
    if (c.value >= static_cast<char32_t>(kAlphabetEnd) || kByteOf[c.value] < 0) return {};
    bytes += static_cast<char>(kByteOf[c.value]);
    i += c.length;
  }
  return bytes;
}

}  // namespace heed
