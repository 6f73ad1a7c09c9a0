#include <algorithm>

#include "dialects/argument_rules.h"
#include "dialects/dialect.h"

namespace heed {
namespace {

using grammar::Automaton;

Result<std::vector<ToolSchema>> schemas_of(const OrderedJson& tools) {
  if (!tools.is_array() || tools.empty()) return invalid("tools: a list of at least one tool is expected");
  std::vector<ToolSchema> schemas;
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string where = "tools[" + std::to_string(i) + "]";
    const OrderedJson& tool = tools[i];
    if (!tool.is_object()) return invalid(where + ": an object is expected");
    const auto function = tool.find("function");
    if (function == tool.end() || !function->is_object())
      return invalid(where + ".function: an object is expected");
    const auto name = function->find("name");
    if (name == function->end() || !name->is_string() || !is_tool_name(name->get<std::string>()))
      return invalid(where + ".function.name: letters, digits, '_', '-' and '.' are expected");
    const auto parameters = function->find("parameters");
    const bool has_parameters = parameters != function->end() && !parameters->is_null();
    schemas.push_back({name->get<std::string>(), has_parameters ? &*parameters : nullptr});
  }
  return schemas;
}

std::string with_name(std::string text, const std::string& name) {
  const size_t at = text.find('%');
  return at == std::string::npos ? text : text.replace(at, 1, name);
}

}  // namespace

Result<Grammar> tool_grammar(const Dialect& dialect, const OrderedJson& tools, ToolChoice choice,
                             const std::string& name, bool parallel, const GrammarLimits& limits) {
  std::vector<ToolSchema> schemas = TRY(schemas_of(tools));
  if (choice != ToolChoice::kRequired && choice != ToolChoice::kNamed)
    return invalid("tool_choice: only a required or named call has a grammar");
  if (choice == ToolChoice::kNamed) {
    std::erase_if(schemas, [&](const ToolSchema& tool) { return tool.name != name; });
    if (schemas.empty()) return invalid("tool_choice: there is no tool \"" + name + "\" in tools");
    schemas.resize(1);
  }
  const ToolForm& form = dialect.tools == nullptr ? json_array_form() : *dialect.tools;
  if (form.written.style == WrittenCalls::Style::kNone)
    return unsupported("tool_choice: calls cannot be forced in the form \"" + form.name + "\"");
  const bool is_own = form.written.style != WrittenCalls::Style::kJson &&
                      std::all_of(schemas.begin(), schemas.end(),
                                  [&](const ToolSchema& tool) { return is_sayable(form, tool); });
  const bool is_json = form.written.style == WrittenCalls::Style::kJson;
  const WrittenCalls& written = is_own || is_json ? form.written : form.written_json;

  grammar::GrammarBuilder builder(limits);
  grammar::Budget& budget = builder.budget();
  ArgumentRules arguments(builder);
  Automaton calls;
  const int start = calls.add_literal(calls.add_state(budget), written.begin, budget);
  const int call = calls.add_state(budget);  // in front of one
  const int behind = calls.add_state(budget);
  calls.add_empty(start, call);
  for (const ToolSchema& tool : schemas) {
    const int before = calls.add_literal(call, with_name(written.before, tool.name), budget);
    Result<int> at =
        is_own ? arguments.add_own(calls, before, form, tool) : arguments.add_json(calls, before, tool);
    if (!at.ok()) return std::move(at).error().within("tool \"" + tool.name + "\"");
    calls.add_empty(calls.add_literal(*at, with_name(written.after, tool.name), budget), behind);
  }
  if (parallel && choice != ToolChoice::kNamed)
    calls.add_empty(calls.add_literal(behind, written.between, budget), call);
  calls.set_final(calls.add_literal(behind, written.end, budget));
  const int root = builder.add_rule();
  builder.define(root, {std::move(calls)});
  Result<Grammar> grammar = builder.finish(root);
  if (!grammar.ok()) return std::move(grammar).error().within("tools");
  return grammar;
}

}  // namespace heed
