#include "server/keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

#include "base/ascii.h"

namespace heed::http {
namespace {

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

std::string_view field(const std::map<std::string, std::string>& headers, const char* name) {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

struct Credentials {
  std::string scheme;  // in lower case
  std::string_view value;
};

Credentials split_authorization(std::string_view text) {
  const size_t space = std::min(text.find(' '), text.size());
  std::string_view value = text.substr(space);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return {lower_case(text.substr(0, space)), value};
}

// "https://host:port" of an Origin as "host:port".
std::string_view authority_of(std::string_view origin) {
  const size_t slashes = origin.find("://");
  return slashes == std::string_view::npos ? std::string_view() : origin.substr(slashes + 3);
}

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string decoded;
  uint32_t held = 0;
  int bits = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    held = (held << 6 | static_cast<uint32_t>(digit)) & 0xFFFFFF;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    decoded += static_cast<char>(held >> bits & 0xFF);
  }
  return decoded;
}

KeyCheck::KeyCheck(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) digests_.push_back(digest(key));
}

KeyCheck::Digest KeyCheck::digest(std::string_view text) {
  Digest result{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), result.data());
  return result;
}

bool KeyCheck::is_key(std::string_view candidate) const {
  const Digest wanted = digest(candidate);
  int matches = 0;
  for (const Digest& known : digests_) {
    matches |= static_cast<int>(CRYPTO_memcmp(known.data(), wanted.data(), known.size()) == 0);
  }
  return matches != 0;
}

std::optional<Refusal> KeyCheck::check(std::string_view method, std::string_view path,
                                       const std::map<std::string, std::string>& headers) const {
  if (digests_.empty()) return std::nullopt;
  if (path == "/health" && (method == "GET" || method == "HEAD")) return std::nullopt;
  const std::string_view authorization = field(headers, "authorization");
  const std::string_view api_key = field(headers, "x-api-key");
  if (authorization.empty() && api_key.empty()) {
    return unauthorized(
        "no API key: send it as 'Authorization: Bearer KEY', 'x-api-key: KEY' or HTTP Basic password");
  }
  if (!api_key.empty() && is_key(api_key)) return std::nullopt;
  const Credentials credentials = split_authorization(authorization);
  if (credentials.scheme == "bearer" && is_key(credentials.value)) return std::nullopt;
  if (credentials.scheme != "basic") return unauthorized("the API key is not valid");

  const std::optional<std::string> pair = decode_base64(credentials.value);
  const size_t colon = pair ? pair->find(':') : std::string::npos;
  if (colon == std::string::npos || !is_key(std::string_view(*pair).substr(colon + 1))) {
    return unauthorized("the API key is not valid");
  }
  const std::string_view origin = field(headers, "origin");
  if (origin.empty() || lower_case(authority_of(origin)) == lower_case(field(headers, "host")))
    return std::nullopt;
  return Refusal{.status = 403,
                 .message = "a page of another origin may not use this browser's credentials",
                 .type = "permission_error",
                 .code = "cross_origin"};
}

}  // namespace heed::http
