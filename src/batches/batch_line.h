// Lines of a batch: a request as it is read, a result as it is written and read back.
//
//   {"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{...}}
//   {"id":"batch_req_7","custom_id":"a","response":{"status_code":200,"request_id":"...","body":{...}},
//    "error":null}
//   {"id":"batch_line_8","custom_id":null,"response":null,"error":{"code":"invalid_json_line","message":"..."}}
//
// The number in an id is the line's in the input, from 1. batch_req: a request that was right, known again by
// its custom_id; batch_line: a line that never became a request, known again by its number.
// Source: OpenAI, "Batch API" guide and API reference.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed {

struct LineError {
  std::string code;
  std::string message;
  std::string param;  // the member it is about; empty: the line
};

struct LineRules {
  // Accepted as "url".
  std::vector<std::string> endpoints = {"/v1/chat/completions", "/v1/completions", "/v1/responses"};
  std::optional<int> priority;  // put into bodies that say none
};

// A line that is, or with an error is not, a request.
struct RequestLine {
  std::string custom_id;  // empty: there is none to be trusted
  std::string url;
  std::string body;  // JSON text, as it stood in the line
  std::optional<LineError> error;
};
RequestLine read_request_line(std::string_view text, const LineRules& rules);

inline constexpr int kMaxCustomIdBytes = 512;

enum class LineKind { kRequest, kRefused };
// `tag`: an infix that makes ids of different batches different; may be empty.
std::string line_id(LineKind kind, const std::string& tag, int64_t line);

// `body` is JSON text, or else is written as a string.
std::string response_line(const std::string& id, const std::string& custom_id, int status,
                          const std::string& request_id, std::string body);
std::string error_line(const std::string& id, const std::string& custom_id, const LineError& error);

// How every result line begins.
inline constexpr std::string_view kResultStart = R"({"id":"batch_)";

struct ResultLine {
  LineKind kind = LineKind::kRequest;
  int64_t line = 0;
  std::string custom_id;
  bool succeeded = false;  // a response with a status of 2xx
};
Result<ResultLine> read_result_line(std::string_view text);

}  // namespace heed
