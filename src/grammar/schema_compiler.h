// SchemaCompiler: makes a rule of each value that a schema describes.
#pragma once
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "grammar/json_rules.h"
#include "grammar/schema_parts.h"

namespace heed::grammar {

class SchemaCompiler {
 public:
  // Adds rules to a grammar that others may add to as well. The schema is kept by reference; `$ref` is looked
  // up in it.
  SchemaCompiler(const OrderedJson& schema, GrammarBuilder& builder, JsonRules& json)
      : schema_(schema),
        limits_(builder.limits()),
        builder_(builder),
        json_(json),
        parts_(schema, limits_.max_properties, builder_.budget()) {}

  // The rule for what satisfies all of these, parts of the schema or others that refer to nothing.
  Result<int> add(const Conjunction& schemas);

 private:
  struct Member {  // of an object, as all parts that constrain it say it
    std::string_view name;
    int rule = 0;
    bool is_required = false;
    bool is_possible = true;
  };
  struct Members {
    std::vector<Member> named;
    int additional_rule = -1;  // none allowed
  };

  Result<int> rule_for(const Conjunction& schemas);
  Status define(int rule, const Conjunction& schemas);
  Status add_alternative(Automaton& automaton, int end, const Alternative& alternative);
  Status add_values(Automaton& automaton, int end, const Alternative& alternative);
  Status add_strings(Automaton& automaton, int end, const Alternative& alternative);
  Status add_numbers(Automaton& automaton, int end, const Alternative& alternative);
  Status add_array(Automaton& automaton, int end, const Alternative& alternative);
  Status add_object(Automaton& automaton, int end, const Alternative& alternative);

  Result<bool> allows(const Alternative& alternative, const std::optional<Automaton>& strings,
                      const OrderedJson& value);
  Result<Automaton> string_values(const Alternative& alternative);
  Result<Automaton> matching(const SchemaRef& place, const Syntax& syntax);
  Result<Members> members_of(const Alternative& alternative);
  int additional_key(const std::vector<Member>& named);
  Result<Conjunction> item_schemas(const Alternative& alternative, size_t index, bool& is_possible);

  const OrderedJson& schema_;
  const GrammarLimits& limits_;
  GrammarBuilder& builder_;
  JsonRules& json_;
  SchemaParts parts_;
  bool is_checked_ = false;  // its size and depth
  std::map<std::vector<const OrderedJson*>, int> rules_;
  std::deque<std::pair<int, Conjunction>> todo_;
};

}  // namespace heed::grammar
