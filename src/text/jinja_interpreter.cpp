#include "text/jinja_interpreter.h"

#include <algorithm>

#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {

Status Capture::append(std::string_view text) {
  const auto size = static_cast<int64_t>(text.size());
  if (size > runtime_.limits.max_output_bytes - static_cast<int64_t>(text_.size())) {
    return limit_reached("the text is longer than " + std::to_string(runtime_.limits.max_output_bytes) +
                         " bytes");
  }
  TRY(runtime_.work(size / 16));
  const auto before = static_cast<int64_t>(text_.capacity());
  if (static_cast<int64_t>(text_.size()) + size > before) TRY(runtime_.room(2 * size + before));
  text_ += text;
  runtime_.heap.charge(static_cast<int64_t>(text_.capacity()) - before);
  return {};
}

std::string Capture::take() {
  charge(-1);
  std::string text = std::exchange(text_, {});
  charge(1);
  return text;
}

Interpreter::Interpreter(const Node& root, const TemplateLimits& limits) : runtime_(limits), root_(root) {
  constants_.resize(static_cast<size_t>(root.constant));
}

Result<std::string> Interpreter::run(const OrderedJson& variables, const std::string& what) {
  auto text = run_root(variables);
  if (text.ok() || runtime_.raised) return text;
  return Error(text.error()).within(what + ": line " + std::to_string(line_));
}

Result<std::string> Interpreter::run_root(const OrderedJson& variables) {
  if (!variables.is_object()) return invalid("the variables are not a JSON object");
  variables_ = TRY(import(variables, 0));
  root_activation_ = TRY(activate(*root_.function, Value()));
  load(root_.loads, root_activation_);
  Capture out(runtime_);
  TRY(execute_all(root_.body, {root_activation_, out}));
  return out.take();
}

Result<Value> Interpreter::import(const OrderedJson& json, int depth) {
  if (depth > kMaxJsonDepth) return limit_reached("variables nested too deeply");
  switch (json.type()) {
    case OrderedJson::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case OrderedJson::value_t::number_float:
      return Value::real(json.get<double>());
    case OrderedJson::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case OrderedJson::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX)
        return invalid("an integer among the variables is beyond 64 bits");
      return Value::integer(json.get<int64_t>());
    case OrderedJson::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      if (!is_valid_utf8(text)) return invalid("a string among the variables is not valid UTF-8");
      TRY(runtime_.room(static_cast<int64_t>(text.size())));
      return runtime_.text(text);
    }
    case OrderedJson::value_t::array: {
      TRY(runtime_.room_for(static_cast<int64_t>(json.size()), sizeof(Value)));
      Values items;
      items.reserve(json.size());
      for (const OrderedJson& item : json) items.push_back(TRY(import(item, depth + 1)));
      return runtime_.list(std::move(items));
    }
    case OrderedJson::value_t::object: {
      Value dict = runtime_.dict();
      for (const auto& [name, item] : json.items()) {
        if (!is_valid_utf8(name)) return invalid("a name among the variables is not valid UTF-8");
        TRY(runtime_.work());
        const Value value = TRY(import(item, depth + 1));
        runtime_.set(dict, runtime_.text(name), value);
      }
      return dict;
    }
    default:
      return Value::none();
  }
}

Value& Interpreter::variable(const Value& activation, const Slot& slot) {
  const Value* place = &activation;
  for (int hop = 0; hop < slot.hops; ++hop) place = &place->get<ActivationObject>().parent;
  return place->get<ActivationObject>().slots[static_cast<size_t>(slot.index)];
}

// A name that the template around does not assign: a block sees what the template assigned so far.
Value Interpreter::lookup(const std::string& name) {
  const auto& names = root_.function->names;
  const auto own =
      std::lower_bound(names.begin(), names.end(), name,
                       [](const auto& entry, const std::string& wanted) { return entry.first < wanted; });
  if (own != names.end() && own->first == name) {
    const Value& value = root_activation_.get<ActivationObject>().slots[static_cast<size_t>(own->second)];
    if (!value.is_missing()) return value;
  }
  if (const Value* value = variables_.get<DictObject>().find(name)) return *value;
  const Builtin* global = find_global(name);
  return global == nullptr ? Value() : Value::function(global);
}

