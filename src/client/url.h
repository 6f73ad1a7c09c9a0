// Where a server is: "http://host:8000", "https://[::1]:8443/prefix".
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

struct Url {
  bool tls = false;
  std::string host;    // a name or an address, without brackets
  std::string port;    // 80 and 443 where the text has none
  std::string prefix;  // path before that of every request, without a final slash; usually empty
};

// Accepts http and https without user, query and fragment.
Result<Url> parse_url(std::string_view text);

// As in a Host field: brackets around IPv6 addresses, the port where it is not the scheme's own.
std::string authority(const Url& url);

}  // namespace heed
