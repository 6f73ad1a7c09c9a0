// Errors as clients see them: a status and an error object.
//
//   {"error": {"message": ..., "type": ..., "param": ... or null, "code": ... or null}}
//
// Source: OpenAI's API reference ("Error codes") and what its clients make of statuses.
#pragma once
#include <string>

#include "api/exchange.h"
#include "base/json.h"
#include "base/result.h"

namespace heed {

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param = {};  // the field that is wrong; empty: null
  std::string code = {};   // for programs; empty: null
  int retry_after = 0;     // seconds; 0: not said
  HeaderFields fields = {};
};

// What a part of ours refused: kInvalid, kUnsupported and kLimit are 400 (with code context_length_exceeded
// where it is that), kNotFound 404, kBusy 429 with Retry-After, kStopped 503.
ApiError api_error(const Error& error);
ApiError not_found_error(std::string message, std::string code = {});
// The server stopped what it had begun.
ApiError stopped_error();

// Empty texts are null.
OrderedJson or_null(const std::string& text);

OrderedJson error_object(const ApiError& error);
// The body of an answer; routes of other APIs have their own.
using ErrorForm = std::string (*)(const ApiError&);
std::string openai_error_form(const ApiError& error);

void reply_error(Responder& responder, const ApiError& error, ErrorForm form = openai_error_form);
void reply_json(Responder& responder, const OrderedJson& body, int status = 200);

}  // namespace heed