void Interpreter::load(const std::vector<Load>& loads, const Value& activation) {
  for (const Load& load : loads) {
    Value value;
    if (load.from == Load::From::kContext) value = lookup(load.name);
    if (load.from == Load::From::kVariable) value = variable(activation, load.source);
    activation.get<ActivationObject>().slots[static_cast<size_t>(load.target)] = std::move(value);
  }
}

void Interpreter::unload(const std::vector<Load>& loads, const Value& activation) {
  for (const Load& load : loads)
    activation.get<ActivationObject>().slots[static_cast<size_t>(load.target)] = Value();
}

void Interpreter::forget(const Node& target, const Value& activation) {
  if (target.type == NodeType::kName) variable(activation, target.slot) = Value();
  for (const NodePtr& item : target.list) forget(*item, activation);
}

Result<Value> Interpreter::activate(const Function& function, const Value& parent) {
  TRY(runtime_.room_for(function.num_slots, sizeof(Value)));
  TRY(runtime_.work(1 + function.num_slots / 16));
  auto* activation =
      runtime_.heap.make<ActivationObject>(function.num_slots * static_cast<int64_t>(sizeof(Value)));
  activation->parent = parent;
  activation->slots.resize(static_cast<size_t>(function.num_slots));
  return Value::of(Kind::kActivation, activation);
}

