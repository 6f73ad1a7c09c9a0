#include "grammar/pattern_text.h"

#include <algorithm>

#include "grammar/syntax.h"

namespace heed::grammar {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<int32_t> PatternText::code_point() {
  if (done()) return error("the end of the text is not expected");
  const std::optional<int32_t> c = next_code_point(text_, at_);
  if (!c) return error("the text is not UTF-8");
  return *c;
}

Result<int32_t> PatternText::hex(int min, int max) {
  int64_t value = 0;
  int count = 0;
  for (; count < max && hex_digit(peek()) >= 0; ++count) value = value * 16 + hex_digit(text_[at_++]);
  if (count < min) return error("an escape needs " + std::to_string(min) + " hexadecimal digits");
  if (value > kLastCodePoint) return error("the escape is past the last code point");
  return static_cast<int32_t>(value);
}

std::optional<int> PatternText::number() {
  if (peek() < '0' || peek() > '9') return std::nullopt;
  int value = 0;
  for (; peek() >= '0' && peek() <= '9'; ++at_)
    value = std::min(value * 10 + (peek() - '0'), kMaxRepetition + 1);
  return value;
}

Result<std::optional<PatternText::Bounds>> PatternText::bounds() {
  const size_t before = at_;
  const std::optional<int> min = number();
  std::optional<int> max = min;
  if (min && take(",")) max = number().value_or(kUnbounded);
  if (!min || !take("}")) {
    at_ = before;
    return std::optional<Bounds>();
  }
  if (std::max(*min, *max) > kMaxRepetition) {
    return error("a repetition of more than " + std::to_string(kMaxRepetition));
  }
  if (*max != kUnbounded && *max < *min) return error("a repetition whose bounds are out of order");
  return std::optional<Bounds>({*min, *max});
}

}  // namespace heed::grammar
