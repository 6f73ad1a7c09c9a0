#include "text/jinja_operators.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "text/jinja_builtins.h"
#include "text/jinja_print.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

// How deep values may nest where they are walked recursively; Python's limit on recursion is about 1000.
constexpr int kMaxHashDepth = 100;

int order(double a, double b) { return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2; }

// Compares without rounding the integer to a float.
int order_mixed(int64_t a, double b) {
  if (std::isnan(b)) return 2;
  if (b >= 9223372036854775808.0) return -1;
  if (b < -9223372036854775808.0) return 1;
  const auto whole = static_cast<int64_t>(b);
  if (a != whole) return a < whole ? -1 : 1;
  return order(0.0, b - static_cast<double>(whole));
}

Result<bool> equal_sequences(Runtime& runtime, const Values& a, const Values& b) {
  if (a.size() != b.size()) return false;
  TRY(runtime.deeper());
  for (size_t i = 0; i < a.size(); ++i) {
    if (!TRY(equal(runtime, a[i], b[i]))) return false;
  }
  return true;
}

Result<bool> equal_dicts(Runtime& runtime, const Value& a, const Value& b) {
  const auto& entries = a.get<DictObject>().entries;
  if (entries.size() != b.get<DictObject>().entries.size()) return false;
  TRY(runtime.deeper());
  for (const auto& [key, value] : entries) {
    const Value* other = TRY(runtime.find(b, key));
    if (other == nullptr || !TRY(equal(runtime, value, *other))) return false;
  }
  return true;
}

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  const int64_t size = a.size();
  if (size != b.size()) return false;
  return size == 0 || (a.start == b.start && (size == 1 || a.step == b.step));
}

Result<bool> equal_views(Runtime& runtime, const Value& a, const Value& b) {
  const auto& left = a.get<ViewObject>();
  const auto& right = b.get<ViewObject>();
  if (left.view == View::kValues || right.view == View::kValues) return identical(a, b);
  const int64_t size = TRY(length(a));
  if (size != TRY(length(b))) return false;
  for (const Value& element : TRY(collect(runtime, a))) {
    if (!is_hashable(element)) return type_error("something hashable", element);
    if (!TRY(contains(runtime, b, element))) return false;
  }
  return true;
}

}  // namespace

Error type_error(const std::string& expected, const Value& found) {
  return invalid("expected " + expected + ", got " + type_name(found));
}

Error undefined_error(const Value& value) {
  const Object* object = value.object();
  return invalid(object == nullptr ? "an undefined value is used"
                                   : static_cast<const UndefinedObject*>(object)->message);
}

int order_of_numbers(const Value& a, const Value& b) {
  if (!a.is_number() || !b.is_number()) return 2;
  if (a.is_integral() && b.is_integral())
    return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int() ? 1 : 0;
  if (a.is_integral()) return order_mixed(a.as_int(), b.as_real());
  if (b.is_integral()) {
    const int reversed = order_mixed(b.as_int(), a.as_real());
    return reversed == 2 ? 2 : -reversed;
  }
  return order(a.as_real(), b.as_real());
}

bool identical(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return a.as_int() == b.as_int();
    case Kind::kFloat:
      return a.as_real() == b.as_real();
    case Kind::kFunction:
      return a.builtin() == b.builtin();
    default:
      return a.object() != nullptr && a.object() == b.object();
  }
}

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b) {
  TRY(runtime.work());
  if (a.is_number() && b.is_number()) return order_of_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kString:
      if (a.text().size() != b.text().size()) return false;
      TRY(runtime.work_on(a.text()));
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      if (a.object() == b.object()) return true;
      return equal_sequences(runtime, a.items(), b.items());
    case Kind::kDict:
      return equal_dicts(runtime, a, b);
    case Kind::kRange:
      return equal_ranges(a.get<RangeObject>(), b.get<RangeObject>());
    case Kind::kView:
      return equal_views(runtime, a, b);
    case Kind::kUndefined:
      return true;
    default:
      return identical(a, b);
  }
}

namespace {

// Whether a comparison holds for an order of -1, 0, 1 (2: not comparable, as NaN).
bool holds(Comparison comparison, int order) {
  switch (comparison) {
    case Comparison::kLess:
      return order == -1;
    case Comparison::kLessEqual:
      return order == -1 || order == 0;
    case Comparison::kGreater:
      return order == 1;
    case Comparison::kGreaterEqual:
      return order == 1 || order == 0;
    default:
      return false;
  }
}

Result<bool> compare_sequences(Runtime& runtime, Comparison comparison, const Values& a, const Values& b) {
  TRY(runtime.deeper());
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!TRY(equal(runtime, a[i], b[i]))) return compare(runtime, comparison, a[i], b[i]);
  }
  return holds(comparison, a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0);
}

}  // namespace

