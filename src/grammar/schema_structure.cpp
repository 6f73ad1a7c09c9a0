// Objects and arrays.
//
//   object   {  ws  list[0] ... after[1] ,ws list[1] ... after[n] ws }
//
// list[i]: about to write the name of member i or of a later one, if those before that are optional;
// after[i]: member i - 1 has been written and nothing behind it. Member n stands for all that are not named;
// it may come again and again.
#include <algorithm>
#include <map>

#include "grammar/schema_compiler.h"

namespace heed::grammar {
namespace {

bool is_false(const SchemaRef& schema) { return schema.node->is_boolean() && !schema.node->get<bool>(); }

}  // namespace

Result<SchemaCompiler::Members> SchemaCompiler::members_of(const Alternative& alternative) {
  Members members;
  std::map<std::string_view, size_t> places;
  const auto place_of = [&](std::string_view name) {
    const auto [at, is_new] = places.try_emplace(name, members.named.size());
    if (is_new) members.named.push_back({name});
    return at->second;
  };
  for (const ObjectPart& part : alternative.objects) {
    for (const auto& [name, schema] : part.properties) place_of(name);
  }
  for (const SchemaRef& name : alternative.required) {
    members.named[place_of(name.node->get_ref<const std::string&>())].is_required = true;
  }
  builder_.budget().add_steps(ssize(members.named) * (1 + ssize(alternative.objects)));
  TRY(builder_.within_limits());
  Conjunction additional;
  bool may_add = true;
  for (const ObjectPart& part : alternative.objects) {
    if (!part.additional) continue;
    may_add = may_add && !is_false(*part.additional);
    additional.push_back(*part.additional);
  }
  for (Member& member : members.named) {
    Conjunction schemas;
    for (const ObjectPart& part : alternative.objects) {
      const auto at = part.places.find(member.name);
      if (at != part.places.end()) {
        schemas.push_back(part.properties[at->second].second);
      } else if (part.additional) {
        schemas.push_back(*part.additional);
      }
    }
    member.is_possible = std::none_of(schemas.begin(), schemas.end(), is_false);
    if (member.is_possible) member.rule = TRY(rule_for(schemas));
  }
  if (may_add) members.additional_rule = TRY(rule_for(additional));
  return members;
}

// A rule for the name of a member that is not named: any string but those.
int SchemaCompiler::additional_key(const std::vector<Member>& named) {
  if (named.empty()) return json_.any_string();
  Budget& budget = builder_.budget();
  std::vector<std::map<int32_t, int32_t>> children(1);
  std::vector<bool> is_name(1, false);
  for (const Member& member : named) {
    size_t at = 0;
    for (const int32_t c : code_points(member.name).value_or(std::vector<int32_t>())) {
      const auto [next, is_new] = children[at].try_emplace(c, static_cast<int32_t>(children.size()));
      const auto to = static_cast<size_t>(next->second);
      if (is_new) {
        children.emplace_back();
        is_name.push_back(false);
      }
      at = to;
    }
    is_name[at] = true;
  }
  Automaton keys;
  keys.deterministic = true;
  for (size_t i = 0; i <= children.size(); ++i) keys.add_state(budget);
  const int other = static_cast<int>(children.size());  // no named one begins like this
  keys.set_final(other);
  keys.connect(other, {EdgeKind::kChars, 0, kLastCodePoint, other});
  for (size_t i = 0; i < children.size(); ++i) {
    const int state = static_cast<int>(i);
    if (!is_name[i]) keys.set_final(state);
    int32_t next = 0;
    for (const auto& [c, child] : children[i]) {
      if (next < c) keys.connect(state, {EdgeKind::kChars, next, c - 1, other});
      keys.connect(state, {EdgeKind::kChars, c, c, child});
      next = c + 1;
    }
    if (next <= kLastCodePoint) keys.connect(state, {EdgeKind::kChars, next, kLastCodePoint, other});
  }
  const int rule = builder_.add_rule();
  builder_.define(rule, {std::move(keys), Encoding::kJsonString});
  return rule;
}

Status SchemaCompiler::add_object(Automaton& automaton, int end, const Alternative& alternative) {
  Budget& budget = builder_.budget();
  const Members members = TRY(members_of(alternative));
  const size_t n = members.named.size();
  for (const Member& member : members.named) {
    if (member.is_required && !member.is_possible) return {};
  }
  std::vector<int> list;
  std::vector<int> after;
  for (size_t i = 0; i <= n; ++i) {
    list.push_back(automaton.add_state(budget));
    after.push_back(automaton.add_state(budget));
  }
  const int last = automaton.add_state(budget);  // behind the last member
  const int close = json_.add_space(automaton, last);
  automaton.add_empty(automaton.add_literal(close, "}", budget), end);
  const int open = json_.add_space(automaton, automaton.add_literal(0, "{", budget));
  automaton.add_empty(open, list[0]);

  bool rest_optional = true;  // of the members from i on
  for (size_t i = n + 1; i-- > 0 && !budget.spent();) {
    const bool is_other = i == n;
    if (!is_other) rest_optional = rest_optional && !members.named[i].is_required;
    if (i > 0 || is_other) {
      automaton.add_empty(json_.add_comma(automaton, after[i]), list[i]);
      if (rest_optional) automaton.add_empty(after[i], last);
    }
    if (!is_other && !members.named[i].is_required) automaton.add_empty(list[i], list[i + 1]);
    const bool is_possible = is_other ? members.additional_rule >= 0 : members.named[i].is_possible;
    if (!is_possible) continue;
    int at = list[i];
    if (is_other) {
      at = automaton.add_call(at, additional_key(members.named), budget);
    } else {
      at = automaton.add_literal(at, to_text(OrderedJson(std::string(members.named[i].name))), budget);
    }
    at = json_.add_colon(automaton, at);
    at = automaton.add_call(at, is_other ? members.additional_rule : members.named[i].rule, budget);
    automaton.add_empty(at, is_other ? after[n] : after[i + 1]);
  }
  if (rest_optional) automaton.add_empty(open, close);
  return {};
}

// What item number `index` must satisfy.
Result<Conjunction> SchemaCompiler::item_schemas(const Alternative& alternative, size_t index,
                                                 bool& is_possible) {
  Conjunction schemas;
  for (const ArrayPart& part : alternative.arrays) {
    if (index < part.prefix.size()) {
      schemas.push_back(part.prefix[index]);
    } else if (part.items) {
      schemas.push_back(*part.items);
    }
  }
  is_possible = std::none_of(schemas.begin(), schemas.end(), is_false);
  return schemas;
}

Status SchemaCompiler::add_array(Automaton& automaton, int end, const Alternative& alternative) {
  Budget& budget = builder_.budget();
  int64_t prefix = 0;
  for (const ArrayPart& part : alternative.arrays) prefix = std::max(prefix, ssize(part.prefix));
  const bool is_bounded = alternative.max_items < INT32_MAX;
  // Places 0 to last - 1 are told apart; without a bound, the items behind them all come at place `last`.
  const int64_t last =
      is_bounded ? alternative.max_items : std::max({prefix, alternative.min_items, int64_t{1}});
  const int open = json_.add_space(automaton, automaton.add_literal(0, "[", budget));
  const int full = automaton.add_state(budget);  // behind the last item
  const int close = json_.add_space(automaton, full);
  automaton.add_empty(automaton.add_literal(close, "]", budget), end);
  if (alternative.min_items == 0) automaton.add_empty(open, close);
  int item = open;
  bool is_possible = true;
  for (int64_t i = 0; i < last && is_possible && !budget.spent(); ++i) {
    const Conjunction schemas = TRY(item_schemas(alternative, static_cast<size_t>(i), is_possible));
    if (!is_possible) return {};
    const int after = automaton.add_call(item, TRY(rule_for(schemas)), budget);
    if (i + 1 >= alternative.min_items) automaton.add_empty(after, full);
    if (i + 1 == last && is_bounded) return {};
    item = json_.add_comma(automaton, after);
    if (i + 1 < last) continue;
    const Conjunction rest = TRY(item_schemas(alternative, static_cast<size_t>(last), is_possible));
    if (!is_possible) return {};
    const int again = automaton.add_call(item, TRY(rule_for(rest)), budget);
    automaton.add_empty(again, full);
    automaton.add_empty(json_.add_comma(automaton, again), item);
  }
  return {};
}

}  // namespace heed::grammar
