// What a request's header must be like before anything is done with it: pure checks on what the parser has
// read.
//
// Proxies and servers that read the length of a body differently can be made to see different requests in the
// same bytes (request smuggling), so whatever could be read in two ways is refused. (RFC 9112, sections 3.2
// and 6.)
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "api/exchange.h"
#include "server/refusal.h"

namespace heed::http {

struct RequestHead {
  std::string method;
  std::string target;  // as sent
  bool is_http_10 = false;
  HeaderFields fields;  // as sent: names in any case, in order
};

// Exactly one sane Host (in HTTP/1.0: at most one); at most one Content-Length, of digits; at most one
// Transfer-Encoding, "chunked", not in HTTP/1.0, not with Content-Length; at most one of each field that says
// who asks or what is sent; Expect only as 100-continue; a method that has no meaning here refused.
std::optional<Refusal> check_head(const RequestHead& head);

// Names in lower case; the values of equal names joined by ", ".
std::map<std::string, std::string> joined_fields(const HeaderFields& fields);

// Whether a client's request id may be echoed and logged: 1 to 128 characters of printable ASCII without
// quotes.
bool is_sane_request_id(std::string_view id);

// The text with control characters, quotes and backslashes escaped and bytes beyond ASCII as \xNN, cut after
// `max_bytes`; safe as a part of a log line.
std::string escaped_for_log(std::string_view text, int max_bytes = 256);

}  // namespace heed::http
