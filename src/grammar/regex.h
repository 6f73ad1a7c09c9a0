// Regular expressions: the part of ECMA-262 that a finite automaton can match, over code points.
//
// Taken: literals, `.`, classes, groups (named or not; nothing is captured), alternation, greedy and lazy
// quantifiers (the language is the same), the anchors ^ and $ anywhere, \d \w \s and their complements as
// ECMA-262 defines them, \t \n \v \f \r \0 \cX \xHH \uHHHH (surrogates in pairs) \u{H}. Refused by name:
// look-around, back-references, word boundaries, Unicode properties, inline flags, possessive quantifiers and
// atomic groups.
#pragma once
#include <string_view>

#include "base/result.h"
#include "grammar/syntax.h"

namespace heed::grammar {

Result<Syntax> parse_regex(std::string_view pattern);

// What contains a match: anything, the pattern, anything.
Syntax searching(Syntax pattern);

}  // namespace heed::grammar
