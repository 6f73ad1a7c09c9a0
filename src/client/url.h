// Where a server is: "http://host:8000", "https://[::1]:8443/prefix"; and what is asked of it.
//
// This is the one parser of URLs: what it has understood is what is resolved, connected to and sent, so that
// a check of the parts is a check of the request. What other parsers read in different ways is refused: users
// before an "@", backslashes, blanks and control characters, letters beyond ASCII and "%" in hosts, hosts
// that end in a dot, addresses of IPv4 other than four decimal numbers, zones in addresses of IPv6,
// fragments.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

struct Url {
  bool tls = false;
  // A name in lower case, four decimal numbers, or an address of IPv6 as inet_ntop writes it, without
  // brackets.
  std::string host;
  std::string port;    // 80 and 443 where the text has none
  std::string prefix;  // path before that of every request, without a final slash; usually empty
};

// A server. Accepts http and https, and no query.
Result<Url> parse_url(std::string_view text);

struct ResourceUrl {
  Url server;          // without a prefix
  std::string target;  // path and query as they stand, from "/" on: what a request's first line says
};

// Something on a server.
Result<ResourceUrl> parse_resource_url(std::string_view text);

// As in a Host field: brackets around IPv6 addresses, the port where it is not the scheme's own.
std::string authority(const Url& url);

// Whether a host is an address and not a name.
bool is_address(const std::string& host);

}  // namespace heed
