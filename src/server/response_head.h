// The status line and header fields of an answer, as bytes.
#pragma once
#include <ctime>
#include <optional>
#include <string>

#include "api/exchange.h"

namespace heed::http {

enum class BodyFraming {
  kLength,   // Content-Length
  kChunked,  // Transfer-Encoding: chunked
  kToEnd,    // an HTTP/1.0 stream: up to the end of the connection
  kNone,     // 204 and 304 have no body and no length
};

struct ResponseHead {
  int status = 200;
  std::string content_type;
  HeaderFields
      fields;  // of the API; those that the transport decides itself and those with line breaks are left out
  BodyFraming framing = BodyFraming::kLength;
  int64_t body_bytes = 0;
  std::string request_id;
  bool is_http_10 = false;
  bool keep_alive = true;
};

std::string to_bytes(const ResponseHead& head, std::time_t now);

}  // namespace heed::http
