#include "batches/batch_line.h"

#include <algorithm>
#include <charconv>

#include "base/json.h"

namespace heed {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kRequestId = "batch_req_";
constexpr std::string_view kRefusedId = "batch_line_";

// The functions on text below take JSON that is known to be valid.

// Behind the string that begins at `at`.
size_t string_end(std::string_view text, size_t at) {
  for (++at; text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

// Behind the value that begins at `at`.
size_t value_end(std::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) return at;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    at = c == '"' ? string_end(text, at) : at + 1;
  }
  return at;
}

// The text of a member of an object; of several of that name the last, as parsers have it.
std::string_view member_text(std::string_view object, std::string_view name) {
  std::string_view found;
  size_t at = object.find_first_not_of(kSpace, object.find('{') + 1);
  while (object[at] == '"') {
    const size_t key_end = string_end(object, at);
    const auto key = parse_json(object.substr(at, key_end - at), "key");
    const size_t begin = object.find_first_not_of(kSpace, object.find(':', key_end) + 1);
    const size_t end = value_end(object, begin);
    if (key.ok() && *key == name) found = object.substr(begin, end - begin);
    at = object.find_first_not_of(kSpace, end);
    if (object[at] == ',') at = object.find_first_not_of(kSpace, at + 1);
  }
  return found.substr(0, found.find_last_not_of(kSpace) + 1);
}

LineError missing(const std::string& name, const std::string& what) {
  return {"missing_required_parameter", "'" + name + "' is missing: " + what, name};
}

LineError wrong(const std::string& name, const std::string& what) {
  return {"invalid_" + name, "'" + name + "' must be " + what, name};
}

std::string join(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

// The text of a member that must be one, or what is wrong with it.
std::optional<LineError> take_string(const Json& line, const std::string& name, const std::string& what,
                                     std::string& text) {
  const auto member = line.find(name);
  if (member == line.end()) return missing(name, what);
  if (!member->is_string()) return wrong(name, what);
  text = member->get<std::string>();
  return std::nullopt;
}

std::optional<LineError> take_custom_id(const Json& line, RequestLine& request) {
  const std::string what = "a string of 1 to " + std::to_string(kMaxCustomIdBytes) + " bytes";
  std::string custom_id;
  if (auto error = take_string(line, "custom_id", what, custom_id)) return error;
  if (custom_id.empty() || custom_id.size() > kMaxCustomIdBytes) return wrong("custom_id", what);
  request.custom_id = custom_id;
  return std::nullopt;
}

std::optional<LineError> take_target(const Json& line, const LineRules& rules, RequestLine& request) {
  std::string method;
  if (auto error = take_string(line, "method", "\"POST\"", method)) return error;
  if (method != "POST") return wrong("method", "\"POST\"");
  const std::string what = (rules.endpoints.size() > 1 ? "one of " : "") + join(rules.endpoints);
  if (auto error = take_string(line, "url", what, request.url)) return error;
  const auto& endpoints = rules.endpoints;
  if (std::find(endpoints.begin(), endpoints.end(), request.url) == endpoints.end()) {
    return wrong("url", what);
  }
  return std::nullopt;
}

std::optional<LineError> take_body(const Json& line, std::string_view text, const LineRules& rules,
                                   RequestLine& request) {
  const auto body = line.find("body");
  if (body == line.end()) return missing("body", "the request, an object");
  if (!body->is_object()) return wrong("body", "an object");
  const auto stream = body->find("stream");
  if (stream != body->end() && *stream == true) {
    return LineError{"invalid_body", "'body.stream' must be false: a batch has nobody to stream to",
                     "body.stream"};
  }
  request.body = member_text(text, "body");  // as it is: the order in a schema, say, means something
  if (rules.priority && !body->contains("priority")) {
    request.body.insert(1, "\"priority\":" + std::to_string(*rules.priority) + (body->empty() ? "" : ","));
  }
  return std::nullopt;
}

std::optional<LineError> refuse_unknown(const Json& line) {
  for (const auto& [name, value] : line.items()) {
    if (name == "custom_id" || name == "method" || name == "url" || name == "body") continue;
    return LineError{"unknown_parameter",
                     "'" + name.substr(0, 100) + "' is not known; a line has custom_id, method, url, body",
                     name.substr(0, 100)};
  }
  return std::nullopt;
}

// A string as JSON.
std::string json_string(const std::string& text) { return to_text(Json(text)); }
std::string json_string_or_null(const std::string& text) { return text.empty() ? "null" : json_string(text); }

Status read_id(std::string_view id, ResultLine& result) {
  if (!id.starts_with(kRequestId) && !id.starts_with(kRefusedId)) return invalid("no such id");
  result.kind = id.starts_with(kRequestId) ? LineKind::kRequest : LineKind::kRefused;
  const std::string_view digits = id.substr(id.rfind('_') + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), result.line);
  if (error != std::errc() || end != digits.data() + digits.size() || result.line < 1) {
    return invalid("no line number in the id");
  }
  return {};
}

}  // namespace