Result<bool> compare(Runtime& runtime, Comparison comparison, const Value& a, const Value& b) {
  TRY(runtime.work());
  switch (comparison) {
    case Comparison::kEqual:
      return equal(runtime, a, b);
    case Comparison::kNotEqual:
      return !TRY(equal(runtime, a, b));
    case Comparison::kIn:
      return contains(runtime, b, a);
    case Comparison::kNotIn:
      return !TRY(contains(runtime, b, a));
    default:
      break;
  }
  if (a.is_number() && b.is_number()) return holds(comparison, order_of_numbers(a, b));
  if (a.is_string() && b.is_string()) {
    TRY(runtime.work_on(a.text()));
    const int order = a.text().compare(b.text());
    return holds(comparison, order < 0 ? -1 : order > 0 ? 1 : 0);
  }
  if (a.is_sequence() && a.kind() == b.kind())
    return compare_sequences(runtime, comparison, a.items(), b.items());
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  return invalid(std::string("no order between ") + type_name(a) + " and " + type_name(b));
}

Result<bool> less(Runtime& runtime, const Value& a, const Value& b) {
  return compare(runtime, Comparison::kLess, a, b);
}

bool is_hashable(const Value& value, int depth) {
  if (value.is(Kind::kList) || value.is_dict() || value.is(Kind::kView) || depth > kMaxHashDepth)
    return false;
  if (!value.is(Kind::kTuple)) return true;
  return std::all_of(value.items().begin(), value.items().end(),
                     [depth](const Value& item) { return is_hashable(item, depth + 1); });
}

namespace {

Result<bool> any_equal(Runtime& runtime, const Values& items, const Value& element) {
  for (const Value& item : items) {
    if (identical(item, element) || TRY(equal(runtime, item, element))) return true;
  }
  return false;
}

Result<bool> view_contains(Runtime& runtime, const ViewObject& view, const Value& element) {
  if (view.view == View::kKeys) return contains(runtime, view.dict, element);
  if (view.view == View::kItems) {
    if (!element.is(Kind::kTuple) || element.items().size() != 2) return false;
    const Value* value = TRY(runtime.find(view.dict, element.items()[0]));
    return value == nullptr ? Result<bool>(false) : equal(runtime, *value, element.items()[1]);
  }
  for (const auto& entry : view.dict.get<DictObject>().entries) {
    if (TRY(equal(runtime, entry.second, element))) return true;
  }
  return false;
}

Result<bool> range_contains(const RangeObject& range, const Value& element) {
  if (!element.is_number()) return false;
  const double real = element.as_real();
  if (element.is_float() && (real != std::floor(real) || std::abs(real) > 9e18)) return false;
  const int64_t value = element.is_float() ? static_cast<int64_t>(real) : element.as_int();
  if (range.step > 0 ? (value < range.start || value >= range.stop)
                     : (value > range.start || value <= range.stop)) {
    return false;
  }
  return (static_cast<Wide>(value) - range.start) % range.step == 0;
}

}  // namespace

Result<bool> contains(Runtime& runtime, const Value& container, const Value& element) {
  TRY(runtime.work());
  switch (container.kind()) {
    case Kind::kString:
      if (element.is_undefined()) return undefined_error(element);
      if (!element.is_string()) return type_error("a string to look for in a string", element);
      TRY(runtime.work_on(container.text()));
      TRY(runtime.work_on(element.text()));
      return find_text(container.text(), element.text()) != std::string::npos;
    case Kind::kList:
    case Kind::kTuple:
      return any_equal(runtime, container.items(), element);
    case Kind::kDict:
      return TRY(runtime.find(container, element)) != nullptr;
    case Kind::kRange:
      return range_contains(container.get<RangeObject>(), element);
    case Kind::kView:
      return view_contains(runtime, container.get<ViewObject>(), element);
    default:
      break;
  }
  const Value iterator = TRY(iterate(runtime, container));
  Value item;
  while (TRY(advance(runtime, iterator, item))) {
    if (TRY(equal(runtime, item, element))) return true;
  }
  return false;
}

