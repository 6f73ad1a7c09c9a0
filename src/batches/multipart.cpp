#include "batches/multipart.h"

#include <algorithm>
#include <map>

#include "base/ascii.h"

namespace heed {
namespace {

constexpr std::string_view kLineBreak = "\r\n";
constexpr size_t kMaxBoundary = 70;
constexpr int kMaxParameters = 8;

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_token_char(char c) {
  return is_letter_or_digit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
bool is_boundary_char(char c) {
  return is_letter_or_digit(c) || std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos;
}
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Takes a token off the front of the text; empty if there is none.
std::string_view take_token(std::string_view& text) {
  size_t end = 0;
  while (end < text.size() && is_token_char(text[end])) ++end;
  const std::string_view token = text.substr(0, end);
  text.remove_prefix(end);
  return token;
}

// Takes a string in double quotes off the front. A backslash quotes only a quote or a backslash: clients also
// send it bare, in paths.
Result<std::string> take_quoted(std::string_view& text) {
  std::string value;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return value;
    }
    const bool quotes = text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\');
    if (quotes) ++i;
    if (is_control(text[i])) break;
    value += text[i];
  }
  return invalid("form: a quoted string in a header does not end, or holds control characters");
}

// "form-data; name="file"; filename="a.jsonl"": the value before the first semicolon and the parameters.
struct HeaderValue {
  std::string value;                              // in lower case
  std::map<std::string, std::string> parameters;  // names in lower case
};
Result<HeaderValue> parse_header_value(std::string_view text) {
  HeaderValue header;
  const size_t semicolon = std::min(text.find(';'), text.size());
  header.value = lower_case(trim(text.substr(0, semicolon)));
  text = trim(text.substr(semicolon));
  while (!text.empty()) {
    if (text.front() != ';') return invalid("form: ';' is missing between two parameters of a header");
    text = trim(text.substr(1));
    const std::string name = lower_case(take_token(text));
    if (name.empty() || text.empty() || text.front() != '=') {
      return invalid("form: a parameter of a header is not name=value");
    }
    text.remove_prefix(1);
    std::string value;
    if (!text.empty() && text.front() == '"') {
      value = TRY(take_quoted(text));
    } else {
      value = take_token(text);
    }
    if (!header.parameters.emplace(name, value).second) {
      return invalid("form: a header has the parameter '" + name + "' twice");
    }
    if (std::ssize(header.parameters) > kMaxParameters) {
      return limit_reached("form: a header has more than " + std::to_string(kMaxParameters) + " parameters");
    }
    text = trim(text);
  }
  return header;
}

Result<std::string> boundary_of(std::string_view content_type) {
  const HeaderValue header = TRY(parse_header_value(content_type));
  if (header.value != "multipart/form-data") {
    return invalid("the content type must be multipart/form-data with a boundary");
  }
  const auto found = header.parameters.find("boundary");
  if (found == header.parameters.end())
    return invalid("the content type multipart/form-data lacks a boundary");
  const std::string& boundary = found->second;
  if (boundary.empty() || boundary.size() > kMaxBoundary || boundary.back() == ' ' ||
      !std::all_of(boundary.begin(), boundary.end(), is_boundary_char)) {
    return invalid("the boundary of the form must be 1 to " + std::to_string(kMaxBoundary) +
                   " letters, digits or '()+_,-./:=?");
  }
  return boundary;
}

Status take_disposition(std::string_view value, const FormLimits& limits, FormPart& part) {
  const HeaderValue header = TRY(parse_header_value(value));
  if (header.value != "form-data") return invalid("form: a part is not form-data");
  for (const auto& [name, text] : header.parameters) {
    if (name != "name" && name != "filename") {
      return invalid("form: a part has the parameter '" + name + "'; name and filename are known");
    }
    if (std::ssize(text) > limits.max_name_bytes) {
      return limit_reached("form: a part's " + name + " is longer than " +
                           std::to_string(limits.max_name_bytes) + " bytes");
    }
  }
  const auto name = header.parameters.find("name");
  if (name == header.parameters.end() || name->second.empty()) return invalid("form: a part has no name");
  part.name = name->second;
  const auto filename = header.parameters.find("filename");
  if (filename != header.parameters.end()) part.filename = filename->second;
  return {};
}

Status take_header(std::string_view line, const FormLimits& limits, FormPart& part) {
  const std::string name = lower_case(take_token(line));
  if (name.empty() || line.empty() || line.front() != ':')
    return invalid("form: a header is not name: value");
  const std::string_view value = trim(line.substr(1));
  if (std::any_of(value.begin(), value.end(), is_control)) {
    return invalid("form: the header '" + name + "' holds control characters");
  }
  if (name == "content-disposition") {
    if (!part.name.empty()) return invalid("form: a part has two names");
    return take_disposition(value, limits, part);
  }
  if (name == "content-type") part.content_type = value;
  if (name == "content-transfer-encoding") {
    const std::string encoding = lower_case(value);
    if (encoding != "binary" && encoding != "8bit" && encoding != "7bit") {
      return unsupported("form: contents must not be encoded; content-transfer-encoding may be binary");
    }
  }
  return {};
}

// Takes the headers of a part, with the empty line that ends them, off the front of the text.
Result<FormPart> take_headers(std::string_view& text, const FormLimits& limits) {
  FormPart part;
  std::string_view head = text.substr(0, static_cast<size_t>(limits.max_header_bytes));
  const size_t size = head.find("\r\n\r\n");
  if (size == std::string_view::npos) {
    return invalid("form: a part's headers do not end within " + std::to_string(limits.max_header_bytes) +
                   " bytes");
  }
  text.remove_prefix(size + 2 * kLineBreak.size());
  head = head.substr(0, size);
  while (!head.empty()) {
    const size_t end = std::min(head.find(kLineBreak), head.size());
    TRY(take_header(head.substr(0, end), limits, part));
    head.remove_prefix(std::min(end + kLineBreak.size(), head.size()));
  }
  if (part.name.empty()) return invalid("form: a part has no content-disposition");
  return part;
}

}  // namespace

Result<std::vector<FormPart>> parse_multipart(std::string_view content_type, std::string_view body,
                                              const FormLimits& limits) {
  const std::string delimiter = "--" + TRY(boundary_of(content_type));
  if (!body.starts_with(delimiter)) return invalid("form: the body does not begin with its boundary");
  body.remove_prefix(delimiter.size());
  const std::string next = std::string(kLineBreak) + delimiter;
  std::vector<FormPart> parts;
  while (!body.starts_with("--")) {
    if (!body.starts_with(kLineBreak)) return invalid("form: a boundary is not followed by a line break");
    body.remove_prefix(kLineBreak.size());
    if (std::ssize(parts) == limits.max_parts) {
      return limit_reached("form: more than " + std::to_string(limits.max_parts) + " parts");
    }
    FormPart part = TRY(take_headers(body, limits));
    const size_t end = body.find(next);
    if (end == std::string_view::npos) return invalid("form: the last boundary is missing");
    part.content = body.substr(0, end);
    body.remove_prefix(end + next.size());
    parts.push_back(std::move(part));
  }
  body.remove_prefix(2);
  if (!body.empty() && body != kLineBreak) return invalid("form: bytes behind the last boundary");
  return parts;
}

}  // namespace heed
