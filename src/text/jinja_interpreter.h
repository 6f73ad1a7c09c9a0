// The interpreter: runs a resolved template (jinja_scope.h) once, for one set of variables.
//
// Expressions are in jinja_expressions.cpp, calls and loops in jinja_calls.cpp. Every node run is a step,
// recursion is bounded by the stack it takes, and what a block captures counts as memory until it ends.
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "text/jinja_ast.h"
#include "text/jinja_builtins.h"
#include "text/jinja_macro.h"
#include "text/jinja_runtime.h"

namespace heed::jinja {

// Text on its way to the output or to a variable, charged to the heap while it lives.
class Capture {
 public:
  explicit Capture(Runtime& runtime) : runtime_(runtime) { charge(1); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() { charge(-1); }
  Status append(std::string_view text);
  std::string take();

 private:
  void charge(int sign) { runtime_.heap.charge(sign * static_cast<int64_t>(text_.capacity())); }
  Runtime& runtime_;
  std::string text_;
};

class Interpreter {
 public:
  Interpreter(const Node& root, const TemplateLimits& limits);

  // The template's text. `what` names the template in errors, except in that of raise_exception.
  Result<std::string> run(const OrderedJson& variables, const std::string& what);

  // For the filter of a loop: whether it keeps an element, which then is as the loop's target takes it apart.
  Result<bool> keeps(const Node& loop, const Value& activation, Value& element);
  Status enter_filter(const Node& loop, const Value& activation);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  struct Place {  // where statements run
    const Value& activation;
    Capture& out;
  };
  using Nodes = std::vector<NodePtr>;

  Result<std::string> run_root(const OrderedJson& variables);
  Result<Value> import(const OrderedJson& json, int depth);

  // Variables
  Value& variable(const Value& activation, const Slot& slot);
  Value lookup(const std::string& name);
  void load(const std::vector<Load>& loads, const Value& activation);
  void unload(const std::vector<Load>& loads, const Value& activation);
  void forget(const Node& target, const Value& activation);
  Result<Value> activate(const Function& function, const Value& parent);

  // Statements
  Result<Flow> execute_all(const Nodes& nodes, const Place& place);
  Result<Flow> execute(const Node& node, const Place& place);
  Status output(const Node& node, const Place& place);
  Status print(const Value& value, Capture& out);
  Result<Flow> execute_if(const Node& node, const Place& place);
  Status execute_set(const Node& node, const Place& place);
  Result<Flow> execute_set_block(const Node& node, const Place& place);
  Result<Flow> execute_filter_block(const Node& node, const Place& place);
  Result<Flow> execute_with(const Node& node, const Place& place);
  Result<Flow> execute_scope(const Node& node, const Place& place);
  Status execute_macro(const Node& node, const Place& place);
  Status execute_call_block(const Node& node, const Place& place);
  Status execute_block(const Node& node, const Place& place);
  Status check_namespaces(const Node& target, const Value& activation);
  Status assign(const Node& target, const Value& value, const Value& activation);

  // Loops and calls
  Result<Flow> execute_for(const Node& node, const Place& place);
  Result<Flow> run_loop(const Node& node, const Place& place, const Value& iterable, const Value& around,
                        int64_t depth);
  Result<Flow> run_rounds(const Node& node, const Place& place, const Value& loop, const Value& iterator,
                          bool& completed);
  Result<std::string> run_recursive_loop(const Node& node, const Value& around, const Value& iterable,
                                         int64_t depth);
  Result<Value> call_value(const Value& callee, Arguments arguments);
  Result<Value> call_macro(const MacroObject& macro, Arguments arguments);
  Status bind(const MacroObject& macro, Arguments& arguments, const Value& activation);
  Status bind_specials(const Node& node, Arguments& arguments, const Value& activation, bool found_caller);
  Result<Value> call_loop(const LoopObject& loop, const Arguments& arguments);
  Value make_macro(const Node& node, const Value& activation);
  Status evaluate_arguments(const Node& node, const Value& activation, Arguments& arguments);

  // Expressions
  Result<Value> evaluate(const Node& node, const Value& activation);
  Result<Value> evaluate_operator(const Node& node, const Value& activation);
  Result<Value> evaluate_constant(const Node& node);
  Result<Value> evaluate_name(const Node& node, const Value& activation);
  Result<Value> evaluate_items(const Node& node, const Value& activation);
  Result<Value> evaluate_dict(const Node& node, const Value& activation);
  Result<Value> evaluate_concat(const Node& node, const Value& activation);
  Result<Value> evaluate_compare(const Node& node, const Value& activation);
  Result<Value> evaluate_item(const Node& node, const Value& activation);
  Result<Value> evaluate_call(const Node& node, const Value& activation, const Value* caller);
  Result<Value> evaluate_builtin(const Node& node, const Value& activation);
  Result<Value> target_value(const Node& target, const Value& activation);

  Runtime runtime_;
  const Node& root_;
  Value variables_;  // a dict
  Value root_activation_;
  Value captured_;    // the text that a block's filter applies to
  Values constants_;  // the template's texts, made when first used
  int line_ = 1;
  int depth_ = 0;  // macros and recursive loops within each other
};

}  // namespace heed::jinja
