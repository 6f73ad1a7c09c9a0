#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace heed::jinja {
namespace {

// The elements of a loop that its filter keeps, found one by one as the loop asks for them.
struct FilteredIterator : IteratorObject {
  Interpreter* interpreter = nullptr;
  const Node* loop = nullptr;
  Value activation;
  Value source;    // what the loop goes over
  Value iterator;  // missing before the first element
  void clear() override { activation = source = iterator = Value(); }

  Result<bool> advance(Runtime& runtime, Value& element) override {
    if (iterator.is_missing()) {
      TRY(interpreter->enter_filter(*loop, activation));
      iterator = TRY(iterate(runtime, source));
    }
    while (TRY(jinja::advance(runtime, iterator, element))) {
      if (TRY(interpreter->keeps(*loop, activation, element))) return true;
    }
    return false;
  }
};

// The next element, and `loop` up to date with it.
Result<bool> next_round(Runtime& runtime, LoopObject& loop, Value& element) {
  if (!loop.after.is_missing()) {
    element = std::exchange(loop.after, Value());
  } else if (!TRY(advance(runtime, loop.iterator, element))) {
    return false;
  }
  ++loop.index0;
  loop.before = std::move(loop.current);
  loop.current = element;
  return true;
}

}  // namespace

Status Interpreter::enter_filter(const Node& loop, const Value& activation) {
  load(loop.test_loads, activation);
  return {};
}

Result<bool> Interpreter::keeps(const Node& loop, const Value& activation, Value& element) {
  TRY(assign(*loop.test_target, element, activation));
  if (!truth(TRY(evaluate(*loop.third, activation)))) return false;
  element = TRY(target_value(*loop.test_target, activation));
  return true;
}

Result<Value> Interpreter::target_value(const Node& target, const Value& activation) {
  if (target.type == NodeType::kName) return variable(activation, target.slot);
  Values items;
  for (const NodePtr& item : target.list) items.push_back(TRY(target_value(*item, activation)));
  return runtime_.tuple(std::move(items));
}

Result<Interpreter::Flow> Interpreter::execute_for(const Node& node, const Place& place) {
  const Value iterable = TRY(evaluate(*node.second, place.activation));
  if (!node.flag) return run_loop(node, place, iterable, Value(), 0);
  const std::string text = TRY(run_recursive_loop(node, place.activation, iterable, 0));
  TRY(place.out.append(text));
  return Flow::kNext;
}

Result<std::string> Interpreter::run_recursive_loop(const Node& node, const Value& around,
                                                    const Value& iterable, int64_t depth) {
  if (depth_ >= runtime_.limits.max_depth) {
    return limit_reached("loops recurse deeper than " + std::to_string(runtime_.limits.max_depth) +
                         " levels");
  }
  ++depth_;
  const Value activation = TRY(activate(*node.function, around));
  Capture out(runtime_);
  TRY(run_loop(node, {activation, out}, iterable, around, depth));
  --depth_;
  return out.take();
}

Result<Interpreter::Flow> Interpreter::run_loop(const Node& node, const Place& place, const Value& iterable,
                                                const Value& around, int64_t depth) {
  Value source = iterable;
  if (node.third) {
    auto* filtered = runtime_.heap.make<FilteredIterator>();
    filtered->interpreter = this;
    filtered->loop = &node;
    filtered->activation = place.activation;
    filtered->source = iterable;
    source = Runtime::iterator(filtered);
  }
  const Value iterator = TRY(iterate(runtime_, source));
  Value loop;
  if (node.loop >= 0) {
    auto* object = runtime_.heap.make<LoopObject>();
    loop = Value::of(Kind::kLoop, object);
    object->node = &node;
    object->activation = around;
    object->iterable = source;
    object->iterator = iterator;
    object->depth0 = depth;
  }
  bool completed = false;  // a round that came to its end
  TRY(run_rounds(node, place, loop, iterator, completed));
  if (completed || node.other.empty()) return Flow::kNext;
  load(node.other_loads, place.activation);
  const Flow flow = TRY(execute_all(node.other, place));
  if (flow == Flow::kNext) unload(node.other_loads, place.activation);
  return flow;
}

Result<Interpreter::Flow> Interpreter::run_rounds(const Node& node, const Place& place, const Value& loop,
                                                  const Value& iterator, bool& completed) {
  Value element;
  while (true) {
    const bool more = loop.is_missing() ? TRY(advance(runtime_, iterator, element))
                                        : TRY(next_round(runtime_, loop.get<LoopObject>(), element));
    if (!more) break;
    TRY(assign(*node.first, element, place.activation));
    if (!loop.is_missing()) {
      place.activation.get<ActivationObject>().slots[static_cast<size_t>(node.loop)] = loop;
    }
    load(node.loads, place.activation);
    const Flow flow = TRY(execute_all(node.body, place));
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kNext) completed = true;
  }
  unload(node.loads, place.activation);
  forget(*node.first, place.activation);
  return Flow::kNext;
}

