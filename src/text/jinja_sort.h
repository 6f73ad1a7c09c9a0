// What filters over sequences share: keys made of attributes, and sorting by them.
#pragma once
#include <vector>

#include "base/result.h"
#include "text/jinja_runtime.h"

namespace heed::jinja {

// "a.b.0": attributes and indices, one after the other. No steps: the element itself.
struct AttributePath {
  std::vector<Value> steps;  // strings and integers
  Value otherwise;           // in place of what is undefined; missing: nothing

  // From a filter's argument: missing, none, an integer or text.
  static Result<AttributePath> of(const Value& attribute, Value otherwise = Value());
  // The same, with several paths separated by commas.
  static Result<std::vector<AttributePath>> several(const Value& attribute);
  Result<Value> get(Runtime& runtime, Value element) const;
  // The same, with text in lower case if `fold`.
  Result<Value> key(Runtime& runtime, const Value& element, bool fold) const;
};

// Text in lower case if `fold`; anything else as it is.
Result<Value> fold_case(Runtime& runtime, Value value, bool fold);

// The items in the stable order of their keys; `descending` keeps the order of equals too.
Result<Values> sorted(Runtime& runtime, Values items, const Values& keys, bool descending);

}  // namespace heed::jinja
