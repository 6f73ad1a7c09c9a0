#include "client/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace heed {
namespace {

constexpr size_t kMaxName = 253, kMaxLabel = 63;  // letters (RFC 1035)
constexpr size_t kMaxUrl = 8000;                  // letters that servers take (RFC 9110, 4.1)
constexpr size_t kMaxShown = 100;                 // of a URL in an error

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }

bool is_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port > 0 && port < 65536;
}

// What may stand in a request's first line or a Host field.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '\\'; });
}

// Takes a prefix off, whatever its case.
bool take(std::string_view& text, std::string_view prefix) {
  if (text.size() < prefix.size()) return false;
  if (!std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return a == lower(b); }))
    return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::optional<std::string> ipv6_address(std::string_view text) {
  in6_addr address;
  std::array<char, INET6_ADDRSTRLEN> written;
  if (::inet_pton(AF_INET6, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ::inet_ntop(AF_INET6, &address, written.data(), written.size());
}

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > kMaxLabel || label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(),
                     [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_'; });
}

// Whether a host that ends in this label is an address in one of the spellings that C libraries know.
bool is_number(std::string_view label) {
  const bool is_hex = label.starts_with("0x");
  if (is_hex) label.remove_prefix(2);
  return std::all_of(label.begin(), label.end(),
                     [&](char c) { return is_digit(c) || (is_hex && c >= 'a' && c <= 'f'); });
}

// A name, or four decimal numbers.
std::optional<std::string> name_or_ipv4(std::string_view text) {
  std::string host(text);
  std::transform(host.begin(), host.end(), host.begin(), lower);
  if (host.size() > kMaxName) return std::nullopt;
  size_t at = 0;
  std::string_view last;
  while (at <= host.size()) {
    const size_t end = std::min(host.find('.', at), host.size());
    last = std::string_view(host).substr(at, end - at);
    if (!is_label(last)) return std::nullopt;
    at = end + 1;
  }
  if (!is_number(last)) return host;
  in_addr address;
  std::array<char, INET_ADDRSTRLEN> written;
  if (::inet_pton(AF_INET, host.c_str(), &address) != 1) return std::nullopt;
  ::inet_ntop(AF_INET, &address, written.data(), written.size());
  return host == written.data() ? std::optional(host) : std::nullopt;
}

// "host", "host:port", "[address]:port" into the URL, of which the scheme is known.
bool read_place(std::string_view place, Url& url) {
  std::optional<std::string> host;
  std::string_view rest;
  if (place.starts_with('[')) {
    const size_t bracket = std::min(place.find(']'), place.size());
    host = ipv6_address(place.substr(1, bracket - 1));
    rest = place.substr(std::min(bracket + 1, place.size()));
    if (bracket == place.size()) return false;
  } else {
    const size_t colon = std::min(place.find(':'), place.size());
    host = name_or_ipv4(place.substr(0, colon));
    rest = place.substr(colon);
  }
  if (!host) return false;
  url.host = *host;
  url.port = url.tls ? "443" : "80";
  if (rest.empty()) return true;
  url.port = rest.substr(1);
  return rest[0] == ':' && is_port(url.port);
}

// The parts of a URL, with the path and query not yet looked into.
std::optional<ResourceUrl> split_url(std::string_view text) {
  if (text.size() > kMaxUrl) return std::nullopt;
  ResourceUrl parts;
  parts.server.tls = take(text, "https://");
  if (!parts.server.tls && !take(text, "http://")) return std::nullopt;
  if (!is_plain(text) || text.find('#') != std::string_view::npos) return std::nullopt;
  const size_t end = std::min(text.find_first_of("/?"), text.size());
  if (!read_place(text.substr(0, end), parts.server)) return std::nullopt;
  parts.target = text.substr(end);
  return parts;
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  auto parts = split_url(text);
  if (!parts || parts->target.find_first_of("?@") != std::string::npos) {
    return invalid("\"" + std::string(text.substr(0, kMaxShown)) +
                   "\": a URL such as http://127.0.0.1:8000 is expected");
  }
  Url url = std::move(parts->server);
  url.prefix = std::move(parts->target);
  while (url.prefix.ends_with('/')) url.prefix.pop_back();
  return url;
}

Result<ResourceUrl> parse_resource_url(std::string_view text) {
  auto parts = split_url(text);
  if (!parts) {
    return invalid(
        "a URL such as https://example.com/a.jpg is expected: a plain host name or address, no user and no "
        "fragment, other letters than ASCII percent-encoded, and at most 8000 in all");
  }
  if (!parts->target.starts_with('/')) parts->target.insert(0, 1, '/');
  return *std::move(parts);
}

std::string authority(const Url& url) {
  const bool v6 = url.host.find(':') != std::string::npos;
  std::string text = v6 ? "[" + url.host + "]" : url.host;
  if (url.port != (url.tls ? "443" : "80")) text += ":" + url.port;
  return text;
}

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

}  // namespace heed