Result<Interpreter::Flow> Interpreter::execute_all(const Nodes& nodes, const Place& place) {
  for (const NodePtr& node : nodes) {
    const Flow flow = TRY(execute(*node, place));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::execute(const Node& node, const Place& place) {
  line_ = node.line;
  TRY(runtime_.work(1 + static_cast<int64_t>(node.loads.size() / 4)));
  TRY(runtime_.deeper());
  switch (node.type) {
    case NodeType::kOutput:
      TRY(output(node, place));
      return Flow::kNext;
    case NodeType::kIf:
      return execute_if(node, place);
    case NodeType::kFor:
      return execute_for(node, place);
    case NodeType::kSet:
      TRY(execute_set(node, place));
      return Flow::kNext;
    case NodeType::kSetBlock:
      return execute_set_block(node, place);
    case NodeType::kMacro:
      TRY(execute_macro(node, place));
      return Flow::kNext;
    case NodeType::kCallBlock:
      TRY(execute_call_block(node, place));
      return Flow::kNext;
    case NodeType::kFilterBlock:
      return execute_filter_block(node, place);
    case NodeType::kWith:
      return execute_with(node, place);
    case NodeType::kScope:
      return execute_scope(node, place);
    case NodeType::kBlock:
      TRY(execute_block(node, place));
      return Flow::kNext;
    case NodeType::kBreak:
      return Flow::kBreak;
    case NodeType::kContinue:
      return Flow::kContinue;
    default:
      CHECK(false, static_cast<int>(node.type));
      return Flow::kNext;
  }
}

Status Interpreter::output(const Node& node, const Place& place) {
  for (const NodePtr& item : node.list) {
    if (item->type == NodeType::kText) {
      TRY(place.out.append(item->text));
      continue;
    }
    const Value value = TRY(evaluate(*item, place.activation));
    TRY(print(value, place.out));
  }
  return {};
}

Status Interpreter::print(const Value& value, Capture& out) {
  if (value.is_string()) return out.append(value.text());
  const std::string text = TRY(to_text(runtime_, value));
  return out.append(text);
}

Result<Interpreter::Flow> Interpreter::execute_if(const Node& node, const Place& place) {
  if (truth(TRY(evaluate(*node.first, place.activation)))) return execute_all(node.body, place);
  for (const NodePtr& branch : node.list) {
    if (truth(TRY(evaluate(*branch->first, place.activation)))) return execute_all(branch->body, place);
  }
  return execute_all(node.other, place);
}

Status Interpreter::check_namespaces(const Node& target, const Value& activation) {
  if (target.type == NodeType::kAttributeOf && !variable(activation, target.slot).is(Kind::kNamespace)) {
    return invalid("cannot assign attribute '" + target.text + "': '" + target.name + "' is not a namespace");
  }
  for (const NodePtr& item : target.list) TRY(check_namespaces(*item, activation));
  return {};
}

Status Interpreter::execute_set(const Node& node, const Place& place) {
  TRY(check_namespaces(*node.first, place.activation));
  const Value value = TRY(evaluate(*node.second, place.activation));
  return assign(*node.first, value, place.activation);
}

Status Interpreter::assign(const Node& target, const Value& value, const Value& activation) {
  if (target.type == NodeType::kName) {
    variable(activation, target.slot) = value;
    return {};
  }
  if (target.type == NodeType::kAttributeOf) {
    const Value space = variable(activation, target.slot);
    if (!space.is(Kind::kNamespace)) return invalid("'" + target.name + "' is not a namespace");
    const Value& attributes = space.get<NamespaceObject>().attributes;
    runtime_.set(attributes, runtime_.text(target.text), value);
    return {};
  }
  const Values items = TRY(collect(runtime_, value));
  if (items.size() != target.list.size()) {
    return invalid("cannot unpack " + std::to_string(items.size()) + " values into " +
                   std::to_string(target.list.size()) + " names");
  }
  for (size_t i = 0; i < items.size(); ++i) TRY(assign(*target.list[i], items[i], activation));
  return {};
}

Result<Interpreter::Flow> Interpreter::execute_set_block(const Node& node, const Place& place) {
  load(node.loads, place.activation);
  Capture body(runtime_);
  const Flow flow = TRY(execute_all(node.body, {place.activation, body}));
  if (flow != Flow::kNext) return flow;
  Value value = runtime_.text(body.take());
  if (node.second) {
    captured_ = value;
    value = TRY(evaluate(*node.second, place.activation));
  }
  TRY(check_namespaces(*node.first, place.activation));
  TRY(assign(*node.first, value, place.activation));
  unload(node.loads, place.activation);
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::execute_filter_block(const Node& node, const Place& place) {
  load(node.loads, place.activation);
  Capture body(runtime_);
  const Flow flow = TRY(execute_all(node.body, {place.activation, body}));
  if (flow != Flow::kNext) return flow;
  captured_ = runtime_.text(body.take());
  const Value value = TRY(evaluate(*node.first, place.activation));
  if (!value.is_string()) return type_error("text from the filter of a block", value);
  TRY(place.out.append(value.text()));
  unload(node.loads, place.activation);
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::execute_with(const Node& node, const Place& place) {
  load(node.loads, place.activation);
  for (size_t i = 0; i < node.list.size(); ++i) {
    const Value value = TRY(evaluate(*node.other[i], place.activation));
    TRY(assign(*node.list[i], value, place.activation));
  }
  const Flow flow = TRY(execute_all(node.body, place));
  if (flow != Flow::kNext) return flow;
  unload(node.loads, place.activation);
  for (const NodePtr& target : node.list) forget(*target, place.activation);
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::execute_scope(const Node& node, const Place& place) {
  load(node.loads, place.activation);
  const Flow flow = TRY(execute_all(node.body, place));
  if (flow == Flow::kNext) unload(node.loads, place.activation);
  return flow;
}

Value Interpreter::make_macro(const Node& node, const Value& activation) {
  auto* macro = runtime_.heap.make<MacroObject>();
  macro->node = &node;
  macro->activation = activation;
  return Value::of(Kind::kMacro, macro);
}

Status Interpreter::execute_macro(const Node& node, const Place& place) {
  variable(place.activation, node.slot) = make_macro(node, place.activation);
  return {};
}

Status Interpreter::execute_call_block(const Node& node, const Place& place) {
  const Value caller = make_macro(node, place.activation);
  const Value value = node.first ? TRY(evaluate_call(*node.first, place.activation, &caller))
                                 : TRY(call_macro(caller.get<MacroObject>(), {}));
  if (!value.is_string()) return type_error("text from the call of a block", value);
  return place.out.append(value.text());
}

Status Interpreter::execute_block(const Node& node, const Place& place) {
  const Value activation = TRY(activate(*node.function, Value()));
  load(node.loads, activation);
  TRY(execute_all(node.body, {activation, place.out}));
  return {};
}

}  // namespace heed::jinja
