#include "grammar/syntax.h"

#include "base/check.h"

namespace heed::grammar {

Syntax chars(CodePointSet set) {
  Syntax syntax{Syntax::Kind::kChars};
  syntax.chars = normalized(std::move(set));
  return syntax;
}

Syntax literal(std::string_view utf8) {
  const auto points = code_points(utf8);
  CHECK(points.has_value(), utf8);
  Syntax syntax{Syntax::Kind::kSequence};
  for (const int32_t c : *points) syntax.parts.push_back(chars({{c, c}}));
  return syntax;
}

Syntax sequence(std::vector<Syntax> parts) {
  Syntax syntax{Syntax::Kind::kSequence};
  syntax.parts = std::move(parts);
  return syntax;
}

Syntax choice(std::vector<Syntax> parts) {
  Syntax syntax{Syntax::Kind::kChoice};
  syntax.parts = std::move(parts);
  return syntax;
}

Syntax repeat(Syntax part, int min, int max) {
  Syntax syntax{Syntax::Kind::kRepeat};
  syntax.parts.push_back(std::move(part));
  syntax.min = min;
  syntax.max = max;
  return syntax;
}

Syntax optional(Syntax part) { return repeat(std::move(part), 0, 1); }

Syntax call(int rule) {
  Syntax syntax{Syntax::Kind::kCall};
  syntax.rule = rule;
  return syntax;
}

Syntax digits(int min, int max) { return repeat(chars({{'0', '9'}}), min, max); }

}  // namespace heed::grammar