Result<Value> negative(const Value& value) {
  if (value.is_undefined()) return undefined_error(value);
  if (value.is_float()) return Value::real(-value.as_real());
  if (!value.is_integral()) return type_error("a number to negate", value);
  if (value.as_int() == INT64_MIN) return invalid("an integer is beyond 64 bits");
  return Value::integer(-value.as_int());
}

Result<Value> positive(const Value& value) {
  if (value.is_undefined()) return undefined_error(value);
  if (value.is_float()) return value;
  if (!value.is_integral()) return type_error("a number", value);
  return Value::integer(value.as_int());
}

namespace {

std::string missing_message(const Value& object, const std::string& name) {
  return std::string("'") + type_name(object) + "' has no element '" + name + "'";
}

}  // namespace

Result<Value> own_attribute(Runtime& runtime, const Value& object, const std::string& name) {
  static constexpr std::string_view kEveryObject[] = {"__class__",
                                                      "__doc__",
                                                      "__init__",
                                                      "__eq__",
                                                      "__ne__",
                                                      "__hash__",
                                                      "__str__",
                                                      "__repr__",
                                                      "__dir__",
                                                      "__reduce__",
                                                      "__reduce_ex__",
                                                      "__format__",
                                                      "__new__",
                                                      "__getattribute__",
                                                      "__setattr__",
                                                      "__delattr__",
                                                      "__sizeof__",
                                                      "__init_subclass__",
                                                      "__subclasshook__",
                                                      "__lt__",
                                                      "__gt__",
                                                      "__le__",
                                                      "__ge__"};
  if (name.starts_with("__") &&
      std::find(std::begin(kEveryObject), std::end(kEveryObject), name) != std::end(kEveryObject)) {
    return runtime.undefined("access to attribute '" + name + "' is unsafe");
  }
  if (object.is_undefined()) return undefined_error(object);
  if (object.is(Kind::kTuple) && object.get<SequenceObject>().group &&
      (name == "grouper" || name == "list")) {
    return object.items()[name == "list" ? 1 : 0];
  }
  if (object.is(Kind::kNamespace)) {
    const Value* found = object.get<NamespaceObject>().attributes.get<DictObject>().find(name);
    if (found == nullptr) return Value();
    if (name.starts_with('_')) return runtime.undefined("access to attribute '" + name + "' is unsafe");
    return *found;
  }
  const Builtin* method = find_method(object.kind(), name);
  if (method == nullptr) return Value();
  if (method->parameters == "attribute") {
    Arguments arguments;
    arguments.self = object;
    return method->run(runtime, arguments);
  }
  if (method->parameters == "refused") {
    return runtime.undefined("access to attribute '" + name + "' of '" + type_name(object) +
                             "' object is unsafe");
  }
  auto* bound = runtime.heap.make<MethodObject>();
  bound->self = object;
  bound->builtin = method;
  return Value::of(Kind::kMethod, bound);
}

namespace {

// obj[key] as Python does it; missing where Python raises TypeError or LookupError.
Result<Value> own_item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is_undefined()) return undefined_error(object);
  if (object.is_dict()) {
    const Value* found = is_hashable(key) ? TRY(runtime.find(object, key)) : nullptr;
    return found == nullptr ? Value() : *found;
  }
  if (!key.is_integral()) return Value();
  const bool has_items = object.is_string() || object.is_sequence() || object.is(Kind::kRange);
  if (!has_items) return Value();
  const int64_t size = TRY(length(object));
  const int64_t index = key.as_int() < 0 ? key.as_int() + size : key.as_int();
  if (index < 0 || index >= size) return Value();
  if (object.is_sequence()) return object.items()[static_cast<size_t>(index)];
  if (object.is(Kind::kRange)) {
    const auto& range = object.get<RangeObject>();
    return Value::integer(range.start + index * range.step);
  }
  const std::string& text = object.text();
  TRY(runtime.work_on(text));
  const bool ascii = static_cast<int64_t>(text.size()) == size;
  const size_t start = ascii ? static_cast<size_t>(index) : byte_of(text, index);
  size_t end = start;
  next_code_point(text, end);
  return runtime.text(text.substr(start, end - start), object.markup());
}

}  // namespace

