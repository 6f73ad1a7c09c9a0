#include "server/request_target.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace heed::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The number of continuation bytes that a lead byte calls for; -1 where it cannot lead.
int continuation_bytes(unsigned char lead) {
  if (lead < 0x80) return 0;
  if (lead >= 0xC2 && lead <= 0xDF) return 1;
  if (lead >= 0xE0 && lead <= 0xEF) return 2;
  if (lead >= 0xF0 && lead <= 0xF4) return 3;
  return -1;
}

// The second byte tells overlong forms, surrogates and what lies beyond U+10FFFF from the rest.
bool second_byte_fits(unsigned char lead, unsigned char second) {
  if (lead == 0xE0) return second >= 0xA0;
  if (lead == 0xED) return second <= 0x9F;
  if (lead == 0xF0) return second >= 0x90;
  if (lead == 0xF4) return second <= 0x8F;
  return true;
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const int count = continuation_bytes(lead);
    if (count < 0 || text.size() - i <= static_cast<size_t>(count)) return false;
    for (int k = 1; k <= count; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    if (count > 0 && !second_byte_fits(lead, static_cast<unsigned char>(text[i + 1]))) return false;
    i += count + 1;
  }
  return true;
}

Result<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) return invalid("the path has a '%' that is not followed by two hexadecimal digits");
    const int byte = high * 16 + low;
    if (byte < 0x20 || byte == 0x7F) return invalid("the path has an escaped control character");
    decoded += static_cast<char>(byte);
    i += 2;
  }
  if (!is_utf8(decoded)) return invalid("the path's escapes are not UTF-8");
  return decoded;
}

Result<std::string> without_dots(std::string_view path) {
  std::vector<std::string_view> kept;
  for (size_t begin = 1; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    begin = end + 1;
    if (segment.empty() || segment == ".") continue;
    if (segment != "..") {
      kept.push_back(segment);
      continue;
    }
    if (kept.empty()) return invalid("the path climbs above the root");
    kept.pop_back();
  }
  std::string joined;
  for (const std::string_view segment : kept) joined.append("/").append(segment);
  return joined.empty() ? std::string("/") : joined;
}

// Takes "http://authority" off the front of an absolute form.
std::string_view take_authority(std::string_view& target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    const bool matches = target.size() >= scheme.size() &&
                         std::equal(scheme.begin(), scheme.end(), target.begin(), [](char wanted, char c) {
                           return wanted == (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
                         });
    if (!matches) continue;
    target.remove_prefix(scheme.size());
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    const std::string_view authority = target.substr(0, end);
    target.remove_prefix(end);
    return authority;
  }
  return {};
}

}  // namespace

Result<RequestTarget> read_target(std::string_view target) {
  for (const char c : target) {
    if (c <= 0x20 || c >= 0x7F) return invalid("the request target has a byte that must be percent-encoded");
    if (c == '#') return invalid("the request target has a fragment ('#')");
  }
  RequestTarget read;
  const bool origin_form = target.starts_with('/');
  if (!origin_form) {
    read.authority = take_authority(target);
    if (read.authority.empty()) return invalid("the request target must begin with '/' or 'http://'");
  }
  const size_t question = std::min(target.find('?'), target.size());
  if (question < target.size()) read.query = target.substr(question + 1);
  std::string_view raw = target.substr(0, question);
  if (raw.empty()) raw = "/";
  const std::string decoded = TRY(percent_decoded(raw));
  Result<std::string> path = without_dots(decoded);
  if (!path.ok()) return std::move(path).error();
  read.path = std::move(path).value();
  return read;
}

}  // namespace heed::http
