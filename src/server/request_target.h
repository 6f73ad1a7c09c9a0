// The target of a request line as one normalised path, so that no spelling of a path passes a check that
// another spelling of it would not.
//
// Accepted: "/path?query" and "http://host/path?query". The path is percent-decoded once; then "//", "/./"
// and a trailing "/" vanish and "/../" takes its predecessor along. "%2F" decodes to a separator, so that
// model names with a slash can be sent either way. Refused: a path that climbs above the root, a fragment,
// raw bytes outside printable ASCII, a '%' without two hex digits, and escapes of control characters or of
// bytes that are not UTF-8. (RFC 3986, sections 2.1 and 5.2.4; RFC 9112, section 3.2.)
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed::http {

struct RequestTarget {
  std::string path;       // begins with '/'; no empty, "." or ".." segment
  std::string query;      // as sent, without the '?'
  std::string authority;  // host[:port] of the absolute form, else empty
};

Result<RequestTarget> read_target(std::string_view target);

}  // namespace heed::http
