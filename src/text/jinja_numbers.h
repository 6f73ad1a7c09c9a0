// Numbers out of text, as Python's int() and float() read them.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace heed::jinja {

struct ParsedInteger {
  enum class State { kNotOne, kNumber, kTooBig };
  State state = State::kNotOne;
  int64_t value = 0;
};
// Base 0: as a literal with its prefix.
ParsedInteger parse_integer(std::string_view text, int64_t base);
std::optional<double> parse_float(std::string_view text);

}  // namespace heed::jinja
