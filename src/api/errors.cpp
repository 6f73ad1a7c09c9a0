#include "api/errors.h"

namespace heed {
namespace {

// The words of the engine and the service for a prompt or an answer that is too long.
bool is_about_context(const Error& error) {
  const auto says = [&](const char* words) { return error.message.find(words) != std::string::npos; };
  return error.code == ErrorCode::kLimit && (says("the context holds") || says("maximum context length"));
}

}  // namespace

OrderedJson or_null(const std::string& text) {
  return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
}

ApiError api_error(const Error& error) {
  ApiError result{.message = error.message};
  switch (error.code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kUnsupported:
      break;
    case ErrorCode::kLimit:
      if (is_about_context(error)) result.code = "context_length_exceeded";
      break;
    case ErrorCode::kNotFound:
      result.status = 404;
      break;
    case ErrorCode::kBusy:
      result.status = 429;
      result.type = "rate_limit_error";
      result.code = "queue_full";
      result.retry_after = 1;
      break;
    case ErrorCode::kStopped:
      result.status = 503;
      result.type = "server_error";
      result.code = "stopping";
      break;
  }
  return result;
}

ApiError not_found_error(std::string message, std::string code) {
  return {.status = 404, .message = std::move(message), .code = std::move(code)};
}

ApiError stopped_error() { return api_error(stopped("the server stopped this request")); }

OrderedJson error_object(const ApiError& error) {
  return {{"error",
           {{"message", error.message},
            {"type", error.type},
            {"param", or_null(error.param)},
            {"code", or_null(error.code)}}}};
}

std::string openai_error_form(const ApiError& error) { return to_text(error_object(error)); }

void reply_error(Responder& responder, const ApiError& error, ErrorForm form) {
  HeaderFields fields = error.fields;
  if (error.retry_after > 0) fields.emplace_back("Retry-After", std::to_string(error.retry_after));
  responder.reply(error.status, "application/json", form(error), std::move(fields));
}

void reply_json(Responder& responder, const OrderedJson& body, int status) {
  responder.reply(status, "application/json", to_text(body));
}

}  // namespace heed