Result<Value> Interpreter::call_value(const Value& callee, Arguments arguments) {
  switch (callee.kind()) {
    case Kind::kFunction:
      return call(runtime_, *callee.builtin(), std::move(arguments));
    case Kind::kMethod: {
      const auto& method = callee.get<MethodObject>();
      arguments.self = method.self;
      return call(runtime_, *method.builtin, std::move(arguments));
    }
    case Kind::kMacro:
      return call_macro(callee.get<MacroObject>(), std::move(arguments));
    case Kind::kLoop:
      return call_loop(callee.get<LoopObject>(), arguments);
    case Kind::kJoiner: {
      auto& joiner = callee.get<JoinerObject>();
      if (!arguments.positional.empty() || !arguments.named.empty())
        return invalid("a joiner takes no arguments");
      return std::exchange(joiner.used, true) ? joiner.separator : runtime_.text("");
    }
    case Kind::kUndefined:
      return undefined_error(callee);
    default:
      return type_error("something to call", callee);
  }
}

Result<Value> Interpreter::call_loop(const LoopObject& loop, const Arguments& arguments) {
  const bool named = arguments.named.size() == 1 && arguments.named[0].first == "iterable";
  if (arguments.positional.size() + arguments.named.size() != 1 || (!arguments.named.empty() && !named)) {
    return invalid("loop() takes one argument, what to go over");
  }
  if (!loop.node->flag) return invalid("the loop must be marked 'recursive' to be called");
  const Value& iterable = named ? arguments.named[0].second : arguments.positional[0];
  return runtime_.text(TRY(run_recursive_loop(*loop.node, loop.activation, iterable, loop.depth0 + 1)));
}

Result<Value> Interpreter::call_macro(const MacroObject& macro, Arguments arguments) {
  if (depth_ >= runtime_.limits.max_depth) {
    return limit_reached("macros recurse deeper than " + std::to_string(runtime_.limits.max_depth) +
                         " levels");
  }
  ++depth_;
  const Node& node = *macro.node;
  const Value activation = TRY(activate(*node.function, macro.activation));
  TRY(bind(macro, arguments, activation));
  Capture out(runtime_);
  TRY(execute_all(node.body, {activation, out}));
  --depth_;
  return runtime_.text(out.take());
}

Status Interpreter::bind(const MacroObject& macro, Arguments& arguments, const Value& activation) {
  const Node& node = *macro.node;
  const Function& function = *node.function;
  auto& slots = activation.get<ActivationObject>().slots;
  const size_t num_parameters = node.list.size();
  const auto slot = [&](size_t i) -> Value& { return slots[static_cast<size_t>(function.parameters[i])]; };
  const size_t by_place = std::min(num_parameters, arguments.positional.size());
  bool found_caller = false;
  for (size_t i = 0; i < num_parameters; ++i) {
    const std::string& name = node.list[i]->name;
    if (i < by_place) {
      slot(i) = arguments.positional[i];
      found_caller = found_caller || (by_place == num_parameters && name == "caller");
      continue;
    }
    const auto given = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&name](const auto& argument) { return argument.first == name; });
    found_caller = found_caller || name == "caller";
    if (given == arguments.named.end()) continue;
    slot(i) = given->second;
    arguments.named.erase(given);
  }
  TRY(bind_specials(node, arguments, activation, found_caller));
  load(node.loads, activation);
  for (size_t i = 0; i < num_parameters; ++i) {
    if (!slot(i).is_missing()) continue;
    const size_t first_default = num_parameters - node.other.size();
    Value value = i < first_default
                      ? runtime_.undefined("parameter '" + node.list[i]->name + "' was not provided")
                      : TRY(evaluate(*node.other[i - first_default], activation));
    slot(i) = std::move(value);
  }
  return {};
}

// What no parameter takes: the caller of a call block, further named arguments, further arguments by place.
Status Interpreter::bind_specials(const Node& node, Arguments& arguments, const Value& activation,
                                  bool found_caller) {
  const Function& function = *node.function;
  auto& slots = activation.get<ActivationObject>().slots;
  const auto put = [&slots](int slot, Value value) { slots[static_cast<size_t>(slot)] = std::move(value); };
  if (function.uses_caller && !found_caller) {
    const auto given = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [](const auto& argument) { return argument.first == "caller"; });
    Value caller = runtime_.undefined("no caller defined");
    if (given != arguments.named.end()) {
      if (!given->second.is_none()) caller = given->second;
      arguments.named.erase(given);
    }
    if (function.caller >= 0) put(function.caller, std::move(caller));
  }
  if (function.kwargs >= 0) {
    Value kwargs = runtime_.dict();
    for (auto& [name, value] : arguments.named) runtime_.set(kwargs, runtime_.text(name), value);
    put(function.kwargs, std::move(kwargs));
  } else if (!arguments.named.empty()) {
    return invalid("the macro '" + node.name + "' takes no argument '" + arguments.named[0].first + "'");
  }
  const size_t num_parameters = node.list.size();
  if (function.varargs >= 0) {
    const size_t taken = std::min(num_parameters, arguments.positional.size());
    put(function.varargs, runtime_.tuple(Values(arguments.positional.begin() + static_cast<ptrdiff_t>(taken),
                                                arguments.positional.end())));
  } else if (arguments.positional.size() > num_parameters) {
    return invalid("the macro '" + node.name + "' takes not more than " + std::to_string(num_parameters) +
                   " arguments");
  }
  return {};
}

}  // namespace heed::jinja
