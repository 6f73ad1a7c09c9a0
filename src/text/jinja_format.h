// Python's two ways to format text: the % operator and str.format.
#pragma once
#include <string>

#include "base/result.h"
#include "text/jinja_builtins.h"
#include "text/jinja_runtime.h"

namespace heed::jinja {

// template % values
Result<Value> format_percent(Runtime& runtime, const Value& pattern, const Value& values);
// pattern.format(...); `arguments.self` is the pattern.
Result<Value> format_braces(Runtime& runtime, Arguments& arguments);

// How one number or text is laid out: [[fill]align][sign][#][0][width][grouping][.precision][type].
struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '-';
  bool alternate = false;
  char grouping = '\0';
  int64_t width = 0;
  int precision = -1;
  char type = '\0';
};
constexpr int kMaxPrecision = 10'000;

Result<FormatSpec> parse_format_spec(std::string_view text);
// One value by a spec, as format(value, spec).
Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view spec);
// A number's digits by type and precision, without sign, padding or grouping.
std::string float_digits(double value, const FormatSpec& spec);
std::string integer_digits(uint64_t value, char type);
// Sign and prefix, then digits, filled to the width.
Result<std::string> lay_out(Runtime& runtime, const std::string& prefix, const std::string& digits,
                            const FormatSpec& spec);

}  // namespace heed::jinja
