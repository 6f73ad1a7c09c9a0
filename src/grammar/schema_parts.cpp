#include "grammar/schema_parts.h"

#include <algorithm>
#include <array>

namespace heed::grammar {
namespace {

constexpr int kMaxBranches = 64;           // of anyOf and oneOf within each other
constexpr size_t kMaxAlternatives = 2000;  // of one value

// Keywords that would constrain a value in a way that is not supported.
constexpr std::array<std::string_view, 16> kRefused = {"not",
                                                       "if",
                                                       "patternProperties",
                                                       "dependentRequired",
                                                       "dependentSchemas",
                                                       "dependencies",
                                                       "uniqueItems",
                                                       "contains",
                                                       "propertyNames",
                                                       "minProperties",
                                                       "maxProperties",
                                                       "unevaluatedItems",
                                                       "$dynamicRef",
                                                       "$recursiveRef",
                                                       "additionalItems",
                                                       "unevaluatedProperties"};

constexpr std::array<std::pair<std::string_view, int>, 7> kTypeNames = {
    {{"null", kNullType},
     {"boolean", kBooleanType},
     {"integer", kIntegerType},
     {"number", kIntegerType | kFractionType},
     {"string", kStringType},
     {"array", kArrayType},
     {"object", kObjectType}}};

// Values with which a refused keyword says nothing.
bool says_nothing(const std::string& key, const OrderedJson& value) {
  if (key == "uniqueItems") return value == false;
  if (key == "minProperties") return value == 0;
  if (key == "unevaluatedProperties" || key == "unevaluatedItems" || key == "additionalItems")
    return value == true;
  const bool is_map = key == "patternProperties" || key.starts_with("depend");
  return is_map && value.is_object() && value.empty();
}

bool is_true(const OrderedJson& schema) {
  return schema.is_boolean() ? schema.get<bool>() : schema.is_object() && schema.empty();
}

const OrderedJson* member(const OrderedJson& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() ? nullptr : &*at;
}

Result<int64_t> count_of(const SchemaRef& value) {
  const OrderedJson& n = *value.node;
  const double as_double = n.is_number() ? n.get<double>() : -1;
  if (as_double < 0 || as_double != static_cast<double>(static_cast<int64_t>(std::min(as_double, 1e15)))) {
    return schema_error(value.pointer, "expected an integer of 0 or more");
  }
  return static_cast<int64_t>(std::min(as_double, static_cast<double>(INT32_MAX)));
}

Status check_schema(const SchemaRef& schema) {
  if (schema.node->is_object() || schema.node->is_boolean()) return {};
  return schema_error(schema.pointer, "expected a schema, which is an object, true or false");
}

}  // namespace

std::string pointer_to(const std::string& parent, std::string_view key) {
  std::string result = parent + "/";
  for (const char c : key) {
    if (c == '~') {
      result += "~0";
    } else if (c == '/') {
      result += "~1";
    } else {
      result += c;
    }
  }
  return result;
}

Error schema_error(const std::string& pointer, const std::string& message) {
  // Keys are from outside: keep the error one short line.
  std::string place = pointer.empty() ? "(root)" : pointer.substr(0, 200);
  std::replace_if(
      place.begin(), place.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return invalid("schema at " + place + ": " + message);
}

int type_of(const OrderedJson& value) {
  switch (value.type()) {
    case OrderedJson::value_t::null:
      return kNullType;
    case OrderedJson::value_t::boolean:
      return kBooleanType;
    case OrderedJson::value_t::string:
      return kStringType;
    case OrderedJson::value_t::array:
      return kArrayType;
    case OrderedJson::value_t::object:
      return kObjectType;
    default:
      return decimal_of(value)->is_integer() ? kIntegerType : kFractionType;
  }
}

Result<std::vector<Alternative>> SchemaParts::alternatives(const Conjunction& schemas) {
  Path path;
  for (size_t i = schemas.size(); i-- > 0;) path.open.push_back({schemas[i], {}});
  std::vector<Alternative> result;
  TRY(follow(std::move(path), result));
  return result;
}

Status SchemaParts::follow(Path path, std::vector<Alternative>& result) {
  while (!path.open.empty()) {
    if (!budget_.add_steps(64)) return {};  // the compiler reports it
    const Open open = std::move(path.open.back());
    path.open.pop_back();
    if (open.is_branch) return branch(path, open, result);
    if (!TRY(merge(open, path))) return {};
  }
  if (path.alternative.types == 0) return {};
  if (result.size() >= kMaxAlternatives) {
    return limit_reached("schema: more than " + std::to_string(kMaxAlternatives) +
                         " alternatives for one value");
  }
  result.push_back(std::move(path.alternative));
  return {};
}

Status SchemaParts::branch(const Path& path, const Open& choice, std::vector<Alternative>& result) {
  if (path.depth >= kMaxBranches)
    return schema_error(choice.schema.pointer, "anyOf and oneOf nested too deep");
  for (size_t i = 0; i < choice.schema.node->size() && !budget_.spent(); ++i) {
    Path next = path;
    ++next.depth;
    next.open.push_back({{&(*choice.schema.node)[i], pointer_to(choice.schema.pointer, std::to_string(i))},
                         choice.ancestors});
    TRY(follow(std::move(next), result));
  }
  return {};
}

// False if no value satisfies the schema.
Result<bool> SchemaParts::merge(const Open& open, Path& path) {
  const SchemaRef& schema = open.schema;
  TRY(check_schema(schema));
  if (schema.node->is_boolean()) return schema.node->get<bool>();
  if (std::find(open.ancestors.begin(), open.ancestors.end(), schema.node) != open.ancestors.end()) {
    return schema_error(schema.pointer, "the schema refers to itself without a value in between");
  }
  if (std::find(path.merged.begin(), path.merged.end(), schema.node) != path.merged.end()) return true;
  path.merged.push_back(schema.node);
  std::vector<const OrderedJson*> ancestors = open.ancestors;
  ancestors.push_back(schema.node);
  budget_.add_steps(static_cast<int64_t>(ancestors.size()));

  bool is_object = false;
  bool is_array = false;
  std::vector<Open> branches;
  std::vector<Open> parts;
  for (const auto& [key, value] : schema.node->items()) {
    const SchemaRef here{&value, pointer_to(schema.pointer, key)};
    is_object = is_object || key == "properties" || key == "additionalProperties";
    is_array = is_array || key == "items" || key == "prefixItems";
    const bool is_any = key == "anyOf" || key == "oneOf";
    if (is_any || key == "allOf") {
      if (!value.is_array() || value.empty()) return schema_error(here.pointer, "expected a list of schemas");
      if (is_any) branches.push_back({here, ancestors, true});
      for (size_t i = 0; !is_any && i < value.size(); ++i) {
        parts.push_back({{&value[i], pointer_to(here.pointer, std::to_string(i))}, ancestors});
      }
    } else if (key == "$ref") {
      parts.push_back({TRY(resolve(here)), ancestors});
    } else {
      TRY(merge_keyword(key, here, path.alternative));
    }
  }
  path.open.insert(path.open.end(), parts.rbegin(),
                   parts.rend());  // in order, as members keep the order of the parts
  // Branches wait until all else is merged, so that they copy as little as they can.
  path.open.insert(path.open.begin(), branches.rbegin(), branches.rend());
  if (is_object) TRY(merge_object(schema, path.alternative));
  if (is_array) TRY(merge_array(schema, path.alternative));
  return true;
}

Status SchemaParts::merge_keyword(const std::string& key, const SchemaRef& value, Alternative& to) {
  if (std::find(kRefused.begin(), kRefused.end(), key) != kRefused.end()) {
    if (says_nothing(key, *value.node)) return {};
    return schema_error(value.pointer, "the keyword \"" + key + "\" is not supported");
  }
  if (key == "type") return merge_type(value, to);
  if (key == "enum" || key == "const") return merge_values(value, key == "enum", to);
  if (key == "minLength") to.min_length = std::max(to.min_length, TRY(count_of(value)));
  if (key == "maxLength") to.max_length = std::min(to.max_length, TRY(count_of(value)));
  if (key == "minItems") to.min_items = std::max(to.min_items, TRY(count_of(value)));
  if (key == "maxItems") to.max_items = std::min(to.max_items, TRY(count_of(value)));
  if (key == "pattern" || key == "format") {
    if (!value.node->is_string()) return schema_error(value.pointer, "expected a string");
    (key == "pattern" ? to.patterns : to.formats).push_back(value);
  }
  if (key == "required") {
    if (!value.node->is_array()) return schema_error(value.pointer, "expected a list of names");
    if (ssize(*value.node) > max_properties_) {
      return limit_reached("schema at " + value.pointer + ": more than " + std::to_string(max_properties_) +
                           " names");
    }
    for (const OrderedJson& name : *value.node) {
      if (!name.is_string()) return schema_error(value.pointer, "expected a list of names");
      to.required.push_back({&name, value.pointer});
    }
  }
  return merge_numbers(key, value, to);
}

Status SchemaParts::merge_numbers(const std::string& key, const SchemaRef& value, Alternative& to) {
  const bool is_min = key == "minimum" || key == "exclusiveMinimum";
  const bool is_max = key == "maximum" || key == "exclusiveMaximum";
  if (!is_min && !is_max && key != "multipleOf") return {};
  const std::optional<Decimal> number = decimal_of(*value.node);
  if (!number) return schema_error(value.pointer, "expected a number");
  if (is_min) to.range.narrow_min({*number, key == "exclusiveMinimum"});
  if (is_max) to.range.narrow_max({*number, key == "exclusiveMaximum"});
  if (is_min || is_max) return {};
  if (number->negative || number->is_zero()) return schema_error(value.pointer, "expected a number above 0");
  const bool is_power = number->whole.empty() &&
                        number->fraction.find_first_not_of('0') + 1 == number->fraction.size() &&
                        number->fraction.back() == '1' && ssize(number->fraction) < kMaxFractionDigits;
  const bool is_small =
      number->is_integer() && number->whole.size() <= 4 && std::stoi(number->whole) <= kMaxMultiple;
  if (!is_power && !is_small) {
    return schema_error(value.pointer, "multipleOf may be an integer up to " + std::to_string(kMaxMultiple) +
                                           " or a power of ten below 1");
  }
  to.divisors.push_back(*number);
  return {};
}

Status SchemaParts::merge_type(const SchemaRef& value, Alternative& to) {
  int types = 0;
  const auto add = [&](const OrderedJson& name) {
    for (const auto& [known, bits] : kTypeNames) {
      if (!name.is_string() || name.get_ref<const std::string&>() != known) continue;
      types |= bits;
      return true;
    }
    return false;
  };
  bool is_known = !value.node->is_array() || !value.node->empty();
  if (value.node->is_array()) {
    for (const OrderedJson& name : *value.node) is_known = is_known && add(name);
  } else {
    is_known = add(*value.node);
  }
  if (!is_known) {
    return schema_error(value.pointer,
                        "expected null, boolean, integer, number, string, array, object or a list of these");
  }
  to.types &= types;
  return {};
}

Status SchemaParts::merge_values(const SchemaRef& value, bool is_list, Alternative& to) {
  std::vector<const OrderedJson*> values = {value.node};
  if (is_list) {
    if (!value.node->is_array()) return schema_error(value.pointer, "expected a list of values");
    values.clear();
    for (const OrderedJson& v : *value.node) values.push_back(&v);
  }
  if (to.has_values) {
    budget_.add_steps(ssize(values) * ssize(to.values));
    std::erase_if(values, [&](const OrderedJson* v) {
      return budget_.spent() || std::none_of(to.values.begin(), to.values.end(),
                                             [&](const OrderedJson* other) { return *other == *v; });
    });
  }
  to.has_values = true;
  to.values = std::move(values);
  return {};
}

Status SchemaParts::merge_object(const SchemaRef& schema, Alternative& to) {
  ObjectPart part;
  if (const OrderedJson* properties = member(*schema.node, "properties")) {
    const std::string pointer = schema.pointer + "/properties";
    if (!properties->is_object()) return schema_error(pointer, "expected an object of schemas");
    if (ssize(*properties) > max_properties_) {
      return limit_reached("schema at " + pointer + ": more than " + std::to_string(max_properties_) +
                           " properties");
    }
    budget_.add_steps(ssize(*properties));
    for (auto at = properties->begin(); at != properties->end(); ++at) {
      const SchemaRef property{&at.value(), pointer_to(pointer, at.key())};
      TRY(check_schema(property));
      part.places.emplace(at.key(), part.properties.size());
      part.properties.emplace_back(at.key(), property);
    }
  }
  if (const OrderedJson* additional = member(*schema.node, "additionalProperties")) {
    part.additional = SchemaRef{additional, schema.pointer + "/additionalProperties"};
    TRY(check_schema(*part.additional));
  }
  to.objects.push_back(std::move(part));
  return {};
}

Status SchemaParts::merge_array(const SchemaRef& schema, Alternative& to) {
  ArrayPart part;
  if (const OrderedJson* prefix = member(*schema.node, "prefixItems")) {
    const std::string pointer = schema.pointer + "/prefixItems";
    if (!prefix->is_array()) return schema_error(pointer, "expected a list of schemas");
    budget_.add_steps(ssize(*prefix));
    if (budget_.spent()) return {};
    for (size_t i = 0; i < prefix->size(); ++i) {
      part.prefix.push_back({&(*prefix)[i], pointer_to(pointer, std::to_string(i))});
      TRY(check_schema(part.prefix.back()));
    }
  }
  if (const OrderedJson* items = member(*schema.node, "items")) {
    part.items = SchemaRef{items, schema.pointer + "/items"};
    if (items->is_array())
      return schema_error(part.items->pointer, "a list of schemas is called prefixItems");
    TRY(check_schema(*part.items));
  }
  to.arrays.push_back(std::move(part));
  return {};
}

Result<SchemaRef> SchemaParts::resolve(const SchemaRef& reference) {
  if (!reference.node->is_string()) return schema_error(reference.pointer, "expected a string");
  const auto& text = reference.node->get_ref<const std::string&>();
  if (const auto known = resolved_.find(text); known != resolved_.end()) return known->second;
  if (text != "#" && !text.starts_with("#/")) {
    return schema_error(reference.pointer, "only references into the same schema (\"#/...\") are supported");
  }
  SchemaRef at{&root_, ""};
  for (size_t begin = 2; begin <= text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    std::string key = text.substr(begin, end - begin);
    for (size_t i = key.find('%'); i != std::string::npos && i + 2 < key.size(); i = key.find('%', i + 1)) {
      const std::string code = key.substr(i + 1, 2);
      if (code.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) continue;
      key.replace(i, 3, 1, static_cast<char>(std::stoi(code, nullptr, 16)));
    }
    for (size_t i = key.find('~'); i != std::string::npos; i = key.find('~', i + 1)) {
      if (i + 1 < key.size() && (key[i + 1] == '0' || key[i + 1] == '1'))
        key.replace(i, 2, key[i + 1] == '0' ? "~" : "/");
    }
    budget_.add_steps(1 + ssize(*at.node));
    const bool is_index = at.node->is_array() && !key.empty() && key.size() < 9 &&
                          key.find_first_not_of("0123456789") == std::string::npos;
    const size_t index = is_index ? static_cast<size_t>(std::stoi(key)) : 0;
    const bool found = at.node->is_object() ? at.node->contains(key) : is_index && index < at.node->size();
    if (!found) return schema_error(reference.pointer, "there is nothing at the place that it refers to");
    at.node = is_index ? &(*at.node)[index] : &(*at.node)[key];
    at.pointer = pointer_to(at.pointer, key);
    begin = end + 1;
  }
  TRY(check_schema(at));
  resolved_.emplace(text, at);
  return at;
}

Result<Conjunction> SchemaParts::simplified(const Conjunction& schemas) {
  Conjunction result;
  for (SchemaRef schema : schemas) {
    // As many steps as the longest chain of bare references; a circle is left for alternatives() to report.
    for (int steps = 0; steps < 100 && schema.node->is_object() && schema.node->size() == 1; ++steps) {
      const OrderedJson* reference = member(*schema.node, "$ref");
      if (reference == nullptr) break;
      schema = TRY(resolve({reference, schema.pointer + "/$ref"}));
    }
    const bool is_known = std::any_of(result.begin(), result.end(),
                                      [&](const SchemaRef& other) { return other.node == schema.node; });
    if (!is_true(*schema.node) && !is_known) result.push_back(schema);
  }
  return result;
}

}  // namespace heed::grammar
