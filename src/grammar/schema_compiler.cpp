#include "grammar/schema_compiler.h"

#include <algorithm>

#include "grammar/json_format.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace heed::grammar {
namespace {

// Walks the schema without recursion: all that comes later may recurse into it.
Status check_size(const OrderedJson& schema, Budget& budget) {
  std::vector<std::pair<const OrderedJson*, int>> open = {{&schema, 1}};
  while (!open.empty()) {
    const auto [node, depth] = open.back();
    open.pop_back();
    if (depth > kMaxJsonDepth) {
      return limit_reached("schema: nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
    }
    if (!budget.add_steps(1)) return {};
    if (!node->is_structured()) continue;
    for (const OrderedJson& child : *node) open.emplace_back(&child, depth + 1);
  }
  return {};
}

bool accepts(const Automaton& automaton, const std::vector<int32_t>& text) {
  int32_t state = 0;
  for (const int32_t c : text) {
    const auto& edges = automaton.states[static_cast<size_t>(state)].edges;
    const auto edge = std::find_if(edges.begin(), edges.end(),
                                   [&](const AutomatonEdge& e) { return e.lo <= c && c <= e.hi; });
    if (edge == edges.end()) return false;
    state = edge->target;
  }
  return automaton.states[static_cast<size_t>(state)].is_final;
}

// Texts of min to max code points.
Automaton lengths(int64_t min, int64_t max, Budget& budget) {
  Automaton automaton;
  automaton.deterministic = true;
  const bool is_bounded = max < kEndless;
  const int64_t last = is_bounded ? max : min;
  for (int64_t i = 0; i <= last && !budget.spent(); ++i) {
    const int state = automaton.add_state(budget);
    if (i >= min) automaton.set_final(state);
    const int next = i < last ? state + 1 : state;
    if (i < last || !is_bounded) automaton.connect(state, {EdgeKind::kChars, 0, kLastCodePoint, next});
  }
  return automaton;
}

}  // namespace

Result<Grammar> compile_json_schema(const OrderedJson& schema, const GrammarLimits& limits) {
  GrammarBuilder builder(limits);
  JsonRules json(builder);
  const int root = TRY(SchemaCompiler(schema, builder, json).add({{&schema, ""}}));
  Result<Grammar> grammar = builder.finish(root);
  if (!grammar.ok()) return std::move(grammar).error().within("schema");
  return grammar;
}

Result<int> SchemaCompiler::add(const Conjunction& schemas) {
  if (!std::exchange(is_checked_, true)) TRY(check_size(schema_, builder_.budget()));
  TRY(builder_.within_limits());
  const int rule = TRY(rule_for(schemas));
  while (!todo_.empty()) {
    const auto [next, conjunction] = std::move(todo_.front());
    todo_.pop_front();
    TRY(define(next, conjunction));
    TRY(builder_.within_limits());
  }
  return rule;
}

Result<int> SchemaCompiler::rule_for(const Conjunction& schemas) {
  const Conjunction simple = TRY(parts_.simplified(schemas));
  std::vector<const OrderedJson*> key;
  for (const SchemaRef& schema : simple) key.push_back(schema.node);
  const auto [known, is_new] = rules_.try_emplace(std::move(key), 0);
  if (is_new) {
    known->second = builder_.add_rule();
    todo_.emplace_back(known->second, simple);
  }
  return known->second;
}

Status SchemaCompiler::define(int rule, const Conjunction& schemas) {
  const std::vector<Alternative> alternatives = TRY(parts_.alternatives(schemas));
  Automaton automaton;
  automaton.add_state(builder_.budget());
  const int end = automaton.add_state(builder_.budget());
  automaton.set_final(end);
  for (const Alternative& alternative : alternatives) {
    TRY(add_alternative(automaton, end, alternative));
    TRY(builder_.within_limits());
  }
  builder_.define(rule, {std::move(automaton)});
  return {};
}

Status SchemaCompiler::add_alternative(Automaton& automaton, int end, const Alternative& alternative) {
  if (alternative.has_values) return add_values(automaton, end, alternative);
  const auto add_word = [&](const char* word) {
    automaton.add_empty(automaton.add_literal(0, word, builder_.budget()), end);
  };
  if (alternative.types & kNullType) add_word("null");
  if (alternative.types & kBooleanType) add_word("true"), add_word("false");
  if (alternative.types & kIntegerType) TRY(add_numbers(automaton, end, alternative));
  if (alternative.types & kStringType) TRY(add_strings(automaton, end, alternative));
  if (alternative.types & kArrayType) TRY(add_array(automaton, end, alternative));
  if (alternative.types & kObjectType) TRY(add_object(automaton, end, alternative));
  return {};
}

Status SchemaCompiler::add_values(Automaton& automaton, int end, const Alternative& alternative) {
  std::optional<Automaton> strings;  // what patterns and formats allow, if there are any
  const bool asks = !alternative.patterns.empty() || !alternative.formats.empty();
  if (asks && (alternative.types & kStringType)) strings = TRY(string_values(alternative));
  for (const OrderedJson* value : alternative.values) {
    if (builder_.budget().spent()) return {};
    if (!TRY(allows(alternative, strings, *value))) continue;
    automaton.add_empty(json_.add_value(automaton, 0, *value), end);
  }
  return {};
}

// Whether a value of an enum satisfies the other keywords beside it.
Result<bool> SchemaCompiler::allows(const Alternative& alternative, const std::optional<Automaton>& strings,
                                    const OrderedJson& value) {
  const int type = type_of(value);
  if (!(alternative.types & type)) return false;
  if (const std::optional<Decimal> number = decimal_of(value)) {
    if (!alternative.range.contains(*number)) return false;
    return std::all_of(alternative.divisors.begin(), alternative.divisors.end(), [&](const Decimal& divisor) {
      if (!divisor.is_integer()) return number->fraction.size() <= divisor.fraction.size();
      return is_multiple(*number, std::stoi(divisor.whole));
    });
  }
  if (type == kStringType) {
    const auto text = code_points(value.get_ref<const std::string&>());
    if (!text) return false;
    if (ssize(*text) < alternative.min_length || ssize(*text) > alternative.max_length) return false;
    return !strings || accepts(*strings, *text);
  }
  const bool has_items = type == kArrayType && (!alternative.arrays.empty() || alternative.min_items > 0 ||
                                                alternative.max_items < INT32_MAX);
  const bool has_members =
      type == kObjectType && (!alternative.objects.empty() || !alternative.required.empty());
  if (has_items || has_members) {
    return unsupported(
        "schema: enum or const with an array or object beside keywords that constrain it is not supported");
  }
  return true;
}

Status SchemaCompiler::add_numbers(Automaton& automaton, int end, const Alternative& alternative) {
  Budget& budget = builder_.budget();
  bool is_integer = !(alternative.types & kFractionType);
  int max_fraction = kMaxFractionDigits;
  std::vector<int> divisors;
  for (const Decimal& divisor : alternative.divisors) {
    is_integer = is_integer || divisor.is_integer();
    if (divisor.is_integer()) {
      divisors.push_back(std::stoi(divisor.whole));
    } else {
      max_fraction = std::min(max_fraction, static_cast<int>(divisor.fraction.size()));
    }
  }
  if (alternative.range.is_unbounded() && alternative.divisors.empty()) {
    automaton.add_empty(automaton.add_call(0, is_integer ? json_.any_integer() : json_.any_number(), budget),
                        end);
    return {};
  }
  const Syntax syntax = is_integer ? integers(alternative.range) : numbers(alternative.range, max_fraction);
  if (divisors.empty()) {
    automaton.add_empty(automaton.add_syntax(0, syntax, budget), end);
    return {};
  }
  std::optional<Automaton> all = determinized(automaton_of(syntax, budget), limits_.max_states, budget);
  for (const int divisor : divisors) {
    if (all) all = intersection(*all, multiples_of(divisor, budget), budget);
  }
  if (!all) return limit_reached("schema: the bounds and multiples of a number need too many states");
  const int rule = builder_.add_rule();
  builder_.define(rule, {std::move(*all)});
  automaton.add_empty(automaton.add_call(0, rule, budget), end);
  return {};
}

Status SchemaCompiler::add_strings(Automaton& automaton, int end, const Alternative& alternative) {
  const int64_t min = alternative.min_length;
  const int64_t max = alternative.max_length;
  if (min > max) return {};
  int rule = -1;
  const bool has_known_format =
      std::any_of(alternative.formats.begin(), alternative.formats.end(), [](const SchemaRef& format) {
        const auto& name = format.node->get_ref<const std::string&>();
        return format_pattern(name).has_value() || is_refused_format(name);
      });
  if (!alternative.patterns.empty() || has_known_format) {
    Automaton values = TRY(string_values(alternative));
    if (min > 0 || max < kEndless) {
      std::optional<Automaton> both =
          intersection(values, lengths(min, max, builder_.budget()), builder_.budget());
      TRY(builder_.within_limits());
      values = std::move(*both);
    }
    rule = builder_.add_rule();
    builder_.define(rule, {std::move(values), Encoding::kJsonString});
  } else if (min > 0 || max < kEndless) {
    rule = json_.string_of(min, max);
  } else {
    rule = json_.any_string();
  }
  automaton.add_empty(automaton.add_call(0, rule, builder_.budget()), end);
  return {};
}

// The strings, as values, that all patterns and formats allow; lengths are not looked at.
Result<Automaton> SchemaCompiler::string_values(const Alternative& alternative) {
  std::optional<Automaton> all;
  const auto narrow = [&](Automaton one) -> Status {
    all = all ? intersection(*all, one, builder_.budget()) : std::optional(std::move(one));
    return builder_.within_limits();
  };
  for (const SchemaRef& pattern : alternative.patterns) {
    Result<Syntax> syntax = parse_regex(pattern.node->get_ref<const std::string&>());
    if (!syntax.ok()) return std::move(syntax).error().within("schema at " + pattern.pointer);
    Automaton one = TRY(matching(pattern, searching(std::move(*syntax))));
    TRY(narrow(std::move(one)));
  }
  for (const SchemaRef& format : alternative.formats) {
    const auto& name = format.node->get_ref<const std::string&>();
    if (is_refused_format(name)) {
      return schema_error(format.pointer,
                          "this format is not supported; known are " + std::string(kFormatNames));
    }
    const std::optional<std::string> pattern = format_pattern(name);
    if (!pattern) continue;
    const Syntax syntax = TRY(parse_regex(*pattern));
    Automaton one = TRY(matching(format, syntax));
    TRY(narrow(std::move(one)));
  }
  if (!all) all = lengths(0, kEndless, builder_.budget());
  return std::move(*all);
}

Result<Automaton> SchemaCompiler::matching(const SchemaRef& place, const Syntax& syntax) {
  const Automaton automaton = automaton_of(syntax, builder_.budget());
  TRY(builder_.within_limits());
  std::optional<Automaton> result = determinized(automaton, limits_.max_states, builder_.budget());
  if (!result)
    return limit_reached("schema at " + place.pointer + ": the expression needs too many states or steps");
  return std::move(*result);
}

}  // namespace heed::grammar
