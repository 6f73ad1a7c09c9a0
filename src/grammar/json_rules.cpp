#include "grammar/json_rules.h"

#include <cmath>

#include "grammar/json_number.h"

namespace heed::grammar {
namespace {

constexpr int kMaxIndentSpaces = 32;
constexpr int kMaxIndentTabs = 8;

void connect_chars(Automaton& automaton, int from, const CodePointSet& set, int to) {
  for (const CodePoints& range : set) automaton.connect(from, {EdgeKind::kChars, range.lo, range.hi, to});
}

// A JSON string in quotes. State 0 stands before it, 1 between characters, 2 behind a backslash.
Automaton string_automaton(Budget& budget) {
  const CodePointSet hex = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  Automaton a;
  a.deterministic = true;
  for (int i = 0; i < 13; ++i) a.add_state(budget);
  constexpr int kBody = 1;
  a.connect(0, {EdgeKind::kChars, '"', '"', kBody});
  connect_chars(a, kBody, {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, kLastCodePoint}}, kBody);
  a.connect(kBody, {EdgeKind::kChars, '\\', '\\', 2});
  a.connect(kBody, {EdgeKind::kChars, '"', '"', 3});
  a.set_final(3);
  for (const char c : std::string_view("\"\\/bfnrt")) a.connect(2, {EdgeKind::kChars, c, c, kBody});
  a.connect(2, {EdgeKind::kChars, 'u', 'u', 4});
  // Four digits; a first half of a surrogate pair (d8 to db) needs its second (dc to df) behind it.
  connect_chars(a, 4, {{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}, 5);
  connect_chars(a, 4, {{'D', 'D'}, {'d', 'd'}}, 8);
  connect_chars(a, 5, hex, 6);
  connect_chars(a, 6, hex, 7);
  connect_chars(a, 7, hex, kBody);
  connect_chars(a, 8, {{'0', '7'}}, 6);
  connect_chars(a, 8, {{'8', '9'}, {'A', 'B'}, {'a', 'b'}}, 9);
  connect_chars(a, 9, hex, 10);
  connect_chars(a, 10, hex, 11);
  a.connect(11, {EdgeKind::kChars, '\\', '\\', 12});
  const int second_u = a.add_state(budget);
  const int second_digit = a.add_state(budget);
  a.connect(12, {EdgeKind::kChars, 'u', 'u', second_u});
  connect_chars(a, second_u, {{'D', 'D'}, {'d', 'd'}}, second_digit);
  connect_chars(a, second_digit, {{'C', 'F'}, {'c', 'f'}}, 6);
  return a;
}

}  // namespace

int JsonRules::define(int& rule, const Syntax& syntax) {
  if (rule < 0) {
    rule = builder_.add_rule();
    builder_.define(rule, {automaton_of(syntax, builder_.budget())});
  }
  return rule;
}

int JsonRules::any_string() {
  if (string_ < 0) string_ = string_of(0, kEndless);
  return string_;
}

int JsonRules::string_of(int64_t min_length, int64_t max_length) {
  const int rule = builder_.add_rule();
  RuleDraft draft{string_automaton(builder_.budget())};
  draft.counted = min_length > 0 || max_length < kEndless;
  draft.min_count = static_cast<int32_t>(min_length);
  draft.max_count = static_cast<int32_t>(max_length);
  builder_.define(rule, std::move(draft));
  return rule;
}

int JsonRules::any_integer() { return integer_ >= 0 ? integer_ : define(integer_, integers({})); }
int JsonRules::any_number() { return number_ >= 0 ? number_ : define(number_, numbers({})); }

int JsonRules::add_space(Automaton& automaton, int from) {
  if (line_break_ < 0) {
    define(line_break_, sequence({literal("\n"), choice({repeat(literal(" "), 0, kMaxIndentSpaces),
                                                         repeat(literal("\t"), 0, kMaxIndentTabs)})}));
  }
  const int to = automaton.add_call(from, line_break_, builder_.budget());
  automaton.connect(from, {EdgeKind::kChars, ' ', ' ', to});
  automaton.add_empty(from, to);
  return to;
}

int JsonRules::add_colon(Automaton& automaton, int from) {
  const int colon = automaton.add_literal(from, ":", builder_.budget());
  const int to = automaton.add_literal(colon, " ", builder_.budget());
  automaton.add_empty(colon, to);
  return to;
}

int JsonRules::add_comma(Automaton& automaton, int from) {
  return add_space(automaton, automaton.add_literal(from, ",", builder_.budget()));
}

// The document is at most kMaxJsonDepth deep.
int JsonRules::add_value(Automaton& automaton, int from, const OrderedJson& value) {
  Budget& budget = builder_.budget();
  if (budget.spent()) return from;
  if (!value.is_structured()) {
    const int to = automaton.add_literal(from, to_text(value), budget);
    // 1.0 may be written 1.
    const bool is_whole = value.is_number_float() && std::abs(value.get<double>()) < 1e15 &&
                          std::trunc(value.get<double>()) == value.get<double>();
    if (is_whole) {
      const std::string text = std::to_string(static_cast<int64_t>(value.get<double>()));
      automaton.add_empty(automaton.add_literal(from, text, budget), to);
    }
    return to;
  }
  int at = automaton.add_literal(from, value.is_object() ? "{" : "[", budget);
  if (!value.empty()) at = add_space(automaton, at);
  bool is_first = true;
  for (auto member = value.begin(); member != value.end(); ++member) {
    if (!is_first) at = add_comma(automaton, at);
    is_first = false;
    if (value.is_object())
      at = add_colon(automaton, automaton.add_literal(at, to_text(OrderedJson(member.key())), budget));
    at = add_value(automaton, at, *member);
  }
  if (!value.empty()) at = add_space(automaton, at);
  return automaton.add_literal(at, value.is_object() ? "}" : "]", budget);
}

}  // namespace heed::grammar
