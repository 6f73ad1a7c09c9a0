#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/ascii.h"
#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

Result<int64_t> read_count(std::string_view text, size_t& at) {
  int64_t value = 0;
  for (; at < text.size() && is_ascii_digit(text[at]); ++at) {
    value = value * 10 + (text[at] - '0');
    if (value > INT32_MAX) return limit_reached("too many digits in a format");
  }
  return value;
}

std::string grouped(const std::string& digits, char separator, size_t group) {
  size_t whole = 0;
  while (whole < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[whole])) != 0) ++whole;
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

Result<std::string> format_float(Runtime& runtime, double value, const FormatSpec& spec) {
  std::string prefix(std::signbit(value) && !std::isnan(value) ? "-"
                     : spec.sign == '-'                        ? ""
                                                               : std::string(1, spec.sign));
  std::string digits = float_digits(std::abs(value), spec);
  if (spec.grouping != '\0') digits = grouped(digits, spec.grouping, 3);
  return lay_out(runtime, prefix, digits, spec);
}

Result<std::string> format_integer(Runtime& runtime, int64_t value, const FormatSpec& spec) {
  if (std::strchr("eEfFgG%", spec.type) != nullptr && spec.type != '\0') {
    return format_float(runtime, static_cast<double>(value), spec);
  }
  if (spec.precision >= 0) return invalid("precision not allowed in the format of an integer");
  if (spec.type == 'c') {
    if (value < 0 || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
      return invalid("%c not a character");
    std::string character;
    append_code_point(character, static_cast<char32_t>(value));
    return lay_out(runtime, "", character, spec);
  }
  if (spec.type != '\0' && std::strchr("bdoxXn", spec.type) == nullptr) {
    return invalid(std::string("unknown format code '") + spec.type + "' for an integer");
  }
  std::string prefix(value < 0 ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign));
  const uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  if (spec.alternate && spec.type != '\0' && std::strchr("boxX", spec.type) != nullptr) {
    prefix += std::string("0") + spec.type;
  }
  const bool decimal = spec.type == '\0' || spec.type == 'd' || spec.type == 'n';
  std::string digits = integer_digits(magnitude, spec.type);
  if (spec.grouping != '\0') digits = grouped(digits, spec.grouping, decimal ? 3 : 4);
  return lay_out(runtime, prefix, digits, spec);
}

Result<std::string> format_text(Runtime& runtime, const std::string& text, FormatSpec spec) {
  if (spec.type != '\0' && spec.type != 's')
    return invalid(std::string("unknown format code '") + spec.type + "' for a string");
  if (spec.align == '=' || spec.grouping != '\0' || spec.sign != '-' || spec.alternate) {
    return invalid("a format for numbers is applied to a string");
  }
  if (spec.align == '\0') spec.align = '<';
  const size_t end = spec.precision >= 0 ? byte_of(text, spec.precision) : text.size();
  return lay_out(runtime, "", text.substr(0, end), spec);
}

}  // namespace

std::string integer_digits(uint64_t value, char type) {
  const unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  const char* symbols = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string digits;
  do {
    digits += symbols[value % base];
    value /= base;
  } while (value != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string float_digits(double value, const FormatSpec& spec) {
  const bool capital = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  const std::string tail = spec.type == '%' ? "%" : "";
  if (std::isnan(value)) return (capital ? "NAN" : "nan") + tail;
  if (std::isinf(value)) return (capital ? "INF" : "inf") + tail;
  if (spec.type == '\0' && spec.precision < 0) return float_repr(value);
  if (spec.type == '%') value *= 100;
  char conversion = spec.type == '%' ? 'f' : spec.type == '\0' || spec.type == 'n' ? 'g' : spec.type;
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  const char pattern[] = {'%',
                          spec.alternate ? '#' : '.',
                          spec.alternate ? '.' : '*',
                          spec.alternate ? '*' : conversion,
                          spec.alternate ? conversion : '\0',
                          '\0'};
  const int size = std::snprintf(nullptr, 0, pattern, precision, value);
  std::string out(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(out.data(), out.size(), pattern, precision, value);
  out.resize(static_cast<size_t>(size));
  const bool whole = out.find_first_of(".e") == std::string::npos;
  if (spec.type == '\0' && whole) out += ".0";
  return out + tail;
}

Result<std::string> lay_out(Runtime& runtime, const std::string& prefix, const std::string& digits,
                            const FormatSpec& spec) {
  const int64_t length = count_code_points(prefix) + count_code_points(digits);
  const int64_t missing = std::max<int64_t>(0, spec.width - length);
  TRY(runtime.room_for(missing, static_cast<int64_t>(spec.fill.size())));
  TRY(runtime.work(1 + missing / 64));
  const auto fill = [&spec](int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) out += spec.fill;
    return out;
  };
  switch (spec.align) {
    case '<':
      return prefix + digits + fill(missing);
    case '^':
      return fill(missing / 2) + prefix + digits + fill(missing - missing / 2);
    case '=':
      return prefix + fill(missing) + digits;
    default:
      return fill(missing) + prefix + digits;
  }
}

Result<FormatSpec> parse_format_spec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  size_t behind_fill = 0;
  if (!text.empty()) next_code_point(text, behind_fill);
  if (behind_fill > 0 && behind_fill < text.size() && is_align(text[behind_fill])) {
    spec.fill = text.substr(0, behind_fill);
    spec.align = text[behind_fill];
    at = behind_fill + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[0];
    at = 1;
  }
  const auto peek = [&] { return at < text.size() ? text[at] : '\0'; };
  if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = text[at++];
  if (peek() == '#') spec.alternate = true, ++at;
  if (peek() == '0') {
    if (spec.align == '\0') spec.align = '=', spec.fill = "0";
    ++at;
  }
  spec.width = TRY(read_count(text, at));
  if (peek() == ',' || peek() == '_') spec.grouping = text[at++];
  if (peek() == '.') {
    ++at;
    if (!is_ascii_digit(peek())) return invalid("format specifier missing precision");
    const int64_t precision = TRY(read_count(text, at));
    if (precision > kMaxPrecision) return limit_reached("a precision of more than 10000 digits");
    spec.precision = static_cast<int>(precision);
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) return invalid("invalid format specifier");
  return spec;
}

Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view text) {
  if (text.empty()) return to_text(runtime, value);
  FormatSpec spec = TRY(parse_format_spec(text));
  if (value.is_string()) {
    if (spec.align == '=' && spec.fill == "0") spec.align = '<';
    return format_text(runtime, value.text(), spec);
  }
  if (value.is_integral()) return format_integer(runtime, value.as_int(), spec);
  if (!value.is_float()) return type_error("a string or number to format", value);
  if (spec.type != '\0' && std::strchr("eEfFgGn%", spec.type) == nullptr) {
    return invalid(std::string("unknown format code '") + spec.type + "' for a float");
  }
  return format_float(runtime, value.as_real(), spec);
}

}  // namespace heed::jinja
