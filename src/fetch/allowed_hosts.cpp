#include "fetch/allowed_hosts.h"

namespace heed {

Result<AllowedHost> parse_allowed_host(std::string_view entry) {
  AllowedHost allowed;
  std::string place(entry);
  allowed.is_suffix = place.starts_with('.');
  if (allowed.is_suffix) place.erase(0, 1);
  // A port that stands there is the same for both schemes.
  const auto plain = parse_url("http://" + place), secure = parse_url("https://" + place);
  const bool is_host = plain.ok() && secure.ok() && place.find('/') == std::string::npos;
  if (!is_host || (allowed.is_suffix && is_address(plain->host))) {
    return invalid("\"" + std::string(entry) +
                   "\": a host such as example.com, .example.com (all below it) or example.com:8080 is "
                   "expected");
  }
  allowed.host = plain->host;
  if (plain->port == secure->port) allowed.port = plain->port;
  return allowed;
}

bool allows(const AllowedHost& allowed, const Url& url) {
  const bool is_host = allowed.is_suffix ? url.host.ends_with("." + allowed.host) : url.host == allowed.host;
  const bool is_port =
      allowed.port.empty() ? url.port == "80" || url.port == "443" : url.port == allowed.port;
  return is_host && is_port;
}

}  // namespace heed
