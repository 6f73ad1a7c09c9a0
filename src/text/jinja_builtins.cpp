#include "text/jinja_builtins.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace heed::jinja {
namespace {

using Table = std::map<std::string_view, Builtin>;

Table table_of(std::initializer_list<Builtins> groups) {
  Table table;
  for (const Builtins& group : groups) {
    for (const Builtin& builtin : group) table.emplace(builtin.name, builtin);
  }
  return table;
}

const Builtin* find_in(const Table& table, std::string_view name) {
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

// One parameter of "a b? c?" after the other.
struct Parameters {
  explicit Parameters(std::string_view text) : rest(text) {
    by_place_only = rest.starts_with('/');
    if (by_place_only) rest.remove_prefix(1);
  }
  bool next() {
    if (rest.empty()) return false;
    const size_t end = std::min(rest.find(' '), rest.size());
    name = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    optional = name.ends_with('?');
    if (optional) name.remove_suffix(1);
    return true;
  }
  std::string_view rest, name;
  bool optional = false;
  bool by_place_only = false;
};

}  // namespace

const Builtin* find_filter(std::string_view name) {
  static const Table table =
      table_of({text_filters(), markup_filters(), number_filters(), sequence_filters(), mapping_filters()});
  return find_in(table, name);
}

const Builtin* find_test(std::string_view name) {
  static const Table table = table_of({tests()});
  return find_in(table, name);
}

const Builtin* find_global(std::string_view name) {
  static const Table table = table_of({globals()});
  return find_in(table, name);
}

const Builtin* find_method(Kind kind, std::string_view name) {
  static const std::map<Kind, Table> tables = {
      {Kind::kString, table_of({text_methods(), text_class_methods()})},
      {Kind::kList, table_of({list_methods()})},
      {Kind::kTuple, table_of({tuple_methods()})},
      {Kind::kDict, table_of({dict_methods()})},
      {Kind::kView, table_of({view_methods()})},
      {Kind::kInt, table_of({integer_methods()})},
      {Kind::kBool, table_of({integer_methods()})},
      {Kind::kFloat, table_of({float_methods()})},
      {Kind::kRange, table_of({range_methods()})},
      {Kind::kLoop, table_of({loop_methods()})},
      {Kind::kCycler, table_of({cycler_methods()})},
      {Kind::kMacro, table_of({macro_methods()})},
  };
  const auto table = tables.find(kind);
  return table == tables.end() ? nullptr : find_in(table->second, name);
}

Result<Value> call(Runtime& runtime, const Builtin& builtin, Arguments arguments) {
  TRY(runtime.work());
  TRY(runtime.deeper());
  if (builtin.parameters == "*") return builtin.run(runtime, arguments);
  Values bound;
  size_t used_names = 0;
  Parameters parameters(builtin.parameters);
  while (parameters.next()) {
    Value value;
    if (bound.size() < arguments.positional.size()) value = arguments.positional[bound.size()];
    for (const auto& [name, given] : arguments.named) {
      if (parameters.by_place_only || name != parameters.name) continue;
      if (!value.is_missing())
        return invalid(std::string(builtin.name) + " got two values for '" + name + "'");
      value = given;
      ++used_names;
    }
    if (value.is_missing() && !parameters.optional) {
      return invalid(std::string(builtin.name) + " lacks its argument '" + std::string(parameters.name) +
                     "'");
    }
    bound.push_back(std::move(value));
  }
  if (arguments.positional.size() > bound.size() || used_names < arguments.named.size()) {
    return invalid(std::string(builtin.name) + " got arguments that it does not take");
  }
  arguments.positional = std::move(bound);
  return builtin.run(runtime, arguments);
}

Result<int64_t> integer_argument(const Value& value, const char* name) {
  if (value.is_undefined()) return undefined_error(value);
  if (!value.is_integral()) return type_error(std::string("an integer for ") + name, value);
  return value.as_int();
}

Result<std::string> text_argument(const Value& value, const char* name) {
  if (value.is_undefined()) return undefined_error(value);
  if (!value.is_string()) return type_error(std::string("a string for ") + name, value);
  return value.text();
}

}  // namespace heed::jinja
