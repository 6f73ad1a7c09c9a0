#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "text/jinja_builtins.h"
#include "text/jinja_numbers.h"
#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

// A numeral without white space around it and without underscores between digits; nothing if one stands
// elsewhere.
std::optional<std::string> plain_numeral(std::string_view text) {
  text = strip(text);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const bool between = i > 0 && i + 1 < text.size() &&
                         std::isalnum(static_cast<unsigned char>(text[i - 1])) != 0 &&
                         std::isalnum(static_cast<unsigned char>(text[i + 1])) != 0;
    if (!between) return std::nullopt;
  }
  return out;
}

Result<Value> real_to_integer(double value) {
  if (!(std::abs(value) < 9.2e18)) return invalid("the integer of a float is beyond 64 bits");
  return Value::integer(static_cast<int64_t>(value));
}

Result<Value> to_int(Runtime& runtime, Arguments& arguments) {
  const Value& self = arguments.self;
  if (self.is_undefined()) return undefined_error(self);
  const Value otherwise = arguments.given(0) ? arguments[0] : Value::integer(0);
  const int64_t base = arguments.given(1) ? TRY(integer_argument(arguments[1], "base")) : 10;
  if (self.is_integral()) return Value::integer(self.as_int());
  if (self.is_float())
    return std::isnan(self.as_real()) ? Result<Value>(otherwise) : real_to_integer(self.as_real());
  if (!self.is_string()) return otherwise;
  TRY(runtime.work_on(self.text()));
  const ParsedInteger parsed = parse_integer(self.text(), base);
  if (parsed.state == ParsedInteger::State::kTooBig) return invalid("an integer is beyond 64 bits");
  if (parsed.state == ParsedInteger::State::kNumber) return Value::integer(parsed.value);
  const auto real = parse_float(self.text());
  if (!real || !std::isfinite(*real)) return otherwise;
  return real_to_integer(*real);
}

Result<Value> to_float(Runtime& runtime, Arguments& arguments) {
  const Value& self = arguments.self;
  if (self.is_undefined()) return undefined_error(self);
  if (self.is_number()) return Value::real(self.as_real());
  if (self.is_string()) {
    TRY(runtime.work_on(self.text()));
    if (const auto real = parse_float(self.text())) return Value::real(*real);
  }
  return arguments.given(0) ? arguments[0] : Value::real(0.0);
}

Result<Value> absolute(Runtime& /*runtime*/, Arguments& arguments) {
  const Value& self = arguments.self;
  if (self.is_undefined()) return undefined_error(self);
  if (self.is_float()) return Value::real(std::abs(self.as_real()));
  if (!self.is_integral()) return type_error("a number", self);
  return self.as_int() < 0 ? negative(self) : Value::integer(self.as_int());
}

Result<Value> round_integer(int64_t value, int64_t precision) {
  if (precision >= 0) return Value::integer(value);
  if (precision < -18) return Value::integer(0);
  int64_t unit = 1;
  for (int64_t i = precision; i < 0; ++i) unit *= 10;
  const int64_t remainder = ((value % unit) + unit) % unit;
  int64_t low = 0;
  if (__builtin_sub_overflow(value, remainder, &low)) return invalid("an integer is beyond 64 bits");
  const bool up = remainder > unit - remainder || (remainder == unit - remainder && (low / unit) % 2 != 0);
  int64_t result = low;
  if (up && __builtin_add_overflow(low, unit, &result)) return invalid("an integer is beyond 64 bits");
  return Value::integer(result);
}

// Rounds half to even, on the exact decimal value of the float.
Result<Value> round_float(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 323) return Value::real(value);
  if (precision < -308) return Value::real(std::copysign(0.0, value));
  if (precision >= 0) {
    std::string digits(512 + static_cast<size_t>(precision), '\0');
    const int size = std::snprintf(digits.data(), digits.size(), "%.*f", static_cast<int>(precision), value);
    digits.resize(static_cast<size_t>(size));
    return Value::real(std::strtod(digits.c_str(), nullptr));
  }
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return Value::real(std::nearbyint(value / unit) * unit);
}

