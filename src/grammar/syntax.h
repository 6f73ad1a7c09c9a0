// Syntax: a parsed expression, the common form of regular expressions, EBNF and what the JSON schema compiler
// builds.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "grammar/code_points.h"

namespace heed::grammar {

struct Syntax {
  enum class Kind { kChars, kSequence, kChoice, kRepeat, kCall, kBegin, kEnd };
  Kind kind = Kind::kSequence;
  CodePointSet chars;         // kChars
  std::vector<Syntax> parts;  // kSequence, kChoice (none: matches nothing at all), kRepeat (one)
  int min = 0;                // kRepeat
  int max = 0;                // kRepeat; kUnbounded
  int rule = 0;               // kCall
};

inline constexpr int kUnbounded = -1;

Syntax chars(CodePointSet set);
Syntax literal(std::string_view utf8);  // must be valid UTF-8
Syntax sequence(std::vector<Syntax> parts);
Syntax choice(std::vector<Syntax> parts);
Syntax repeat(Syntax part, int min, int max);
Syntax optional(Syntax part);
Syntax call(int rule);
Syntax digits(int min, int max);

}  // namespace heed::grammar
