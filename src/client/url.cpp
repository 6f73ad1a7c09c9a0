#include "client/url.h"

#include <charconv>

namespace heed {
namespace {

bool is_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port > 0 && port < 65536;
}

// What may stand in a request's first line or a Host field.
bool is_plain(std::string_view text) {
  for (const char c : text) {
    if (c <= 0x20 || c >= 0x7f || c == '@' || c == '?' || c == '#' || c == '\\') return false;
  }
  return true;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  const Error wrong =
      invalid("\"" + std::string(text) + "\": a URL such as http://127.0.0.1:8000 is expected");
  Url url;
  url.tls = take(text, "https://");
  if (!url.tls && !take(text, "http://")) return wrong;
  if (!is_plain(text)) return wrong;
  const size_t slash = text.find('/');
  std::string_view place = text.substr(0, slash);
  if (slash != std::string_view::npos) url.prefix = text.substr(slash);
  while (url.prefix.ends_with('/')) url.prefix.pop_back();
  size_t host_end = place.find(':');
  if (take(place, "[")) {
    const size_t bracket = place.find(']');
    if (bracket == std::string_view::npos) return wrong;
    url.host = place.substr(0, bracket);
    place.remove_prefix(bracket + 1);
    if (!place.empty() && place[0] != ':') return wrong;
    host_end = 0;
  } else {
    url.host = place.substr(0, host_end);
  }
  url.port = url.tls ? "443" : "80";
  if (host_end < place.size()) url.port = place.substr(host_end + 1);
  if (url.host.empty() || !is_port(url.port)) return wrong;
  return url;
}

std::string authority(const Url& url) {
  const bool v6 = url.host.find(':') != std::string::npos;
  std::string text = v6 ? "[" + url.host + "]" : url.host;
  if (url.port != (url.tls ? "443" : "80")) text += ":" + url.port;
  return text;
}

}  // namespace heed
