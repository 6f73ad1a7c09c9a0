#include "fetch/data_url.h"

#include <algorithm>
#include <array>

namespace heed {
namespace {

constexpr int kBlank = 64, kWrong = 65;  // beside the 64 digits

constexpr std::array<uint8_t, 256> make_digits() {
  std::array<uint8_t, 256> digits = {};
  digits.fill(kWrong);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<uint8_t>(i);
  }
  for (const char c : std::string_view(" \t\n\r\f")) digits[static_cast<unsigned char>(c)] = kBlank;
  return digits;
}
constexpr std::array<uint8_t, 256> kDigits = make_digits();

bool is_blank(char c) { return kDigits[static_cast<unsigned char>(c)] == kBlank; }
char lower(char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool ends_with_base64(std::string_view& type) {
  constexpr std::string_view kMark = ";base64";
  if (type.size() < kMark.size()) return false;
  const std::string_view end = type.substr(type.size() - kMark.size());
  return std::equal(end.begin(), end.end(), kMark.begin(), [](char a, char b) { return lower(a) == b; });
}

// Letters of base64 that end in nothing, "=" or "==", as their number wants it.
Result<std::string> base64_decoded(std::string_view text) {
  const Error wrong = invalid("the data: URL is not base64");
  size_t num_digits = 0, num_padding = 0;
  std::string bytes(text.size() / 4 * 3 + 3, '\0');
  char* out = bytes.data();
  uint32_t group = 0;
  for (const char c : text) {
    const uint8_t digit = kDigits[static_cast<unsigned char>(c)];
    if (digit == kBlank) continue;
    if (c == '=') {
      ++num_padding;
      continue;
    }
    if (digit == kWrong || num_padding > 0) return wrong;
    group = group << 6 | digit;
    if (++num_digits % 4 != 0) continue;
    *out++ = static_cast<char>(group >> 16 & 255);
    *out++ = static_cast<char>(group >> 8 & 255);
    *out++ = static_cast<char>(group & 255);
    group = 0;
  }
  const size_t left = num_digits % 4;
  if (left == 1 || num_padding > 2) return wrong;
  if (num_padding > 0 && (num_digits + num_padding) % 4 != 0) return wrong;
  if (left >= 2) *out++ = static_cast<char>(group >> (6 * left - 8) & 255);
  if (left == 3) *out++ = static_cast<char>(group >> 2 & 255);
  bytes.resize(static_cast<size_t>(out - bytes.data()));
  return bytes;
}

}  // namespace

bool has_scheme(std::string_view reference, std::string_view scheme) {
  return reference.size() > scheme.size() && reference[scheme.size()] == ':' &&
         std::equal(scheme.begin(), scheme.end(), reference.begin(),
                    [](char a, char b) { return a == lower(b); });
}

Result<std::string> percent_decoded(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      bytes += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return invalid("\"%\" must be followed by two hexadecimal digits in a URL");
    bytes += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return bytes;
}

Result<std::string> read_data_url(std::string_view reference, int64_t max_bytes) {
  const size_t comma = reference.find(',');
  if (!has_scheme(reference, "data") || comma == std::string_view::npos) {
    return invalid("a data: URL such as data:image/png;base64,iVBOR... is expected");
  }
  std::string_view type = reference.substr(0, comma), data = reference.substr(comma + 1);
  const bool is_base64 = ends_with_base64(type);
  std::string decoded;
  if (data.find('%') != std::string_view::npos) {
    decoded = TRY(percent_decoded(data));
    data = decoded;
  }
  const auto too_large = [&] {
    return limit_reached("the data: URL has more than " + std::to_string(max_bytes) + " bytes");
  };
  if (!is_base64) {
    if (static_cast<int64_t>(data.size()) > max_bytes) return too_large();
    return std::string(data);
  }
  const int64_t num_blanks = std::count_if(data.begin(), data.end(), is_blank);
  const int64_t num_padding = std::count(data.begin(), data.end(), '=');
  const int64_t num_digits = static_cast<int64_t>(data.size()) - num_blanks - num_padding;
  if (num_digits * 3 / 4 > max_bytes) return too_large();
  return base64_decoded(data);
}

}  // namespace heed
