// What the parsers of regular expressions and of EBNF share: reading code points, numbers and limits.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/code_points.h"

namespace heed::grammar {

inline constexpr int kMaxRepetition = 100'000;  // of one quantifier
inline constexpr int kMaxGroupDepth = 100;

class PatternText {
 public:
  PatternText(std::string_view text, std::string what) : text_(text), what_(std::move(what)) {}

  bool done() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  size_t at() const { return at_; }
  void go_to(size_t at) { at_ = at; }

  Error error(const std::string& message) const {
    return invalid(what_ + ": " + message + " at byte " + std::to_string(at_));
  }
  Error refused(const std::string& message) const {
    return unsupported(what_ + ": " + message + " at byte " + std::to_string(at_) + " not supported");
  }

  Result<int32_t> code_point();           // the next one, as it stands
  Result<int32_t> hex(int min, int max);  // so many hexadecimal digits, as a code point
  std::optional<int> number();            // digits; too large a number is kMaxRepetition + 1

  // {m}, {m,} or {m,n} behind its brace; nothing (and the place stays) if it is not of that form.
  struct Bounds {
    int min = 0;
    int max = 0;
  };
  Result<std::optional<Bounds>> bounds();

 private:
  std::string_view text_;
  std::string what_;
  size_t at_ = 0;
};

}  // namespace heed::grammar
