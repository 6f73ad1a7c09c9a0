#include <algorithm>

#include "dialects/call_reader.h"
#include "dialects/json_text.h"

namespace heed {
namespace {

// Against references in circles, and large schemas: what looking for the types of one parameter, and of all,
// may cost. Types that are not found by then count as unknown.
constexpr int kMaxStepsOfParameter = 256;
constexpr int kMaxSteps = 100'000;
constexpr size_t kMembersAStep = 16;  // passed over when an object's member is looked up

int type_named(const OrderedJson& name) {
  if (name == "string") return kString;
  if (name == "number" || name == "integer") return kNumber;
  if (name == "boolean") return kBoolean;
  if (name == "null") return kNull;
  if (name == "array") return kArray;
  if (name == "object") return kObject;
  return 0;
}

template <class Document>
int type_of(const Document& value) {
  if (value.is_string()) return kString;
  if (value.is_number()) return kNumber;
  if (value.is_boolean()) return kBoolean;
  if (value.is_null()) return kNull;
  return value.is_array() ? kArray : kObject;
}

const OrderedJson* referred(const std::string& reference, const OrderedJson& root, int& steps_left) {
  if (!reference.starts_with("#")) return nullptr;
  const OrderedJson* node = &root;
  for (size_t at = 1; at < reference.size();) {
    const size_t end = std::min(reference.find('/', at + 1), reference.size());
    const std::string key = reference.substr(at + 1, end - at - 1);
    if (reference[at] != '/' || !node->is_object() || steps_left <= 0) return nullptr;
    steps_left -= static_cast<int>(1 + node->size() / kMembersAStep);
    const auto member = node->find(key);
    if (member == node->end()) return nullptr;
    node = &*member;
    at = end;
  }
  return node;
}

int types_within(const OrderedJson& schema, const OrderedJson& root, int& steps_left) {
  if (!schema.is_object() || steps_left-- <= 0) return 0;
  if (const auto type = schema.find("type"); type != schema.end()) {
    if (!type->is_array()) return type_named(*type);
    int types = 0;
    for (const OrderedJson& one : *type) types |= type_named(one);
    return types;
  }
  if (const auto value = schema.find("const"); value != schema.end()) return type_of(*value);
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    int types = 0;
    for (const OrderedJson& value : *values) types |= type_of(value);
    return types;
  }
  if (const auto reference = schema.find("$ref"); reference != schema.end() && reference->is_string()) {
    const OrderedJson* target = referred(reference->get<std::string>(), root, steps_left);
    return target == nullptr ? 0 : types_within(*target, root, steps_left);
  }
  for (const char* key : {"anyOf", "oneOf", "allOf"}) {
    const auto branches = schema.find(key);
    if (branches == schema.end() || !branches->is_array()) continue;
    int types = 0;
    bool all_known = true;
    for (const OrderedJson& branch : *branches) {
      const int branch_types = types_within(branch, root, steps_left);
      types |= branch_types;
      all_known = all_known && branch_types != 0;
    }
    return all_known || std::string_view(key) == "allOf" ? types : 0;
  }
  return 0;
}

std::map<std::string, int> parameter_types(const OrderedJson& function, int& steps_left) {
  std::map<std::string, int> types;
  const auto parameters = function.find("parameters");
  if (parameters == function.end() || !parameters->is_object()) return types;
  const auto properties = parameters->find("properties");
  if (properties == parameters->end() || !properties->is_object()) return types;
  for (const auto& [name, schema] : properties->items()) {
    int steps = std::min(steps_left, kMaxStepsOfParameter);
    steps_left -= steps;
    types[name] = types_within(schema, *parameters, steps);
    steps_left += std::max(steps, 0);
  }
  return types;
}

}  // namespace

int types_of_schema(const OrderedJson& schema, const OrderedJson& root) {
  int steps_left = kMaxStepsOfParameter;
  return types_within(schema, root, steps_left);
}

ToolTypes::ToolTypes(const OrderedJson& tools) {
  if (!tools.is_array()) return;
  int steps_left = kMaxSteps;
  for (const OrderedJson& tool : tools) {
    if (!tool.is_object()) continue;
    const auto function = tool.find("function");
    const OrderedJson& named = function != tool.end() && function->is_object() ? *function : tool;
    const auto name = named.find("name");
    if (name != named.end() && name->is_string())
      tools_[name->get<std::string>()] = parameter_types(named, steps_left);
  }
}

int ToolTypes::types_of(const std::string& tool, const std::string& parameter) const {
  const auto known = tools_.find(tool);
  if (known == tools_.end()) return 0;
  const auto type = known->second.find(parameter);
  return type == known->second.end() ? 0 : type->second;
}

std::string json_of_text(std::string_view text, int types) {
  if (types == kString) return json_string(text);
  const std::string_view word = trimmed(text);
  // Python's words, as templates print them.
  if ((types & kBoolean) && word == "True") return "true";
  if ((types & kBoolean) && word == "False") return "false";
  if ((types & kNull) && word == "None") return "null";
  const Result<OrderedJson> value = parse_ordered_json(word, "value");
  if (!value.ok() || value->is_string()) return json_string(text);
  if (types != 0 && !(types & type_of(*value))) return json_string(text);
  return std::string(word);
}

}  // namespace heed
