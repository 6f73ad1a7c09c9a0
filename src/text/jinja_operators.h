// Python's operators on values: arithmetic, comparison, membership, indexing, iteration.
//
// Errors are what Python would raise; integers past 64 bits are one too.
#pragma once
#include <string>

#include "base/result.h"
#include "text/jinja_ast.h"
#include "text/jinja_runtime.h"

namespace heed::jinja {

// -1, 0, 1, exact between integers and floats; 2 where one is not a number.
int order_of_numbers(const Value& a, const Value& b);

Result<Value> arithmetic(Runtime& runtime, NodeType operation, const Value& a, const Value& b);
Result<Value> negative(const Value& value);
Result<Value> positive(const Value& value);

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b);
Result<bool> compare(Runtime& runtime, Comparison comparison, const Value& a, const Value& b);
Result<bool> less(Runtime& runtime, const Value& a, const Value& b);
Result<bool> contains(Runtime& runtime, const Value& container, const Value& element);
bool identical(const Value& a, const Value& b);  // Python's `is`

// Whether a dict can have this key.
bool is_hashable(const Value& value, int depth = 0);

// obj.name and obj[key] as Jinja looks them up: undefined where there is nothing.
Result<Value> get_attribute(Runtime& runtime, const Value& object, const std::string& name);
Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key);
// The method or attribute that the object's own type has under this name; missing where it has none.
Result<Value> own_attribute(Runtime& runtime, const Value& object, const std::string& name);
// object[start:stop:step]; none stands for a bound that is left out.
Result<Value> slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                    const Value& step);

Result<int64_t> length(const Value& value);
bool is_iterable(const Value& value);
// An iterator over the value; the value itself where it is one.
Result<Value> iterate(Runtime& runtime, const Value& value);
Result<bool> advance(Runtime& runtime, const Value& iterator, Value& element);
// All elements.
Result<Values> collect(Runtime& runtime, const Value& value);

// What was expected and what came instead, as one line.
Error type_error(const std::string& expected, const Value& found);
// The error of using an undefined value.
Error undefined_error(const Value& value);

}  // namespace heed::jinja
