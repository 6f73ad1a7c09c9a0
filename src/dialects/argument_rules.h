// ArgumentRules: adds to a grammar how a tool's arguments are written in a form.
#pragma once
#include <string>
#include <vector>

#include "dialects/forms.h"
#include "grammar/compile.h"
#include "grammar/json_rules.h"
#include "grammar/schema_compiler.h"

namespace heed {

// What a call may be, from a tool of the request.
struct ToolSchema {
  std::string name;
  const OrderedJson* parameters = nullptr;  // null: any object
};

// Whether the form's own notation, not JSON's, can say what the schema asks for: an object of named
// properties, whose strings are not constrained where they are written as bare text.
bool is_sayable(const ToolForm& form, const ToolSchema& tool);

class ArgumentRules {
 public:
  explicit ArgumentRules(grammar::GrammarBuilder& builder) : builder_(builder), json_(builder) {}

  // Each adds arguments behind `from` and returns the state behind them.
  Result<int> add_json(grammar::Automaton& automaton, int from, const ToolSchema& tool);
  Result<int> add_own(grammar::Automaton& automaton, int from, const ToolForm& form, const ToolSchema& tool);

 private:
  struct Member {
    std::string before, after;
    int value = 0;  // a rule
    bool is_required = false;
  };
  Result<std::vector<Member>> members_of(const ToolForm& form, const ToolSchema& tool);
  Result<int> value_rule(const ToolForm& form, const OrderedJson& schema, const std::string& key,
                         grammar::SchemaCompiler& compiler);
  int add_members(grammar::Automaton& automaton, int from, const std::vector<Member>& members,
                  const std::string& separator);
  int text_rule(const std::vector<std::string>& markers);
  int choice_rule(const OrderedJson& texts);

  grammar::GrammarBuilder& builder_;
  grammar::JsonRules json_;
};

}  // namespace heed
