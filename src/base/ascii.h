// Characters of ASCII by their codes, whatever the locale; bytes beyond ASCII are none of them.
#pragma once
#include <string>
#include <string_view>

namespace heed {

constexpr bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// Headers and their like are compared in lower case.
inline std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace heed
