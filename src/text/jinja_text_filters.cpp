#include <algorithm>

#include "text/jinja_builtins.h"
#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

// What a filter of text applies to: the text itself, or how a value prints.
Result<Value> soft_text(Runtime& runtime, const Value& value) {
  if (value.is_string()) return value;
  return runtime.text(TRY(to_text(runtime, value)));
}

template <std::string (*change)(std::string_view)>
Result<Value> changed_print(Runtime& runtime, Arguments& arguments) {
  const Value value = TRY(soft_text(runtime, arguments.self));
  TRY(charge_text(runtime, value.text(), 3));
  return runtime.text(change(value.text()), value.markup());
}

bool begins_words(char c) { return c == '-' || c == '(' || c == '{' || c == '[' || c == '<'; }

Result<Value> title(Runtime& runtime, Arguments& arguments) {
  const std::string text = TRY(to_text(runtime, arguments.self));
  TRY(charge_text(runtime, text, 3));
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    bool separates = false;
    for (size_t next = at; next < text.size(); at = next) {
      const char32_t c = next_code_point(text, next);
      const bool separator = is_space(c) || (c < 0x80 && begins_words(static_cast<char>(c)));
      if (at == start) separates = separator;
      if (separator != separates) break;
    }
    size_t behind_first = start;
    next_code_point(text, behind_first);
    out += to_upper(std::string_view(text).substr(start, behind_first - start));
    out += to_lower(std::string_view(text).substr(behind_first, at - behind_first));
  }
  return runtime.text(std::move(out));
}

Result<Value> trim(Runtime& runtime, Arguments& arguments) {
  const Value value = TRY(soft_text(runtime, arguments.self));
  return strip_text(runtime, value, arguments[0], true, true);
}

Result<Value> replace(Runtime& runtime, Arguments& arguments) {
  const std::string text = TRY(to_text(runtime, arguments.self));
  const std::string old = TRY(to_text(runtime, arguments[0]));
  const std::string replacement = TRY(to_text(runtime, arguments[1]));
  const bool limited = arguments.given(2) && !arguments[2].is_none();
  const int64_t count = limited ? TRY(integer_argument(arguments[2], "count")) : -1;
  return runtime.text(TRY(replace_text(runtime, text, old, replacement, count)));
}

Result<Value> center(Runtime& runtime, Arguments& arguments) {
  const Value value = TRY(soft_text(runtime, arguments.self));
  const int64_t width = arguments.given(0) ? TRY(integer_argument(arguments[0], "width")) : 80;
  return pad_text(runtime, value, width, " ", Padding::kBoth);
}

Result<Value> indent(Runtime& runtime, Arguments& arguments) {
  if (arguments.self.is_undefined()) return undefined_error(arguments.self);
  if (!arguments.self.is_string()) return type_error("a string to indent", arguments.self);
  std::string indention = "    ";
  if (arguments.given(0) && arguments[0].is_string()) {
    indention = arguments[0].text();
  } else if (arguments.given(0)) {
    const int64_t width = std::max<int64_t>(0, TRY(integer_argument(arguments[0], "width")));
    TRY(runtime.room(width));
    indention = std::string(static_cast<size_t>(width), ' ');
  }
  const bool first = flag_argument(arguments[1], false);
  const bool blank = flag_argument(arguments[2], false);
  TRY(charge_text(runtime, arguments.self.text(), 1));
  const std::string text = arguments.self.text() + "\n";
  Pieces pieces{runtime};
  TRY(pieces.add_lines(text, false));
  const auto& lines = pieces.list;
  TRY(runtime.room(static_cast<int64_t>(text.size())));
  TRY(runtime.room_for(static_cast<int64_t>(lines.size()), static_cast<int64_t>(indention.size()) + 1));
  std::string out = first ? indention : "";
  out.reserve(text.size() + (lines.size() + 1) * indention.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indention;
    out += lines[i];
  }
  return runtime.text(std::move(out), arguments.self.markup());
}

