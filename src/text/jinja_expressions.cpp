#include "text/jinja_interpreter.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace heed::jinja {

Result<Value> Interpreter::evaluate(const Node& node, const Value& activation) {
  line_ = node.line;
  TRY(runtime_.work());
  TRY(runtime_.deeper());
  switch (node.type) {
    case NodeType::kText:
    case NodeType::kInteger:
    case NodeType::kReal:
    case NodeType::kBoolean:
    case NodeType::kNone:
      return evaluate_constant(node);
    case NodeType::kName:
      return evaluate_name(node, activation);
    case NodeType::kTuple:
    case NodeType::kList:
      return evaluate_items(node, activation);
    case NodeType::kDict:
      return evaluate_dict(node, activation);
    case NodeType::kConcat:
      return evaluate_concat(node, activation);
    case NodeType::kCompare:
      return evaluate_compare(node, activation);
    case NodeType::kGetAttribute: {
      const Value object = TRY(evaluate(*node.first, activation));
      return get_attribute(runtime_, object, node.name);
    }
    case NodeType::kGetItem:
      return evaluate_item(node, activation);
    case NodeType::kCall:
      return evaluate_call(node, activation, nullptr);
    case NodeType::kFilter:
    case NodeType::kTest:
      return evaluate_builtin(node, activation);
    default:
      return evaluate_operator(node, activation);
  }
}

Result<Value> Interpreter::evaluate_operator(const Node& node, const Value& activation) {
  switch (node.type) {
    case NodeType::kConditional:
      if (truth(TRY(evaluate(*node.second, activation)))) return evaluate(*node.first, activation);
      if (node.third) return evaluate(*node.third, activation);
      return runtime_.undefined(
          "the inline if-expression evaluated to false and no else section was defined");
    case NodeType::kNot:
      return Value::boolean(!truth(TRY(evaluate(*node.first, activation))));
    case NodeType::kNegate:
      return negative(TRY(evaluate(*node.first, activation)));
    case NodeType::kPlus:
      return positive(TRY(evaluate(*node.first, activation)));
    case NodeType::kAnd:
    case NodeType::kOr: {
      Value left = TRY(evaluate(*node.first, activation));
      const bool decided = truth(left) == (node.type == NodeType::kOr);
      return decided ? Result<Value>(std::move(left)) : evaluate(*node.second, activation);
    }
    default:
      break;
  }
  const Value left = TRY(evaluate(*node.first, activation));
  const Value right = TRY(evaluate(*node.second, activation));
  return arithmetic(runtime_, node.type, left, right);
}

Result<Value> Interpreter::evaluate_constant(const Node& node) {
  switch (node.type) {
    case NodeType::kInteger:
      return Value::integer(node.integer);
    case NodeType::kReal:
      return Value::real(node.real);
    case NodeType::kBoolean:
      return Value::boolean(node.flag);
    case NodeType::kNone:
      return Value::none();
    default:
      break;
  }
  Value& constant = constants_[static_cast<size_t>(node.constant)];
  if (constant.is_missing()) {
    TRY(runtime_.room(static_cast<int64_t>(node.text.size())));
    constant = runtime_.text(node.text);
  }
  return constant;
}

Result<Value> Interpreter::evaluate_name(const Node& node, const Value& activation) {
  const Value& value = variable(activation, node.slot);
  return value.is_missing() ? runtime_.undefined("'" + node.name + "' is undefined") : value;
}

Result<Value> Interpreter::evaluate_items(const Node& node, const Value& activation) {
  Values items;
  items.reserve(node.list.size());
  for (const NodePtr& item : node.list) items.push_back(TRY(evaluate(*item, activation)));
  return node.type == NodeType::kTuple ? runtime_.tuple(std::move(items)) : runtime_.list(std::move(items));
}

