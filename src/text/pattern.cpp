#include "text/pattern.h"

#include "text/unicode.h"

namespace heed {

Result<Pattern> Pattern::of(const JsonFields& fields) {
  const Json* member = TRY(fields.require("pattern"));
  constexpr const char* kAccepted = R"({"String": text} or {"Regex": expression})";
  if (!member->is_object() || member->size() != 1) return fields.error("pattern", kAccepted);
  const std::string kind = member->begin().key();
  const Json& value = *member->begin();
  if (!value.is_string()) return fields.error("pattern", kAccepted);
  if (kind == "String") return literal(value.get<std::string>());
  if (kind != "Regex") return fields.error("pattern", kAccepted);
  Result<Regex> regex = Regex::compile(value.get<std::string>());
  if (!regex.ok()) return std::move(regex).error().within(fields.place());
  return Pattern(std::move(regex).value());
}

Status Pattern::find_all(std::string_view text, std::vector<ByteSpan>& matches) const {
  if (const Regex* regex = std::get_if<Regex>(&what_)) return regex->find_all(text, matches);
  const auto& wanted = std::get<std::string>(what_);
  if (wanted.empty()) {
    for (size_t i = 0; i < text.size(); i += code_point_at(text, i).length) matches.push_back({i, i});
    matches.push_back({text.size(), text.size()});
    return {};
  }
  for (size_t i = text.find(wanted); i != std::string_view::npos; i = text.find(wanted, i + wanted.size())) {
    matches.push_back({i, i + wanted.size()});
  }
  return {};
}

Status append_replaced(std::string& out, std::string_view text, const Pattern& pattern,
                       std::string_view content) {
  if (text.empty()) return {};
  std::vector<ByteSpan> matches;
  TRY(pattern.find_all(text, matches));
  size_t copied = 0;
  for (const ByteSpan& match : matches) {
    out.append(text.substr(copied, match.begin - copied)).append(content);
    copied = match.end;
  }
  out.append(text.substr(copied));
  return {};
}

}  // namespace heed
