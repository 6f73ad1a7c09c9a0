// What Split, Replace and others look for: a literal text or a regular expression.
#pragma once
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/json_fields.h"
#include "text/regex.h"

namespace heed {

class Pattern {
 public:
  static Pattern literal(std::string text) { return Pattern(std::move(text)); }
  // The member "pattern": {"String": text} or {"Regex": expression}.
  static Result<Pattern> of(const JsonFields& fields);

  // Appends the matches in `text`, as Regex::find_all does. The empty literal matches between all characters.
  Status find_all(std::string_view text, std::vector<ByteSpan>& matches) const;

 private:
  explicit Pattern(std::variant<std::string, Regex> what) : what_(std::move(what)) {}
  std::variant<std::string, Regex> what_;
};

// Appends `text` to `out` with every match of `pattern` replaced by `content`.
Status append_replaced(std::string& out, std::string_view text, const Pattern& pattern,
                       std::string_view content);

}  // namespace heed
