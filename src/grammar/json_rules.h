// The rules that JSON texts of any schema share, and whitespace.
//
// Whitespace is bounded, so that an answer cannot consist of it: none in front of a comma or colon; at most
// one space behind a colon; elsewhere nothing, one space, or a line break with up to 32 spaces or 8 tabs of
// indentation.
#pragma once
#include <optional>

#include "grammar/compile.h"

namespace heed::grammar {

class JsonRules {
 public:
  explicit JsonRules(GrammarBuilder& builder) : builder_(builder) {}

  int any_string();                                       // with all escapes of JSON
  int string_of(int64_t min_length, int64_t max_length);  // in code points
  int any_integer();
  int any_number();

  // Each adds what it says behind `from` and returns the state behind that.
  int add_space(Automaton& automaton, int from);  // where lines may be broken
  int add_colon(Automaton& automaton, int from);
  int add_comma(Automaton& automaton, int from);
  int add_value(Automaton& automaton, int from, const OrderedJson& value);  // one value, as text

 private:
  int define(int& rule, const Syntax& syntax);

  GrammarBuilder& builder_;
  int string_ = -1;
  int integer_ = -1;
  int number_ = -1;
  int line_break_ = -1;
};

}  // namespace heed::grammar
