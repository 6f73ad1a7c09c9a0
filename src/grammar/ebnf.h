// EBNF as GBNF and xgrammar write it:
//
//   root  ::= "{" pair ("," pair)* "}"      # comment
//   pair  ::= [a-z]+ ":" [^\n]{1,20} | 'x' . value?
//
// Quoted literals and classes take the escapes \n \r \t \\ \" \' \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH; a
// repetition is *, +, ?, {m}, {m,} or {m,n}; a rule ends where the next begins. Rules may call each other in
// any way, left recursion too.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/syntax.h"

namespace heed::grammar {

struct EbnfRules {
  std::vector<Syntax> rules;  // a call's `rule` is an index here
  std::vector<std::string> names;
  int root = 0;
};

Result<EbnfRules> parse_ebnf(std::string_view text, int max_rules);

}  // namespace heed::grammar
