#include "text/jinja_format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/ascii.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

// pattern % values: finds the directives and the value of each.
class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const Value& pattern, const Value& values)
      : runtime_(runtime), pattern_(pattern.text()), markup_(pattern.markup()), values_(values) {}

  Result<std::string> run() {
    while (at_ < pattern_.size()) {
      TRY(runtime_.work());
      TRY(runtime_.room_to_grow(out_));
      const size_t directive = pattern_.find('%', at_);
      out_ += pattern_.substr(at_, directive == std::string::npos ? directive : directive - at_);
      if (directive == std::string::npos) break;
      at_ = directive + 1;
      TRY(replace());
    }
    const bool mapping =
        values_.is_dict() || values_.is(Kind::kList) || values_.is(Kind::kRange) || values_.is_undefined();
    const size_t given = values_.is(Kind::kTuple) ? values_.items().size() : 1;
    if (used_ < given && !mapping) return invalid("not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  char peek() const { return at_ < pattern_.size() ? pattern_[at_] : '\0'; }

  Result<Value> next_value() {
    if (keyed_) return key_value_;
    if (values_.is(Kind::kTuple)) {
      if (used_ >= values_.items().size()) return invalid("not enough arguments for format string");
      return values_.items()[used_++];
    }
    if (used_++ > 0) return invalid("not enough arguments for format string");
    return values_;
  }

  Status read_key() {
    keyed_ = peek() == '(';
    if (!keyed_) return {};
    if (!values_.is_dict()) return invalid("format requires a mapping");
    int open = 1;
    const size_t start = ++at_;
    for (; at_ < pattern_.size(); ++at_) {
      if (pattern_[at_] == '(') ++open;
      if (pattern_[at_] == ')' && --open == 0) break;
    }
    if (open > 0) return invalid("incomplete format key");
    const std::string key(pattern_.substr(start, at_ - start));
    ++at_;
    const Value* value = values_.get<DictObject>().find(key);
    if (value == nullptr) return invalid("no value for the format key '" + key + "'");
    key_value_ = *value;
    used_ = 1;
    return {};
  }

  Result<int64_t> read_count() {
    if (peek() == '*') {
      ++at_;
      const Value value = TRY(next_value());
      if (!value.is_integral()) return type_error("an integer for *", value);
      return value.as_int();
    }
    int64_t count = 0;
    for (; is_ascii_digit(peek()); ++at_) {
      count = count * 10 + (pattern_[at_] - '0');
      if (count > INT32_MAX) return limit_reached("a width that is too big");
    }
    return count;
  }

  Status replace() {
    TRY(read_key());
    FormatSpec spec;
    bool left = false;
    bool zero = false;
    for (; peek() != '\0' && std::strchr("#0- +", peek()) != nullptr; ++at_) {
      if (peek() == '#') spec.alternate = true;
      if (peek() == '0') zero = true;
      if (peek() == '-') left = true;
      if (peek() == '+' || (peek() == ' ' && spec.sign != '+')) spec.sign = peek();
    }
    spec.width = TRY(read_count());
    if (spec.width < 0) left = true, spec.width = -std::max<int64_t>(spec.width, -INT32_MAX);
    if (peek() == '.') {
      ++at_;
      const int64_t precision = std::max<int64_t>(0, TRY(read_count()));
      if (precision > kMaxPrecision) return limit_reached("a precision of more than 10000 digits");
      spec.precision = static_cast<int>(precision);
    }
    if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
    if (at_ >= pattern_.size()) return invalid("incomplete format");
    spec.type = pattern_[at_++];
    spec.align = left ? '<' : '>';
    if (spec.type == '%') {
      out_ += '%';
      return {};
    }
    const Value value = TRY(next_value());
    return append(value, spec, zero && !left);
  }

  Status append(const Value& value, FormatSpec spec, bool zero) {
    std::string prefix;
    std::string body;
    if (std::strchr("sra", spec.type) != nullptr) {
      TRY(text_body(value, spec, body));
      zero = false;
    } else if (spec.type == 'c') {
      TRY(character_body(value, body));
      zero = false;
    } else {
      TRY(number_body(value, spec, prefix, body));
    }
    if (zero) spec.align = '=', spec.fill = "0";
    out_ += TRY(lay_out(runtime_, prefix, body, spec));
    return {};
  }

  Status text_body(const Value& value, const FormatSpec& spec, std::string& body) {
    auto shown = spec.type == 's' ? to_text(runtime_, value) : to_repr(runtime_, value);
    body = TRY(std::move(shown));
    if (spec.type == 'a') {
      std::string ascii;
      for (size_t at = 0; at < body.size();) {
        const char32_t c = next_code_point(body, at);
        std::string one;
        append_code_point(one, c);
        const std::string quoted = text_repr(one, true);
        ascii += c < 0x80 ? one : quoted.substr(1, quoted.size() - 2);
      }
      body = ascii;
    }
    if (markup_ && !(spec.type == 's' && value.markup())) body = escape_html(body);
    if (spec.precision >= 0) body.resize(byte_of(body, spec.precision));
    return {};
  }

  static Status character_body(const Value& value, std::string& body) {
    if (value.is_string() && text_length(value) == 1) {
      body = value.text();
      return {};
    }
    if (!value.is_integral()) return type_error("an integer or one character for %c", value);
    const int64_t c = value.as_int();
    if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return invalid("%c: not a character");
    append_code_point(body, static_cast<char32_t>(c));
    return {};
  }

  static Status number_body(const Value& value, FormatSpec& spec, std::string& prefix, std::string& body) {
    if (std::strchr("diuoxXeEfFgG", spec.type) == nullptr) {
      return invalid(std::string("unsupported format character '") + spec.type + "'");
    }
    if (value.is_undefined()) return undefined_error(value);
    if (!value.is_number()) return type_error("a number to format", value);
    const bool is_real = std::strchr("eEfFgG", spec.type) != nullptr;
    bool negative;
    if (is_real) {
      const double number = value.as_real();
      negative = std::signbit(number) && !std::isnan(number);
      body = float_digits(std::abs(number), spec);
    } else {
      const bool decimal = std::strchr("diu", spec.type) != nullptr;
      if (!decimal && value.is_float()) return type_error("an integer to format", value);
      if (value.is_float() && !(std::abs(value.as_real()) < 9.2e18))
        return invalid("an integer is beyond 64 bits");
      const int64_t number = value.is_float() ? static_cast<int64_t>(value.as_real()) : value.as_int();
      negative = number < 0;
      body = integer_digits(negative ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number),
                            spec.type);
      if (spec.precision > static_cast<int>(body.size())) {
        body.insert(0, static_cast<size_t>(spec.precision) - body.size(), '0');
      }
      if (spec.alternate && !decimal) prefix = std::string("0") + spec.type;
    }
    prefix.insert(0, negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign));
    return {};
  }

  Runtime& runtime_;
  std::string_view pattern_;
  bool markup_;
  const Value& values_;
  size_t at_ = 0;
  size_t used_ = 0;
  bool keyed_ = false;
  Value key_value_;
  std::string out_;
};

