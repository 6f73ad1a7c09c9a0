#include "text/byte_tokens.h"

namespace heed {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::array<int, 256> byte_token_ids(const Vocabulary& vocabulary) {
  std::array<int, 256> ids{};
  for (size_t byte = 0; byte < ids.size(); ++byte) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    const std::string token = {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
    ids[byte] = vocabulary.find(token).value_or(-1);
  }
  return ids;
}

std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return {};
  // The reference reads the digits as Rust's from_str_radix does, to which "+A" is a number.
  const int high = token[3] == '+' ? 0 : hex_digit(token[3]);
  const int low = hex_digit(token[4]);
  if (high < 0 || low < 0) return {};
  return static_cast<char>(high << 4 | low);
}

}  // namespace heed
