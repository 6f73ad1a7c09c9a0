#include "server/request_head.h"

#include <algorithm>
#include <cstdio>

#include "base/ascii.h"

namespace heed::http {
namespace {

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// host, host:port, [v6] or [v6]:port; the characters of a name, an address and RFC 3986's reg-name.
bool is_host(std::string_view host) {
  if (host.empty() || host.size() > 300) return false;
  const size_t bracket = host.starts_with('[') ? host.find(']') : 0;
  if (bracket == std::string_view::npos) return false;
  const size_t colon = host.find(':', bracket);
  if (colon != std::string_view::npos && colon + 1 < host.size() && !all_digits(host.substr(colon + 1)))
    return false;
  const std::string_view name = host.substr(0, colon);
  if (name.empty()) return false;
  if (bracket > 0) {
    return name.size() == bracket + 1 && name.size() > 3 &&
           std::all_of(name.begin() + 1, name.end() - 1,
                       [](char c) { return is_alphanumeric(c) || c == ':' || c == '.' || c == '%'; });
  }
  return std::all_of(name.begin(), name.end(), [](char c) {
    return is_alphanumeric(c) || std::string_view("-._~!$&'()*+,;=%").find(c) != std::string_view::npos;
  });
}

struct Framing {
  int hosts = 0, lengths = 0, encodings = 0;
  std::string host, length, encoding, expect;
  std::string doubled;  // a field that may occur once and does not
};

Framing framing_of(const HeaderFields& fields) {
  static constexpr std::string_view kSingle[] = {"authorization", "x-api-key", "content-type", "expect",
                                                 "origin"};
  Framing framing;
  std::map<std::string, int> seen;
  for (const auto& [name, value] : fields) {
    const std::string key = lower_case(name);
    if (key == "host") framing.host = value, ++framing.hosts;
    if (key == "content-length") framing.length = value, ++framing.lengths;
    if (key == "transfer-encoding") framing.encoding = lower_case(value), ++framing.encodings;
    if (key == "expect") framing.expect = lower_case(value);
    const bool single = std::find(std::begin(kSingle), std::end(kSingle), key) != std::end(kSingle);
    if (single && ++seen[key] == 2) framing.doubled = key;
  }
  return framing;
}

std::optional<Refusal> check_length(const Framing& framing, bool is_http_10) {
  if (framing.lengths > 1) return bad_request("more than one Content-Length");
  if (framing.encodings > 1) return bad_request("more than one Transfer-Encoding");
  if (framing.lengths == 1 && framing.encodings == 1)
    return bad_request("both Content-Length and Transfer-Encoding");
  if (framing.lengths == 1 && (!all_digits(framing.length) || framing.length.size() > 18)) {
    return bad_request("Content-Length is not a number of bytes");
  }
  if (framing.encodings == 0) return std::nullopt;
  if (is_http_10) return bad_request("Transfer-Encoding in an HTTP/1.0 request");
  if (framing.encoding != "chunked") {
    return Refusal{.status = 501, .message = "Transfer-Encoding other than 'chunked'", .code = "unsupported"};
  }
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_head(const RequestHead& head) {
  const Framing framing = framing_of(head.fields);
  if (framing.hosts > 1) return bad_request("more than one Host");
  if (framing.hosts == 0 && !head.is_http_10) return bad_request("no Host");
  if (framing.hosts == 1 && !is_host(framing.host)) return bad_request("Host is not a host name or address");
  if (!framing.doubled.empty()) return bad_request("more than one " + framing.doubled);
  if (auto refusal = check_length(framing, head.is_http_10)) return refusal;
  if (!framing.expect.empty() && framing.expect != "100-continue") {
    return Refusal{.status = 417, .message = "Expect other than '100-continue'", .code = "unsupported"};
  }
  if (head.method == "CONNECT" || head.method == "TRACE") {
    return Refusal{
        .status = 405, .message = "the method " + head.method + " is not served", .code = "unsupported"};
  }
  return std::nullopt;
}

std::map<std::string, std::string> joined_fields(const HeaderFields& fields) {
  std::map<std::string, std::string> joined;
  for (const auto& [name, value] : fields) {
    const auto [place, is_new] = joined.try_emplace(lower_case(name), value);
    if (!is_new) place->second.append(", ").append(value);
  }
  return joined;
}

bool is_sane_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return c > 0x20 && c < 0x7F && c != '"' && c != '\\' && c != '\'' && c != '<' && c != '>';
  });
}

std::string escaped_for_log(std::string_view text, int max_bytes) {
  std::string escaped;
  for (const char c : text.substr(0, static_cast<size_t>(max_bytes))) {
    if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
      escaped += c;
      continue;
    }
    char code[8];
    std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    escaped += code;
  }
  if (text.size() > static_cast<size_t>(max_bytes)) escaped += "...";
  return escaped;
}

}  // namespace heed::http
