#include "dialects/argument_rules.h"

#include <algorithm>
#include <array>
#include <map>

namespace heed {
namespace {

using grammar::Automaton;
using grammar::EdgeKind;

const OrderedJson& object_schema() {
  static const OrderedJson schema = {{"type", "object"}};
  return schema;
}

template <size_t n>
bool has_only(const OrderedJson& schema, const std::array<std::string_view, n>& keys) {
  for (const auto& [key, value] : schema.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) return false;
  }
  return true;
}

constexpr size_t kMaxOwnProperties = 256;  // more are left to JSON, where their number is limited as well

constexpr std::array<std::string_view, 11> kObjectKeys = {
    "type",        "properties", "required", "additionalProperties",
    "description", "title",      "$defs",    "definitions",
    "$schema",     "strict",     "default"};
constexpr std::array<std::string_view, 6> kTextKeys = {"type",    "description", "title",
                                                       "default", "examples",    "deprecated"};
constexpr std::array<std::string_view, 5> kChoiceKeys = {"type", "description", "title", "default", "enum"};

bool is_plain_text(const OrderedJson& schema) {
  return schema.is_object() && has_only(schema, kTextKeys) && schema.contains("type") &&
         schema["type"] == "string";
}

// An enum of strings that cannot be taken for tags.
bool is_plain_choice(const OrderedJson& schema) {
  if (!schema.is_object() || !schema.contains("enum") || !has_only(schema, kChoiceKeys)) return false;
  if (schema.contains("type") && schema["type"] != "string") return false;
  const OrderedJson& values = schema["enum"];
  return values.is_array() && !values.empty() &&
         std::all_of(values.begin(), values.end(), [](const auto& value) {
           if (!value.is_string()) return false;
           const auto& text = value.template get_ref<const std::string&>();
           return text.find_first_of("<\n") == std::string::npos && grammar::code_points(text).has_value();
         });
}

bool is_sayable_in_tags(const OrderedJson& schema, const OrderedJson& root) {
  if (is_plain_text(schema) || is_plain_choice(schema)) return true;
  const int types = types_of_schema(schema, root);
  return types != 0 && !(types & kString);
}

// States count how much of which marker has been written (Aho and Corasick's automaton); a whole one is none.
Automaton text_without(const std::vector<std::string>& markers, grammar::Budget& budget) {
  std::vector<std::string> states = {""};
  for (const std::string& marker : markers) {
    for (size_t length = 1; length < marker.size(); ++length) {
      const std::string part = marker.substr(0, length);
      if (std::find(states.begin(), states.end(), part) == states.end()) states.push_back(part);
    }
  }
  Automaton automaton;
  automaton.deterministic = true;
  for (const std::string& state : states) {
    std::map<int32_t, int> targets;  // of the characters that go on with a marker; -1: not allowed
    for (const std::string& other : markers) {
      for (const char byte : other) {
        std::string text = state + byte;
        const auto is_whole = [&](const std::string& marker) { return text.ends_with(marker); };
        if (std::any_of(markers.begin(), markers.end(), is_whole)) {
          targets[byte] = -1;
          continue;
        }
        auto found = std::find(states.begin(), states.end(), text);
        while (found == states.end()) {
          text.erase(0, 1);
          found = std::find(states.begin(), states.end(), text);
        }
        targets[byte] = static_cast<int>(found - states.begin());
      }
    }
    const int from = automaton.add_state(budget);
    automaton.set_final(from);
    int32_t next = 0;
    const auto add_others = [&](int32_t end) {  // surrogates are no characters
      if (next < std::min(end, 0xD800))
        automaton.connect(from, {EdgeKind::kChars, next, std::min(end, 0xD800) - 1, 0});
      if (end > 0xE000) automaton.connect(from, {EdgeKind::kChars, std::max(next, 0xE000), end - 1, 0});
      next = end + 1;
    };
    for (const auto& [c, target] : targets) {
      add_others(c);
      if (target >= 0) automaton.connect(from, {EdgeKind::kChars, c, c, target});
    }
    add_others(grammar::kLastCodePoint + 1);
  }
  return automaton;
}

std::vector<std::string> markers_behind(const TagCalls& tags) {
  std::vector<std::string> markers = tags.value_ends;
  if (tags.has_line_breaks) markers.insert(markers.end(), {"\n" + tags.key_open, "\n" + tags.call_close});
  // One that another ends with is enough.
  std::erase_if(markers, [&](const std::string& one) {
    return std::any_of(markers.begin(), markers.end(),
                       [&](const std::string& other) { return one != other && one.ends_with(other); });
  });
  return markers;
}

}  // namespace

