// What the filters and the methods of text have in common.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja_runtime.h"

namespace heed::jinja {

// Asks for the work on a text and for the room of a result that is `growth` times as long.
Status charge_text(Runtime& runtime, std::string_view text, int64_t growth);

// The text without white space, or without the characters of `chars` where it is not missing or none.
Result<Value> strip_text(Runtime& runtime, const Value& text, const Value& chars, bool left, bool right);

// As str.replace; every place where `count` is negative.
Result<std::string> replace_text(Runtime& runtime, std::string_view text, std::string_view old,
                                 std::string_view replacement, int64_t count);

enum class Padding { kLeft, kRight, kBoth };  // where the fill goes
Result<Value> pad_text(Runtime& runtime, const Value& text, int64_t width, std::string_view fill,
                       Padding padding);

// The parts of a text that is being split, within the limits.
struct Pieces {
  Runtime& runtime;
  std::vector<std::string_view> list = {};

  Status add(std::string_view piece);
  // The lines as str.splitlines finds them; with the line breaks if `keep_ends`.
  Status add_lines(std::string_view text, bool keep_ends);
};

// Text without HTML comments and tags, white space collapsed; and with its entities resolved: the numbered
// ones and amp, lt, gt, quot, apos, nbsp.
std::string strip_tags(std::string_view text);
std::string unescape_html(std::string_view text);

}  // namespace heed::jinja
