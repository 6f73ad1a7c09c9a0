#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

Result<Value> remainder_is(Runtime& runtime, const Value& value, const Value& divisor, int64_t wanted) {
  const Value remainder = TRY(arithmetic(runtime, NodeType::kModulo, value, divisor));
  return Value::boolean(TRY(equal(runtime, remainder, Value::integer(wanted))));
}

Result<Value> odd(Runtime& runtime, Arguments& a) {
  return remainder_is(runtime, a.self, Value::integer(2), 1);
}
Result<Value> even(Runtime& runtime, Arguments& a) {
  return remainder_is(runtime, a.self, Value::integer(2), 0);
}
Result<Value> divisible(Runtime& runtime, Arguments& a) { return remainder_is(runtime, a.self, a[0], 0); }
Result<Value> defined(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(!a.self.is_undefined()); }
Result<Value> undefined(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is_undefined()); }
Result<Value> none(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is_none()); }
Result<Value> boolean(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is(Kind::kBool)); }
Result<Value> integer(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is(Kind::kInt)); }
Result<Value> real(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is_float()); }
Result<Value> number(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is_number()); }
Result<Value> textual(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is_string()); }
Result<Value> mapping(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(a.self.is_dict()); }
Result<Value> iterable(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(is_iterable(a.self)); }
Result<Value> same_as(Runtime& /*runtime*/, Arguments& a) { return Value::boolean(identical(a.self, a[0])); }

Result<Value> is_true(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(a.self.is(Kind::kBool) && a.self.as_int() != 0);
}
Result<Value> is_false(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(a.self.is(Kind::kBool) && a.self.as_int() == 0);
}
Result<Value> escaped(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(a.self.is_string() && a.self.markup());
}
Result<Value> filter(Runtime& /*runtime*/, Arguments& a) {
  if (!is_hashable(a.self)) return type_error("a hashable name", a.self);
  return Value::boolean(a.self.is_string() && find_filter(a.self.text()) != nullptr);
}
Result<Value> test(Runtime& /*runtime*/, Arguments& a) {
  if (!is_hashable(a.self)) return type_error("a hashable name", a.self);
  return Value::boolean(a.self.is_string() && find_test(a.self.text()) != nullptr);
}

Result<Value> sequence(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(a.self.is_string() || a.self.is_sequence() || a.self.is_dict() ||
                        a.self.is(Kind::kRange) || a.self.is_undefined());
}

Result<Value> callable(Runtime& /*runtime*/, Arguments& a) {
  switch (a.self.kind()) {
    case Kind::kMacro:
    case Kind::kMethod:
    case Kind::kFunction:
    case Kind::kLoop:
    case Kind::kJoiner:
    case Kind::kUndefined:
      return Value::boolean(true);
    default:
      return Value::boolean(false);
  }
}

// Whether all letters with case have the wanted one, and there is one.
Result<Value> has_case(Runtime& runtime, const Value& value, bool upper) {
  const std::string text = TRY(to_text(runtime, value));
  TRY(runtime.work_on(text));
  bool found = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (is_title(c) || (upper ? is_lower(c) : is_upper(c))) return Value::boolean(false);
    found = found || (upper ? is_upper(c) : is_lower(c));
  }
  return Value::boolean(found);
}
Result<Value> lower(Runtime& runtime, Arguments& a) { return has_case(runtime, a.self, false); }
Result<Value> upper(Runtime& runtime, Arguments& a) { return has_case(runtime, a.self, true); }

template <Comparison comparison>
Result<Value> compared(Runtime& runtime, Arguments& a) {
  return Value::boolean(TRY(compare(runtime, comparison, a.self, a[0])));
}

}  // namespace

Builtins tests() {
  static constexpr Builtin kTests[] = {
      {"odd", "", odd},
      {"even", "", even},
      {"divisibleby", "num", divisible},
      {"defined", "", defined},
      {"undefined", "", undefined},
      {"filter", "", filter},
      {"test", "", test},
      {"none", "", none},
      {"boolean", "", boolean},
      {"false", "", is_false},
      {"true", "", is_true},
      {"integer", "", integer},
      {"float", "", real},
      {"lower", "", lower},
      {"upper", "", upper},
      {"string", "", textual},
      {"mapping", "", mapping},
      {"number", "", number},
      {"sequence", "", sequence},
      {"iterable", "", iterable},
      {"callable", "", callable},
      {"sameas", "other", same_as},
      {"escaped", "", escaped},
      {"in", "seq", compared<Comparison::kIn>},
      {"==", "/other", compared<Comparison::kEqual>},
      {"eq", "/other", compared<Comparison::kEqual>},
      {"equalto", "/other", compared<Comparison::kEqual>},
      {"!=", "/other", compared<Comparison::kNotEqual>},
      {"ne", "/other", compared<Comparison::kNotEqual>},
      {">", "/other", compared<Comparison::kGreater>},
      {"gt", "/other", compared<Comparison::kGreater>},
      {"greaterthan", "/other", compared<Comparison::kGreater>},
      {"ge", "/other", compared<Comparison::kGreaterEqual>},
      {">=", "/other", compared<Comparison::kGreaterEqual>},
      {"<", "/other", compared<Comparison::kLess>},
      {"lt", "/other", compared<Comparison::kLess>},
      {"lessthan", "/other", compared<Comparison::kLess>},
      {"<=", "/other", compared<Comparison::kLessEqual>},
      {"le", "/other", compared<Comparison::kLessEqual>},
  };
  return kTests;
}

}  // namespace heed::jinja
