// The hosts of --allowed-media-domains.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "client/url.h"

namespace heed {

// "example.com": this host; ".example.com": any below it; "example.com:8080": on this port and no other.
struct AllowedHost {
  std::string host;  // as in Url
  bool is_suffix = false;
  std::string port;  // "": those of http and https, 80 and 443
};

Result<AllowedHost> parse_allowed_host(std::string_view entry);

bool allows(const AllowedHost& allowed, const Url& url);

}  // namespace heed
