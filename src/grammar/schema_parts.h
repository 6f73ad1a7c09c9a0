// A JSON schema taken apart: the conjunction of several schemas as alternatives without $ref, allOf, anyOf or
// oneOf.
//
// In an Alternative each keyword is merged over all schemas that say it. What constrains members and items
// stays a list of schemas and is taken apart when their own rule is made.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "grammar/automaton.h"
#include "grammar/json_number.h"

namespace heed::grammar {

struct SchemaRef {
  const OrderedJson* node = nullptr;
  std::string pointer;  // for errors: "/properties/a"
};

using Conjunction = std::vector<SchemaRef>;  // all must hold; none: any value

enum JsonType : int {
  kNullType = 1,
  kBooleanType = 2,
  kIntegerType = 4,
  kFractionType = 8,  // with kIntegerType: numbers
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64,
  kAllTypes = 127,
};
int type_of(const OrderedJson& value);

struct ObjectPart {
  std::vector<std::pair<std::string_view, SchemaRef>> properties;
  std::unordered_map<std::string_view, size_t> places;
  std::optional<SchemaRef> additional;
};

struct ArrayPart {
  std::vector<SchemaRef> prefix;
  std::optional<SchemaRef> items;
};

struct Alternative {
  int types = kAllTypes;
  bool has_values = false;
  std::vector<const OrderedJson*> values;  // enum and const
  NumberRange range;
  std::vector<Decimal> divisors;
  int64_t min_length = 0;
  int64_t max_length = INT32_MAX;
  std::vector<SchemaRef> patterns;
  std::vector<SchemaRef> formats;
  std::vector<ObjectPart> objects;
  std::vector<SchemaRef> required;  // strings
  std::vector<ArrayPart> arrays;
  int64_t min_items = 0;
  int64_t max_items = INT32_MAX;
};

class SchemaParts {
 public:
  SchemaParts(const OrderedJson& root, int max_properties, Budget& budget)
      : root_(root), max_properties_(max_properties), budget_(budget) {}

  Result<std::vector<Alternative>> alternatives(const Conjunction& schemas);

  // Without schemas that are always true or said twice, and with a bare $ref replaced by what it refers to.
  Result<Conjunction> simplified(const Conjunction& schemas);

 private:
  struct Open {
    SchemaRef schema;
    std::vector<const OrderedJson*> ancestors;  // schemas that this one is part of, without a value between
    bool is_branch = false;                     // a list of schemas of which one must hold
  };
  struct Path {
    Alternative alternative;
    std::vector<Open> open;
    std::vector<const OrderedJson*> merged;
    int depth = 0;
  };

  Status follow(Path path, std::vector<Alternative>& result);
  Status branch(const Path& path, const Open& choice, std::vector<Alternative>& result);
  Result<bool> merge(const Open& open, Path& path);
  Status merge_keyword(const std::string& key, const SchemaRef& value, Alternative& to);
  Status merge_type(const SchemaRef& value, Alternative& to);
  Status merge_values(const SchemaRef& value, bool is_list, Alternative& to);
  Status merge_numbers(const std::string& key, const SchemaRef& value, Alternative& to);
  Status merge_object(const SchemaRef& schema, Alternative& to);
  Status merge_array(const SchemaRef& schema, Alternative& to);
  Result<SchemaRef> resolve(const SchemaRef& reference);

  const OrderedJson& root_;
  int max_properties_;
  Budget& budget_;
  std::unordered_map<std::string, SchemaRef> resolved_;
};

std::string pointer_to(const std::string& parent, std::string_view key);
Error schema_error(const std::string& pointer, const std::string& message);

}  // namespace heed::grammar