Result<Value> Interpreter::evaluate_dict(const Node& node, const Value& activation) {
  Value dict = runtime_.dict();
  for (size_t i = 0; i + 1 < node.list.size(); i += 2) {
    Value key = TRY(evaluate(*node.list[i], activation));
    Value value = TRY(evaluate(*node.list[i + 1], activation));
    if (!is_hashable(key)) return type_error("a hashable key", key);
    runtime_.set(dict, std::move(key), std::move(value));
  }
  return dict;
}

Result<Value> Interpreter::evaluate_concat(const Node& node, const Value& activation) {
  Values parts;
  for (const NodePtr& item : node.list) parts.push_back(TRY(evaluate(*item, activation)));
  size_t size = 0;
  for (Value& part : parts) {
    if (!part.is_string()) part = runtime_.text(TRY(to_text(runtime_, part)));
    TRY(runtime_.work_on(part.text()));
    size += part.text().size();
  }
  TRY(runtime_.room(static_cast<int64_t>(size)));
  std::string out;
  out.reserve(size);
  for (const Value& part : parts) out += part.text();
  return runtime_.text(std::move(out));
}

Result<Value> Interpreter::evaluate_compare(const Node& node, const Value& activation) {
  Value left = TRY(evaluate(*node.first, activation));
  for (size_t i = 0; i < node.list.size(); ++i) {
    Value right = TRY(evaluate(*node.list[i], activation));
    if (!TRY(compare(runtime_, node.operators[i], left, right))) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Result<Value> Interpreter::evaluate_item(const Node& node, const Value& activation) {
  const Value object = TRY(evaluate(*node.first, activation));
  const Node& index = *node.second;
  if (index.type != NodeType::kSlice) {
    const Value key = TRY(evaluate(index, activation));
    return get_item(runtime_, object, key);
  }
  const auto bound = [&](const NodePtr& part) { return part ? evaluate(*part, activation) : Value::none(); };
  const Value start = TRY(bound(index.first));
  const Value stop = TRY(bound(index.second));
  const Value step = TRY(bound(index.third));
  return slice(runtime_, object, start, stop, step);
}

Status Interpreter::evaluate_arguments(const Node& node, const Value& activation, Arguments& arguments) {
  for (const NodePtr& argument : node.arguments) {
    arguments.positional.push_back(TRY(evaluate(*argument, activation)));
  }
  for (const Keyword& keyword : node.keywords) {
    arguments.named.emplace_back(keyword.name, TRY(evaluate(*keyword.value, activation)));
  }
  if (node.star) {
    const Value more = TRY(evaluate(*node.star, activation));
    for (const Value& value : TRY(collect(runtime_, more))) arguments.positional.push_back(value);
  }
  if (!node.star_star) return {};
  const Value more = TRY(evaluate(*node.star_star, activation));
  if (!more.is_dict()) return type_error("a mapping behind **", more);
  for (const auto& [key, value] : more.get<DictObject>().entries) {
    if (!key.is_string()) return type_error("a string as the name of an argument", key);
    TRY(runtime_.work(1 + static_cast<int64_t>(arguments.named.size())));
    for (const auto& given : arguments.named) {
      if (given.first == key.text())
        return invalid("got multiple values for the argument '" + key.text() + "'");
    }
    arguments.named.emplace_back(key.text(), value);
  }
  return {};
}

Result<Value> Interpreter::evaluate_call(const Node& node, const Value& activation, const Value* caller) {
  const Value callee = TRY(evaluate(*node.first, activation));
  Arguments arguments;
  TRY(evaluate_arguments(node, activation, arguments));
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  line_ = node.line;
  return call_value(callee, std::move(arguments));
}

Result<Value> Interpreter::evaluate_builtin(const Node& node, const Value& activation) {
  const bool is_filter = node.type == NodeType::kFilter;
  Arguments arguments;
  arguments.self = node.first ? TRY(evaluate(*node.first, activation)) : captured_;
  TRY(evaluate_arguments(node, activation, arguments));
  line_ = node.line;
  if (node.builtin == nullptr) {
    return invalid(std::string(is_filter ? "no filter" : "no test") + " named '" + node.name + "'");
  }
  return call(runtime_, *node.builtin, std::move(arguments));
}

}  // namespace heed::jinja