// pattern.format(...)
class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Arguments& arguments) : runtime_(runtime), arguments_(arguments) {}

  Result<std::string> run(std::string_view pattern, int depth) {
    if (depth > 1) return invalid("max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < pattern.size();) {
      TRY(runtime_.room_to_grow(out));
      const char c = pattern[at];
      const bool doubled = (c == '{' || c == '}') && at + 1 < pattern.size() && pattern[at + 1] == c;
      if (doubled || (c != '{' && c != '}')) {
        out += c;
        at += doubled ? 2 : 1;
        continue;
      }
      if (c == '}') return invalid("single '}' encountered in format string");
      TRY(runtime_.work());
      const size_t end = TRY(field_end(pattern, at));
      out += TRY(field(pattern.substr(at + 1, end - at - 1), depth));
      at = end + 1;
    }
    return out;
  }

 private:
  static Result<size_t> field_end(std::string_view pattern, size_t at) {
    int open = 0;
    for (; at < pattern.size(); ++at) {
      if (pattern[at] == '{') ++open;
      if (pattern[at] == '}' && --open == 0) return at;
    }
    return invalid("expected '}' before end of string");
  }

  Result<std::string> field(std::string_view text, int depth) {
    size_t name_end = 0;
    bool in_brackets = false;
    for (; name_end < text.size(); ++name_end) {
      if (text[name_end] == '[') in_brackets = true;
      if (text[name_end] == ']') in_brackets = false;
      if (!in_brackets && (text[name_end] == '!' || text[name_end] == ':')) break;
    }
    Value value = TRY(resolve(text.substr(0, name_end)));
    std::string_view rest = text.substr(name_end);
    if (rest.starts_with('!')) {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
        return invalid("expected ':' after conversion specifier");
      value = TRY(converted(value, rest[1]));
      rest = rest.substr(2);
    }
    const std::string spec = rest.empty() ? std::string() : TRY(run(rest.substr(1), depth + 1));
    std::string out = TRY(format_value(runtime_, value, spec));
    return arguments_.self.markup() && !value.markup() ? escape_html(out) : out;
  }

  Result<Value> converted(const Value& value, char conversion) {
    if (conversion == 's') return runtime_.text(TRY(to_text(runtime_, value)));
    if (conversion == 'r' || conversion == 'a') return runtime_.text(TRY(to_repr(runtime_, value)));
    return invalid("unknown conversion specifier");
  }

  // The value of a field's name: an argument, then attributes and indices.
  Result<Value> resolve(std::string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    Value value = TRY(argument(name.substr(0, first_end)));
    for (size_t at = first_end; at < name.size();) {
      if (name[at] == '.') {
        const size_t end = std::min(name.find_first_of(".[", at + 1), name.size());
        if (end == at + 1) return invalid("empty attribute in format string");
        value = TRY(get_attribute(runtime_, value, std::string(name.substr(at + 1, end - at - 1))));
        at = end;
        continue;
      }
      const size_t end = name.find(']', at);
      if (name[at] != '[' || end == std::string_view::npos || end == at + 1)
        return invalid("malformed index in format string");
      const std::string_view key = name.substr(at + 1, end - at - 1);
      int64_t index = 0;
      const bool is_index = std::all_of(key.begin(), key.end(), is_ascii_digit) &&
                            std::from_chars(key.data(), key.data() + key.size(), index).ec == std::errc();
      value =
          TRY(get_item(runtime_, value, is_index ? Value::integer(index) : runtime_.text(std::string(key))));
      at = end + 1;
    }
    return value;
  }

  Result<Value> argument(std::string_view name) {
    const bool numbered = std::all_of(name.begin(), name.end(), is_ascii_digit);
    if (!numbered) {
      for (const auto& [given, value] : arguments_.named) {
        if (given == name) return value;
      }
      return invalid("no argument '" + std::string(name) + "' for the format string");
    }
    if (name.empty() ? manual_ : next_ > 0) return invalid("automatic and manual field numbering are mixed");
    size_t index = 0;
    if (name.empty()) {
      index = next_++;
    } else {
      manual_ = true;
      if (std::from_chars(name.data(), name.data() + name.size(), index).ec != std::errc()) index = SIZE_MAX;
    }
    if (index >= arguments_.positional.size()) return invalid("not enough arguments for the format string");
    return arguments_.positional[index];
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  size_t next_ = 0;
  bool manual_ = false;
};

}  // namespace

Result<Value> format_percent(Runtime& runtime, const Value& pattern, const Value& values) {
  return runtime.text(TRY(PercentFormatter(runtime, pattern, values).run()), pattern.markup());
}

Result<Value> format_braces(Runtime& runtime, Arguments& arguments) {
  const std::string pattern = arguments.self.text();
  return runtime.text(TRY(BraceFormatter(runtime, arguments).run(pattern, 0)), arguments.self.markup());
}

}  // namespace heed::jinja
