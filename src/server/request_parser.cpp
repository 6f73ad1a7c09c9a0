#include "server/request_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <utility>

namespace heed::http {
namespace {

namespace beast = boost::beast;
using beast::http::error;

constexpr int64_t kLineOverhead = 64;  // of a request line beside the target: method, version
constexpr int64_t kChunkLine = int64_t{16}
                               << 10;  // of a chunk's header; beside it, trailers as long as a header

Refusal url_too_long(const ServerLimits& limits) {
  return too_large(414, "the URL is longer than " + std::to_string(limits.url_bytes) + " bytes");
}

Refusal header_too_long(const ServerLimits& limits) {
  return too_large(431,
                   "the header fields are longer than " + std::to_string(limits.header_bytes) + " bytes");
}

Refusal body_too_long(const ServerLimits& limits) {
  return too_large(413, "the body is longer than " + std::to_string(limits.body_bytes) + " bytes");
}

Refusal malformed(const boost::system::error_code& code) {
  if (code == error::bad_version) {
    return {.status = 505, .message = "the request is not HTTP/1.0 or HTTP/1.1", .code = "unsupported"};
  }
  return bad_request("malformed HTTP request: " + code.message());
}

// Empty lines before a request line are ignored (RFC 9112, section 2.2).
void drop_empty_lines(std::string& input) {
  size_t begin = 0;
  while (input.compare(begin, 2, "\r\n") == 0) begin += 2;
  input.erase(0, begin);
}

}  // namespace

RequestParser::RequestParser(const ServerLimits& limits) : limits_(limits) {
  parser_.header_limit(static_cast<uint32_t>(limits.url_bytes + limits.header_bytes + kLineOverhead));
  parser_.body_limit(boost::none);  // checked here, in an order that asks for the key first
  parser_.eager(false);
}

Refusal RequestParser::too_long(std::string_view input) const {
  const auto line = static_cast<int64_t>(std::min(input.find('\n'), input.size()));
  return line > limits_.url_bytes + kLineOverhead ? url_too_long(limits_) : header_too_long(limits_);
}

// Beast takes the request line and each field as soon as it is whole; its own limit is per piece, so the sums
// are held here.
std::optional<Refusal> RequestParser::read_head(std::string& input) {
  const bool has_line = !target().empty();
  if (!has_line) drop_empty_lines(input);
  if (input.empty()) return std::nullopt;
  if (!has_line && std::ssize(input) > limits_.url_bytes + kLineOverhead &&
      input.find('\n') == std::string::npos) {
    return url_too_long(limits_);
  }
  boost::system::error_code code;
  const size_t used = parser_.put(boost::asio::const_buffer(input.data(), input.size()), code);
  if (code == error::header_limit) return has_line ? header_too_long(limits_) : too_long(input);
  if (code && code != error::need_more) return malformed(code);
  head_bytes_ += static_cast<int64_t>(used);
  input.erase(0, used);
  return check_sizes(has_head() ? 0 : std::ssize(input));
}

std::optional<Refusal> RequestParser::check_sizes(int64_t waiting_bytes) const {
  const auto target_bytes = std::ssize(parser_.get().target());
  if (target_bytes > limits_.url_bytes) return url_too_long(limits_);
  if (head_bytes_ + waiting_bytes - target_bytes > limits_.header_bytes + kLineOverhead)
    return header_too_long(limits_);
  return std::nullopt;
}

std::optional<Refusal> RequestParser::read_body(std::string& input) {
  const auto announced = parser_.content_length();
  if (announced && *announced > static_cast<uint64_t>(limits_.body_bytes)) return body_too_long(limits_);
  parser_.eager(true);
  if (input.empty() || has_all()) return std::nullopt;
  boost::system::error_code code;
  const size_t used = parser_.put(boost::asio::const_buffer(input.data(), input.size()), code);
  input.erase(0, used);
  if (body_bytes() > limits_.body_bytes) return body_too_long(limits_);
  if (code && code != error::need_more) return malformed(code);
  if (!has_all() && std::ssize(input) > limits_.header_bytes + kChunkLine) {
    return too_large(431, "a chunk's extension or the trailer is longer than " +
                              std::to_string(limits_.header_bytes) + " bytes");
  }
  return std::nullopt;
}

RequestHead RequestParser::head() const {
  const auto& message = parser_.get();
  RequestHead head;
  head.method = message.method_string();
  head.target = message.target();
  head.is_http_10 = message.version() == 10;
  for (const auto& field : message) head.fields.emplace_back(field.name_string(), field.value());
  return head;
}

std::string_view RequestParser::target() const { return parser_.get().target(); }

}  // namespace heed::http
