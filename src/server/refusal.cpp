#include "server/refusal.h"

#include <utility>

#include "base/json.h"

namespace heed::http {

std::string error_object(const Refusal& refusal) {
  OrderedJson error;
  error["message"] = refusal.message;
  error["type"] = refusal.type;
  error["param"] = nullptr;
  error["code"] = refusal.code;
  OrderedJson document;
  document["error"] = std::move(error);
  return to_text(document);
}

Refusal bad_request(std::string message) { return {.status = 400, .message = std::move(message)}; }

Refusal too_large(int status, std::string message) {
  return {.status = status, .message = std::move(message), .code = "limit_exceeded"};
}

Refusal timed_out(std::string message) {
  return {.status = 408, .message = std::move(message), .code = "timeout"};
}

Refusal overloaded(std::string message) {
  return {.status = 503, .message = std::move(message), .type = "server_error", .code = "overloaded"};
}

Refusal unauthorized(std::string message) {
  return {.status = 401, .message = std::move(message), .code = "invalid_api_key"};
}

Refusal failed() {
  return {.status = 500,
          .message = "the server failed to answer this request",
          .type = "server_error",
          .code = "internal_error"};
}

}  // namespace heed::http
