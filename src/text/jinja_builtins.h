// The functions that templates find by name: filters, tests, globals and the methods of values.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/jinja_runtime.h"

namespace heed::jinja {

// The arguments of a call. Bound, `positional` has one value per parameter (missing where not given).
struct Arguments {
  Value self;  // what a filter, test or method applies to
  Values positional;
  std::vector<std::pair<std::string, Value>> named;

  const Value& operator[](size_t i) const { return positional[i]; }
  bool given(size_t i) const { return !positional[i].is_missing(); }
};

struct Builtin {
  std::string_view name;
  // The names of the parameters, separated by spaces; '?' behind an optional one. A '/' in front: not by
  // name.
  // "*": any arguments, not bound.
  std::string_view parameters;
  Result<Value> (*run)(Runtime& runtime, Arguments& arguments);
};

using Builtins = std::span<const Builtin>;

const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_global(std::string_view name);
const Builtin* find_method(Kind kind, std::string_view name);

// Binds the arguments to the parameters and runs.
Result<Value> call(Runtime& runtime, const Builtin& builtin, Arguments arguments);

// The groups in which they are defined.
Builtins text_filters();
Builtins markup_filters();
Builtins number_filters();
Builtins sequence_filters();
Builtins mapping_filters();
Builtins tests();
Builtins globals();
// Methods and attributes by the type that has them. The parameters "attribute" mark what is a value without a
// call, "refused" what the sandbox does not let templates reach because it changes the object.
Builtins text_methods();
Builtins text_class_methods();
Builtins list_methods();
Builtins tuple_methods();
Builtins dict_methods();
Builtins view_methods();
Builtins integer_methods();
Builtins float_methods();
Builtins range_methods();
Builtins loop_methods();
Builtins cycler_methods();
Builtins macro_methods();

// Reads of single arguments, with Python's rules.
Result<int64_t> integer_argument(const Value& value, const char* name);
Result<std::string> text_argument(const Value& value, const char* name);
inline bool flag_argument(const Value& value, bool otherwise) {
  return value.is_missing() ? otherwise : truth(value);
}

}  // namespace heed::jinja
