#include "base/json.h"

#include "base/file.h"

namespace heed {
namespace {

// The library parses without recursion, but what walks its documents later may recurse: bound the depth here.
int nesting_depth(std::string_view text, int stop_at) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size() && deepest <= stop_at; ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

std::string place(std::string_view text, size_t byte) {
  size_t line = 1;
  size_t column = 1;
  for (size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    ++column;
    if (text[i] == '\n') ++line, column = 1;
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

template <class Document>
Result<Document> parse(std::string_view text, const std::string& what, int max_depth) {
  if (nesting_depth(text, max_depth) > max_depth) {
    return limit_reached(what + ": JSON nested deeper than " + std::to_string(max_depth) + " levels");
  }
  // The library takes a zero byte for the end of the text, whatever follows it; JSON has none.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return invalid(what + ": not valid JSON at " + place(text, zero + 1));
  }
  try {
    return Document::parse(text);
  } catch (const typename Document::parse_error& error) {
    return invalid(what + ": not valid JSON at " + place(text, error.byte));
  } catch (const typename Document::exception&) {
    return invalid(what + ": not valid JSON: a number is out of range");
  }
}

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& what, int max_depth) {
  return parse<Json>(text, what, max_depth);
}

Result<OrderedJson> parse_ordered_json(std::string_view text, const std::string& what, int max_depth) {
  return parse<OrderedJson>(text, what, max_depth);
}

Result<Json> read_json(const std::string& path, int64_t max_bytes) {
  return parse_json(TRY(read_file(path, max_bytes)), path);
}

std::string to_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string to_text(const OrderedJson& value) {
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace heed