Result<Value> truncate(Runtime& runtime, Arguments& arguments) {
  const Value& self = arguments.self;
  const int64_t size = TRY(length(self));
  const int64_t most = arguments.given(0) ? TRY(integer_argument(arguments[0], "length")) : 255;
  const bool kill_words = flag_argument(arguments[1], false);
  const std::string end = arguments.given(2) ? TRY(text_argument(arguments[2], "end")) : "...";
  const bool given_leeway = arguments.given(3) && !arguments[3].is_none();
  const int64_t leeway = given_leeway ? TRY(integer_argument(arguments[3], "leeway")) : 5;
  const int64_t end_size = count_code_points(end);
  if (most < end_size) return invalid("truncate needs a length of at least " + std::to_string(end_size));
  if (leeway < 0) return invalid("truncate needs a leeway of at least 0");
  if (size <= leeway || size - leeway <= most) return self;
  if (!self.is_string()) return type_error("a string to truncate", self);
  TRY(charge_text(runtime, self.text(), 1));
  std::string_view kept = std::string_view(self.text()).substr(0, byte_of(self.text(), most - end_size));
  if (!kill_words) kept = kept.substr(0, kept.rfind(' '));
  return runtime.text(std::string(kept) + end, self.markup());
}

Result<Value> wordcount(Runtime& runtime, Arguments& arguments) {
  const std::string text = TRY(to_text(runtime, arguments.self));
  TRY(charge_text(runtime, text, 1));
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const bool word = is_word(next_code_point(text, at));
    if (word && !inside) ++words;
    inside = word;
  }
  return Value::integer(words);
}

std::string quote_url(std::string_view text, bool query) {
  static constexpr std::string_view kSafe = "_.-~";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (plain || kSafe.find(c) != std::string_view::npos || (c == '/' && !query)) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      char buffer[4];
      std::snprintf(buffer, sizeof buffer, "%%%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += buffer;
    }
  }
  return out;
}

Result<Value> urlencode(Runtime& runtime, Arguments& arguments) {
  const Value& self = arguments.self;
  if (self.is_string() || !is_iterable(self)) {
    const std::string text = TRY(to_text(runtime, self));
    TRY(charge_text(runtime, text, 3));
    return runtime.text(quote_url(text, false));
  }
  Values pairs;
  if (self.is_dict()) {
    for (const auto& [key, value] : self.get<DictObject>().entries) pairs.push_back(runtime.pair(key, value));
  } else {
    pairs = TRY(collect(runtime, self));
  }
  std::string out;
  for (const Value& pair : pairs) {
    const Values parts = TRY(collect(runtime, pair));
    if (parts.size() != 2) return invalid("urlencode needs pairs of names and values");
    const std::string key = TRY(to_text(runtime, parts[0]));
    const std::string value = TRY(to_text(runtime, parts[1]));
    TRY(charge_text(runtime, key, 3));
    TRY(charge_text(runtime, value, 3));
    if (!out.empty()) out += '&';
    out += quote_url(key, true) + "=" + quote_url(value, true);
    TRY(runtime.room_to_grow(out));
  }
  return runtime.text(std::move(out));
}

Result<Value> string(Runtime& runtime, Arguments& arguments) { return soft_text(runtime, arguments.self); }

Result<Value> format(Runtime& runtime, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    return invalid("format takes arguments by place or by name, not both");
  }
  const Value pattern = TRY(soft_text(runtime, arguments.self));
  if (arguments.named.empty())
    return format_percent(runtime, pattern, runtime.tuple(std::move(arguments.positional)));
  const Value values = runtime.dict();
  for (const auto& [name, value] : arguments.named) runtime.set(values, runtime.text(name), value);
  return format_percent(runtime, pattern, values);
}

