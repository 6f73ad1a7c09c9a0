// Values as text: Python's str, repr and json.dumps.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/jinja_runtime.h"

namespace heed::jinja {

// str(value), what a template prints.
Result<std::string> to_text(Runtime& runtime, const Value& value);
// repr(value), how lists and dicts show their elements.
Result<std::string> to_repr(Runtime& runtime, const Value& value);
std::string float_repr(double value);
std::string text_repr(std::string_view text, bool ascii_only = false);
std::string escape_html(std::string_view text);

struct JsonStyle {
  bool ascii_only = false;
  bool sort_keys = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
Result<std::string> to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace heed::jinja