Result<Value> get_attribute(Runtime& runtime, const Value& object, const std::string& name) {
  Value found = TRY(own_attribute(runtime, object, name));
  if (!found.is_missing()) return found;
  if (object.is_dict()) {
    if (const Value* value = object.get<DictObject>().find(name)) return *value;
  }
  return runtime.undefined(missing_message(object, name));
}

Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key) {
  Value found = TRY(own_item(runtime, object, key));
  if (!found.is_missing()) return found;
  if (!key.is_string()) return runtime.undefined(missing_message(object, type_name(key)));
  found = TRY(own_attribute(runtime, object, key.text()));
  return found.is_missing() ? runtime.undefined(missing_message(object, key.text())) : found;
}

namespace {

struct Bounds {
  int64_t start, step, count;
};

Result<Bounds> slice_bounds(int64_t size, const Value& start, const Value& stop, const Value& step) {
  for (const Value* bound : {&start, &stop, &step}) {
    if (!bound->is_none() && !bound->is_integral())
      return type_error("an integer as a bound of a slice", *bound);
  }
  const int64_t by = step.is_none() ? 1 : step.as_int();
  if (by == 0) return invalid("the step of a slice is zero");
  const int64_t lowest = by < 0 ? -1 : 0;
  const int64_t highest = by < 0 ? size - 1 : size;
  const auto clamp = [&](const Value& bound, int64_t otherwise) {
    if (bound.is_none()) return otherwise;
    const int64_t at = bound.as_int() < 0 ? bound.as_int() + size : bound.as_int();
    return std::clamp(at, lowest, highest);
  };
  const int64_t from = clamp(start, by < 0 ? highest : lowest);
  const int64_t to = clamp(stop, by < 0 ? lowest : highest);
  RangeObject range;
  range.start = from;
  range.stop = to;
  range.step = by;
  return Bounds{from, by, range.size()};
}

Result<Value> slice_text(Runtime& runtime, const Value& object, const Bounds& bounds) {
  const std::string& text = object.text();
  const bool ascii = static_cast<int64_t>(text.size()) == text_length(object);
  if (bounds.step == 1 || bounds.count <= 1) {
    const size_t start = ascii ? static_cast<size_t>(bounds.start) : byte_of(text, bounds.start);
    const std::string_view rest =
        bounds.count == 0 ? std::string_view() : std::string_view(text).substr(start);
    const size_t bytes = ascii ? static_cast<size_t>(bounds.count) : byte_of(rest, bounds.count);
    return runtime.text(std::string(rest.substr(0, bytes)), object.markup());
  }
  TRY(runtime.room(static_cast<int64_t>(text.size()) * 9));
  TRY(runtime.work(static_cast<int64_t>(text.size())));
  std::vector<size_t> starts;
  starts.reserve(static_cast<size_t>(text_length(object)) + 1);
  for (size_t at = 0; at < text.size(); next_code_point(text, at)) starts.push_back(at);
  starts.push_back(text.size());
  std::string out;
  out.reserve(text.size());
  for (int64_t i = 0; i < bounds.count; ++i) {
    const auto at = static_cast<size_t>(bounds.start + i * bounds.step);
    out.append(text, starts[at], starts[at + 1] - starts[at]);
  }
  return runtime.text(std::move(out), object.markup());
}

}  // namespace

Result<Value> slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                    const Value& step) {
  if (object.is_undefined()) return undefined_error(object);
  if (!object.is_string() && !object.is_sequence() && !object.is(Kind::kRange)) {
    return type_error("a string or list to slice", object);
  }
  const int64_t size = TRY(length(object));
  const Bounds bounds = TRY(slice_bounds(size, start, stop, step));
  if (object.is_string()) {
    TRY(runtime.work_on(object.text()));
    TRY(runtime.room(static_cast<int64_t>(object.text().size())));
    return slice_text(runtime, object, bounds);
  }
  if (object.is(Kind::kRange)) {
    const auto& range = object.get<RangeObject>();
    const int64_t from = range.start + bounds.start * range.step;
    return runtime.range(from, from + bounds.count * bounds.step * range.step, bounds.step * range.step);
  }
  TRY(runtime.work(bounds.count));
  TRY(runtime.room_for(bounds.count, sizeof(Value)));
  Values items;
  items.reserve(static_cast<size_t>(bounds.count));
  for (int64_t i = 0; i < bounds.count; ++i) {
    items.push_back(object.items()[static_cast<size_t>(bounds.start + i * bounds.step)]);
  }
  return object.is(Kind::kTuple) ? runtime.tuple(std::move(items)) : runtime.list(std::move(items));
}

}  // namespace heed::jinja