RequestLine read_request_line(std::string_view text, const LineRules& rules) {
  RequestLine request;
  const auto line = parse_json(text, "line");
  if (!line.ok() || !line->is_object()) {
    const std::string why = line.ok() ? "not a JSON object" : line.error().message;
    request.error = LineError{"invalid_json_line", why, ""};
    return request;
  }
  request.error = take_custom_id(*line, request);
  if (!request.error) request.error = refuse_unknown(*line);
  if (!request.error) request.error = take_target(*line, rules, request);
  if (!request.error) request.error = take_body(*line, text, rules, request);
  return request;
}

std::string line_id(LineKind kind, const std::string& tag, int64_t line) {
  return std::string(kind == LineKind::kRequest ? kRequestId : kRefusedId) + tag + (tag.empty() ? "" : "_") +
         std::to_string(line);
}

std::string response_line(const std::string& id, const std::string& custom_id, int status,
                          const std::string& request_id, std::string body) {
  if (parse_json(body, "body").ok()) {
    for (char& c : body) {
      if (c == '\n' || c == '\r') c = ' ';  // valid JSON has them only between its parts
    }
  } else {
    body = json_string(body);
  }
  return R"({"id":)" + json_string(id) + R"(,"custom_id":)" + json_string_or_null(custom_id) +
         R"(,"response":{"status_code":)" + std::to_string(status) + R"(,"request_id":)" +
         json_string(request_id) + R"(,"body":)" + body + R"(},"error":null})";
}

std::string error_line(const std::string& id, const std::string& custom_id, const LineError& error) {
  return R"({"id":)" + json_string(id) + R"(,"custom_id":)" + json_string_or_null(custom_id) +
         R"(,"response":null,"error":{"code":)" + json_string(error.code) + R"(,"message":)" +
         json_string(error.message) + "}}";
}

Result<ResultLine> read_result_line(std::string_view text) {
  const auto line = parse_json(text, "result");
  if (!line.ok()) return line.error();
  ResultLine result;
  if (!line->is_object() || !line->contains("id") || !line->at("id").is_string()) return invalid("no id");
  TRY(read_id(line->at("id").get_ref<const std::string&>(), result));
  const Json custom_id = line->value("custom_id", Json());
  if (custom_id.is_string()) result.custom_id = custom_id.get<std::string>();
  if (result.kind == LineKind::kRequest && result.custom_id.empty()) return invalid("no custom_id");
  const auto response = line->find("response");
  if (response == line->end() || !response->is_object()) return result;
  const auto status = response->find("status_code");
  if (status == response->end() || !status->is_number_integer()) return invalid("no status_code");
  result.succeeded = status->get<int64_t>() / 100 == 2;
  return result;
}

}  // namespace heed