bool is_sayable(const ToolForm& form, const ToolSchema& tool) {
  if (tool.parameters == nullptr || !tool.parameters->is_object()) return false;
  const OrderedJson& schema = *tool.parameters;
  if (!has_only(schema, kObjectKeys)) return false;
  if (schema.contains("type") && schema["type"] != "object") return false;
  if (schema.contains("additionalProperties") && !schema["additionalProperties"].is_boolean()) return false;
  const OrderedJson properties = schema.value("properties", OrderedJson::object());
  const OrderedJson required = schema.value("required", OrderedJson::array());
  if (!properties.is_object() || !required.is_array()) return false;
  if (properties.size() > kMaxOwnProperties || required.size() > kMaxOwnProperties) return false;
  // An object of which nothing is said but that it is one may have any members.
  if (properties.empty() && schema.value("additionalProperties", OrderedJson(true)) == true) return false;
  for (const OrderedJson& name : required) {
    if (!name.is_string() || !properties.contains(name.get<std::string>())) return false;
  }
  for (const auto& [key, property] : properties.items()) {
    if (!is_tool_name(key)) return false;
    if (form.tags && !is_sayable_in_tags(property, schema)) return false;
  }
  return true;
}

Result<int> ArgumentRules::add_json(Automaton& automaton, int from, const ToolSchema& tool) {
  const OrderedJson& schema = tool.parameters == nullptr ? object_schema() : *tool.parameters;
  grammar::SchemaCompiler compiler(schema, builder_, json_);
  const int rule = TRY(compiler.add({{&schema, ""}, {&object_schema(), ""}}));
  return automaton.add_call(from, rule, builder_.budget());
}

Result<int> ArgumentRules::add_own(Automaton& automaton, int from, const ToolForm& form,
                                   const ToolSchema& tool) {
  const std::vector<Member> members = TRY(members_of(form, tool));
  return add_members(automaton, from, members, form.tags ? "" : form.literals->is_list ? ", " : ",");
}

Result<std::vector<ArgumentRules::Member>> ArgumentRules::members_of(const ToolForm& form,
                                                                     const ToolSchema& tool) {
  const OrderedJson& schema = *tool.parameters;
  const OrderedJson required = schema.value("required", OrderedJson::array());
  std::vector<Member> members;
  const auto properties = schema.find("properties");
  if (properties == schema.end()) return members;
  grammar::SchemaCompiler compiler(schema, builder_, json_);
  for (const auto& [key, property] : properties->items()) {
    Member member;
    member.value = TRY(value_rule(form, property, key, compiler));
    member.is_required = std::find(required.begin(), required.end(), key) != required.end();
    if (form.tags) {
      const TagCalls& tags = *form.tags;
      member.before = tags.key_open + key + tags.key_close;
      member.before += tags.value_open.empty() ? "" : "\n" + tags.value_open;
      member.before += tags.has_line_breaks ? "\n" : "";
      member.after = tags.value_ends.front() + "\n";
    } else {
      const bool is_raw = !form.literals->quote.empty() && is_plain_text(property);
      const std::string quote = is_raw ? form.literals->quote : "";
      member.before = key + form.literals->separator + quote;
      member.after = quote;
    }
    members.push_back(std::move(member));
  }
  return members;
}

Result<int> ArgumentRules::value_rule(const ToolForm& form, const OrderedJson& schema, const std::string& key,
                                      grammar::SchemaCompiler& compiler) {
  if (form.tags && is_plain_text(schema)) return text_rule(markers_behind(*form.tags));
  if (form.tags && is_plain_choice(schema)) return choice_rule(schema["enum"]);
  if (form.literals && !form.literals->quote.empty() && is_plain_text(schema)) {
    return text_rule({form.literals->quote});
  }
  return compiler.add({{&schema, "/properties/" + key}});
}

int ArgumentRules::text_rule(const std::vector<std::string>& markers) {
  const int rule = builder_.add_rule();
  builder_.define(rule, {text_without(markers, builder_.budget())});
  return rule;
}

int ArgumentRules::choice_rule(const OrderedJson& texts) {
  Automaton automaton;
  automaton.add_state(builder_.budget());
  for (const OrderedJson& text : texts)
    automaton.set_final(automaton.add_literal(0, text.get_ref<const std::string&>(), builder_.budget()));
  const int rule = builder_.add_rule();
  builder_.define(rule, {std::move(automaton)});
  return rule;
}

// In order, each once at most, those that are not required may be left out:
// list: about to write a member; behind: one has been written.
int ArgumentRules::add_members(Automaton& automaton, int from, const std::vector<Member>& members,
                               const std::string& separator) {
  grammar::Budget& budget = builder_.budget();
  const int end = automaton.add_state(budget);
  int list = automaton.add_state(budget);
  int behind = automaton.add_state(budget);  // no member yet: not to be reached
  automaton.add_empty(from, list);
  bool may_be_empty = true;
  for (const Member& member : members) {
    const int next_list = automaton.add_state(budget);
    const int next_behind = automaton.add_state(budget);
    automaton.add_empty(automaton.add_literal(behind, separator, budget), list);
    int at = automaton.add_literal(list, member.before, budget);
    at = automaton.add_call(at, member.value, budget);
    automaton.add_empty(automaton.add_literal(at, member.after, budget), next_behind);
    if (!member.is_required) {
      automaton.add_empty(list, next_list);
      automaton.add_empty(behind, next_behind);
    }
    may_be_empty = may_be_empty && !member.is_required;
    list = next_list;
    behind = next_behind;
  }
  automaton.add_empty(behind, end);
  if (may_be_empty) automaton.add_empty(from, end);
  return end;
}

}  // namespace heed
