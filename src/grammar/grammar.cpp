#include "grammar/grammar.h"

#include "grammar/compile.h"
#include "grammar/ebnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace heed {

using grammar::GrammarBuilder;

int64_t Grammar::num_bytes() const {
  return static_cast<int64_t>(
      tables_.states.size() * sizeof(grammar::TableState) + tables_.edges.size() * sizeof(grammar::ByteEdge) +
      tables_.calls.size() * sizeof(grammar::RuleCall) + tables_.rules.size() * sizeof(grammar::TableRule));
}

Result<Grammar> Grammar::from_json_schema(const OrderedJson& schema, const GrammarLimits& limits) {
  return grammar::compile_json_schema(schema, limits);
}

Result<Grammar> Grammar::json_object(const GrammarLimits& limits) {
  return from_json_schema(OrderedJson{{"type", "object"}}, limits);
}

Result<Grammar> Grammar::from_regex(std::string_view pattern, const GrammarLimits& limits) {
  const grammar::Syntax syntax = TRY(grammar::parse_regex(pattern));
  GrammarBuilder builder(limits);
  const int root = builder.add_rule();
  grammar::Automaton automaton = grammar::automaton_of(syntax, builder.budget());
  TRY(builder.within_limits());
  std::optional<grammar::Automaton> small =
      grammar::determinized(automaton, limits.max_states, builder.budget());
  if (!small) {
    TRY(builder.within_limits());
    return limit_reached("regular expression: it needs more than " + std::to_string(limits.max_states) +
                         " states");
  }
  builder.define(root, {std::move(*small)});
  return builder.finish(root);
}

Result<Grammar> Grammar::from_choice(std::span<const std::string> choices, const GrammarLimits& limits) {
  if (choices.empty()) return invalid("choice: there is nothing to choose from");
  GrammarBuilder builder(limits);
  const int root = builder.add_rule();
  grammar::Automaton automaton;
  automaton.add_state(builder.budget());
  for (const std::string& text : choices) {
    if (!grammar::code_points(text)) return invalid("choice: a text is not valid UTF-8");
    automaton.set_final(automaton.add_literal(0, text, builder.budget()));
    TRY(builder.within_limits());
  }
  builder.define(root, {std::move(automaton)});
  return builder.finish(root);
}

Result<Grammar> Grammar::from_ebnf(std::string_view text, const GrammarLimits& limits) {
  const grammar::EbnfRules rules = TRY(grammar::parse_ebnf(text, limits.max_rules));
  GrammarBuilder builder(limits);
  for (const grammar::Syntax& syntax : rules.rules) {
    const int rule = builder.add_rule();
    builder.define(rule, {grammar::automaton_of(syntax, builder.budget())});
    TRY(builder.within_limits());
  }
  return builder.finish(rules.root);
}

}  // namespace heed