Result<JsonStyle> json_style(Runtime& runtime, const Arguments& arguments) {
  JsonStyle style;
  style.ascii_only = flag_argument(arguments[0], false);
  style.sort_keys = flag_argument(arguments[3], false);
  if (arguments.given(1) && arguments[1].is_string()) {
    style.indent = arguments[1].text();
  } else if (arguments.given(1) && !arguments[1].is_none()) {
    const int64_t width = std::max<int64_t>(0, TRY(integer_argument(arguments[1], "indent")));
    constexpr int64_t kMaxIndent = 10'000;
    if (width > kMaxIndent) return limit_reached("tojson indented by more than 10000");
    style.indent = std::string(static_cast<size_t>(width), ' ');
  }
  if (style.indent) style.item_separator = ",";
  if (!arguments.given(2) || arguments[2].is_none()) return style;
  const Values separators = TRY(collect(runtime, arguments[2]));
  if (separators.size() != 2) return invalid("tojson needs two separators");
  style.item_separator = TRY(text_argument(separators[0], "separators"));
  style.key_separator = TRY(text_argument(separators[1], "separators"));
  return style;
}

Result<Value> tojson(Runtime& runtime, Arguments& arguments) {
  const JsonStyle style = TRY(json_style(runtime, arguments));
  return runtime.text(TRY(to_json(runtime, arguments.self, style)));
}

Result<Value> striptags(Runtime& runtime, Arguments& arguments) {
  const std::string text = TRY(to_text(runtime, arguments.self));
  TRY(charge_text(runtime, text, 4));
  return runtime.text(unescape_html(strip_tags(text)));
}

Result<Value> safe(Runtime& runtime, Arguments& arguments) {
  return runtime.text(TRY(to_text(runtime, arguments.self)), true);
}

Result<Value> escape(Runtime& runtime, Arguments& arguments) {
  if (arguments.self.is_string() && arguments.self.markup()) return arguments.self;
  const std::string text = TRY(to_text(runtime, arguments.self));
  TRY(charge_text(runtime, text, 5));
  return runtime.text(escape_html(text), true);
}

Result<Value> forceescape(Runtime& runtime, Arguments& arguments) {
  const std::string text = TRY(to_text(runtime, arguments.self));
  TRY(charge_text(runtime, text, 5));
  return runtime.text(escape_html(text), true);
}

Result<std::string> escaped(Runtime& runtime, const Value& value) {
  const std::string text = TRY(to_text(runtime, value));
  TRY(charge_text(runtime, text, 5));
  return value.is_string() && value.markup() ? text : escape_html(text);
}

Result<Value> xmlattr(Runtime& runtime, Arguments& arguments) {
  if (arguments.self.is_undefined()) return undefined_error(arguments.self);
  if (!arguments.self.is_dict()) return type_error("a mapping of attributes", arguments.self);
  std::string out;
  for (const auto& [key, value] : arguments.self.get<DictObject>().entries) {
    if (value.is_none() || value.is_undefined()) continue;
    if (!key.is_string()) return type_error("a string as the name of an attribute", key);
    if (key.text().find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      return invalid("invalid character in an attribute's name");
    }
    if (!out.empty()) out += ' ';
    out += TRY(escaped(runtime, key)) + "=\"";
    out += TRY(escaped(runtime, value)) + "\"";
    TRY(runtime.room_to_grow(out));
  }
  if (flag_argument(arguments[0], true) && !out.empty()) out.insert(0, 1, ' ');
  return runtime.text(std::move(out));
}

}  // namespace

Builtins text_filters() {
  static constexpr Builtin kFilters[] = {
      {"upper", "", changed_print<to_upper>},
      {"lower", "", changed_print<to_lower>},
      {"capitalize", "", changed_print<to_capitalized>},
      {"title", "", title},
      {"trim", "chars?", trim},
      {"replace", "old new count?", replace},
      {"center", "width?", center},
      {"indent", "width? first? blank?", indent},
      {"truncate", "length? killwords? end? leeway?", truncate},
      {"wordcount", "", wordcount},
      {"urlencode", "", urlencode},
      {"string", "", string},
      {"format", "*", format},
      {"tojson", "ensure_ascii? indent? separators? sort_keys?", tojson},
  };
  return kFilters;
}

Builtins markup_filters() {
  static constexpr Builtin kFilters[] = {
      {"safe", "", safe},
      {"escape", "", escape},
      {"e", "", escape},
      {"forceescape", "", forceescape},
      {"striptags", "", striptags},
      {"xmlattr", "autospace?", xmlattr},
  };
  return kFilters;
}

}  // namespace heed::jinja
