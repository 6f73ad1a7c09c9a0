#include "server/response_head.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/status.hpp>
#include <string_view>

#include "base/ascii.h"

namespace heed::http {
namespace {

std::string date_text(std::time_t now) {
  static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%s, %02d %s %d %02d:%02d:%02d GMT", kDays[parts.tm_wday],
                parts.tm_mday, kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
                parts.tm_sec);
  return text.data();
}

bool is_token(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  });
}

bool is_field_value(std::string_view value) {
  return std::none_of(value.begin(), value.end(),
                      [](char c) { return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7F; });
}

// Fields that frame the message or belong to the connection.
bool is_ours(std::string_view name) {
  static constexpr std::string_view kOurs[] = {
      "content-length", "transfer-encoding", "connection", "date",
      "content-type",   "x-request-id",      "upgrade",    "trailer"};
  return std::find(std::begin(kOurs), std::end(kOurs), lower_case(name)) != std::end(kOurs);
}

void add_field(std::string& bytes, std::string_view name, std::string_view value) {
  if (!is_token(name) || !is_field_value(value)) return;
  bytes.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::string to_bytes(const ResponseHead& head, std::time_t now) {
  const auto reason = boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(head.status));
  std::string bytes = head.is_http_10 ? "HTTP/1.0 " : "HTTP/1.1 ";
  bytes.append(std::to_string(head.status)).append(" ").append(reason).append("\r\n");
  add_field(bytes, "Date", date_text(now));
  if (!head.content_type.empty()) add_field(bytes, "Content-Type", head.content_type);
  if (head.content_type.starts_with("text/event-stream")) {
    add_field(bytes, "Cache-Control", "no-cache");
    add_field(bytes, "X-Accel-Buffering", "no");
  }
  if (head.framing == BodyFraming::kLength)
    add_field(bytes, "Content-Length", std::to_string(head.body_bytes));
  if (head.framing == BodyFraming::kChunked) add_field(bytes, "Transfer-Encoding", "chunked");
  add_field(bytes, "X-Request-Id", head.request_id);
  if (!head.keep_alive) add_field(bytes, "Connection", "close");
  if (head.keep_alive && head.is_http_10) add_field(bytes, "Connection", "keep-alive");
  for (const auto& [name, value] : head.fields) {
    if (!is_ours(name)) add_field(bytes, name, value);
  }
  bytes += "\r\n";
  return bytes;
}

}  // namespace heed::http