Result<Value> round(Runtime& runtime, Arguments& arguments) {
  const Value& self = arguments.self;
  const Value precision = arguments.given(0) ? arguments[0] : Value::integer(0);
  const std::string method = arguments.given(1) ? TRY(text_argument(arguments[1], "method")) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    return invalid("method must be common, ceil or floor");
  if (self.is_undefined()) return undefined_error(self);
  if (!self.is_number()) return type_error("a number to round", self);
  if (method == "common") {
    if (precision.is_none()) {
      if (self.is_integral()) return Value::integer(self.as_int());
      return real_to_integer(std::nearbyint(self.as_real()));
    }
    const int64_t digits = TRY(integer_argument(precision, "precision"));
    return self.is_integral() ? round_integer(self.as_int(), digits) : round_float(self.as_real(), digits);
  }
  const Value unit = TRY(arithmetic(runtime, NodeType::kPower, Value::integer(10), precision));
  Value scaled = TRY(arithmetic(runtime, NodeType::kMultiply, self, unit));
  if (scaled.is_float()) {
    scaled =
        TRY(real_to_integer(method == "ceil" ? std::ceil(scaled.as_real()) : std::floor(scaled.as_real())));
  }
  return arithmetic(runtime, NodeType::kDivide, scaled, unit);
}

Result<Value> filesizeformat(Runtime& runtime, Arguments& arguments) {
  Arguments number;
  number.self = arguments.self;
  number.positional.push_back(Value::none());
  const Value parsed = TRY(to_float(runtime, number));
  if (parsed.is_none()) return type_error("a number of bytes", arguments.self);
  const double bytes = parsed.as_real();
  const bool binary = flag_argument(arguments[0], false);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return runtime.text("1 Byte");
  if (bytes < base) {
    const Value whole = TRY(real_to_integer(bytes));
    return runtime.text(std::to_string(whole.as_int()) + " Bytes");
  }
  if (std::isnan(bytes)) return runtime.text(binary ? "nan YiB" : "nan YB");
  static constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  size_t i = 0;
  for (; i < kPrefixes.size(); ++i) {
    unit *= base;
    if (bytes < unit || i + 1 == kPrefixes.size()) break;
  }
  char buffer[400];
  std::snprintf(buffer, sizeof buffer, "%.1f ", base * bytes / unit);
  const std::string prefix(1, binary && i == 0 ? 'K' : kPrefixes[i]);
  return runtime.text(buffer + prefix + (binary ? "iB" : "B"));
}

}  // namespace

ParsedInteger parse_integer(std::string_view text, int64_t base) {
  const auto numeral = plain_numeral(text);
  if (!numeral || (base != 0 && (base < 2 || base > 36))) return {};
  std::string_view digits = *numeral;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  const char mark = static_cast<char>(digits.size() > 1 && digits[0] == '0' ? digits[1] | 0x20 : '\0');
  const int marked = mark == 'b' ? 2 : mark == 'o' ? 8 : mark == 'x' ? 16 : 0;
  if (marked != 0 && (base == 0 || base == marked)) {
    digits.remove_prefix(2);
    base = marked;
  }
  if (base == 0) {
    if (digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of('0') != std::string_view::npos)
      return {};
    base = 10;
  }
  if (digits.empty()) return {};
  const std::string spelled = (negative ? "-" : "") + std::string(digits);
  if (digits[0] == '-' || digits[0] == '+') return {};
  ParsedInteger parsed;
  const auto read =
      std::from_chars(spelled.data(), spelled.data() + spelled.size(), parsed.value, static_cast<int>(base));
  if (read.ptr != spelled.data() + spelled.size()) return {};
  parsed.state = read.ec == std::errc() ? ParsedInteger::State::kNumber : ParsedInteger::State::kTooBig;
  return parsed;
}

std::optional<double> parse_float(std::string_view text) {
  const auto numeral = plain_numeral(text);
  if (!numeral) return std::nullopt;
  std::string_view digits = *numeral;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::nullopt;
  if (std::isdigit(static_cast<unsigned char>(digits[0])) == 0 && digits[0] != '.') {
    std::string name = to_lower(digits);
    if (name != "inf" && name != "infinity" && name != "nan") return std::nullopt;
    const double value = name == "nan" ? std::nan("") : HUGE_VAL;
    return negative ? -value : value;
  }
  double value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (read.ptr != digits.data() + digits.size()) return std::nullopt;
  if (read.ec == std::errc::result_out_of_range) value = std::strtod(std::string(digits).c_str(), nullptr);
  return negative ? -value : value;
}

Builtins number_filters() {
  static constexpr Builtin kFilters[] = {
      {"int", "default? base?", to_int},
      {"float", "default?", to_float},
      {"abs", "", absolute},
      {"round", "precision? method?", round},
      {"filesizeformat", "binary?", filesizeformat},
  };
  return kFilters;
}

}  // namespace heed::jinja
