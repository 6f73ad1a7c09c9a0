#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_macro.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

Result<Value> refused(Runtime& /*runtime*/, Arguments& /*arguments*/) {
  return invalid("the sandbox refuses this method");
}

Result<Value> not_here(Runtime& /*runtime*/, Arguments& /*arguments*/) {
  return unsupported("this method is not supported in chat templates");
}

// str.isalpha and its like: all characters are of a class, and there is one.
template <bool (*is_one)(char32_t)>
Result<Value> all_are(Runtime& runtime, Arguments& arguments) {
  const std::string& text = arguments.self.text();
  TRY(runtime.work(1 + static_cast<int64_t>(text.size() / 4)));
  for (size_t at = 0; at < text.size();) {
    if (!is_one(next_code_point(text, at))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

bool is_alphanumeric(char32_t c) { return is_alpha(c) || is_numeric(c); }

// The same where the empty text counts too: str.isascii, str.isprintable.
bool is_ascii(char32_t c) { return c < 0x80; }
template <bool (*is_one)(char32_t)>
Result<Value> none_is_not(Runtime& runtime, Arguments& arguments) {
  if (arguments.self.text().empty()) return Value::boolean(true);
  return all_are<is_one>(runtime, arguments);
}

template <bool upper>
Result<Value> has_case(Runtime& runtime, Arguments& arguments) {
  return call(runtime, *find_test(upper ? "upper" : "lower"),
              {.self = arguments.self, .positional = {}, .named = {}});
}

Result<Value> is_titled(Runtime& runtime, Arguments& arguments) {
  const std::string& text = arguments.self.text();
  TRY(runtime.work_on(text));
  bool inside = false;
  bool found = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    const bool capital = is_upper(c) || is_title(c);
    if (capital ? inside : (is_lower(c) && !inside)) return Value::boolean(false);
    inside = capital || is_lower(c);
    found = found || inside;
  }
  return Value::boolean(found);
}

Result<Value> is_identifier(Runtime& runtime, Arguments& arguments) {
  const std::string& text = arguments.self.text();
  TRY(runtime.work_on(text));
  for (size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const char32_t c = next_code_point(text, at);
    if (!is_word(c) || (first && is_numeric(c))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

Result<Value> index_of(Runtime& runtime, Arguments& arguments) {
  const Values& items = arguments.self.items();
  const auto size = static_cast<int64_t>(items.size());
  const auto bound = [&](size_t i, int64_t otherwise) -> Result<int64_t> {
    if (!arguments.given(i)) return otherwise;
    const int64_t at = TRY(integer_argument(arguments[i], "a bound"));
    return at < 0 ? std::max<int64_t>(0, at + size) : at;
  };
  const int64_t start = TRY(bound(1, 0));
  const int64_t end = std::min(TRY(bound(2, size)), size);
  for (int64_t i = start; i < end; ++i) {
    const Value& item = items[static_cast<size_t>(i)];
    if (identical(item, arguments[0]) || TRY(equal(runtime, item, arguments[0]))) return Value::integer(i);
  }
  return invalid("the value is not in the list");
}

Result<Value> count_of(Runtime& runtime, Arguments& arguments) {
  int64_t times = 0;
  for (const Value& item : arguments.self.items()) {
    if (identical(item, arguments[0]) || TRY(equal(runtime, item, arguments[0]))) ++times;
  }
  return Value::integer(times);
}

Result<Value> copy_list(Runtime& runtime, Arguments& arguments) {
  return runtime.list(TRY(collect(runtime, arguments.self)));
}

template <View view>
Result<Value> view_of(Runtime& runtime, Arguments& arguments) {
  auto* object = runtime.heap.make<ViewObject>();
  object->dict = arguments.self;
  object->view = view;
  return Value::of(Kind::kView, object);
}

Result<Value> get(Runtime& runtime, Arguments& arguments) {
  const Value* found = TRY(runtime.find(arguments.self, arguments[0]));
  if (found != nullptr) return *found;
  return arguments.given(1) ? arguments[1] : Value::none();
}

Result<Value> copy_dict(Runtime& runtime, Arguments& arguments) {
  const Value out = runtime.dict();
  for (const auto& [key, value] : arguments.self.get<DictObject>().entries) {
    TRY(runtime.work());
    runtime.set(out, key, value);
  }
  return out;
}

Result<Value> same_number(Runtime& /*runtime*/, Arguments& arguments) {
  if (arguments.self.is_float()) return arguments.self;
  return Value::integer(arguments.self.as_int());
}
Result<Value> zero(Runtime& /*runtime*/, Arguments& arguments) {
  return arguments.self.is_float() ? Value::real(0.0) : Value::integer(0);
}
Result<Value> one(Runtime& /*runtime*/, Arguments& /*arguments*/) { return Value::integer(1); }

Result<Value> bit_length(Runtime& /*runtime*/, Arguments& arguments) {
  const int64_t value = arguments.self.as_int();
  uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  int64_t bits = 0;
  for (; magnitude != 0; magnitude >>= 1) ++bits;
  return Value::integer(bits);
}

Result<Value> is_whole(Runtime& /*runtime*/, Arguments& arguments) {
  const double value = arguments.self.as_real();
  return Value::boolean(std::isfinite(value) && value == std::floor(value));
}

template <int64_t RangeObject::*field>
Result<Value> range_field(Runtime& /*runtime*/, Arguments& arguments) {
  return Value::integer(arguments.self.get<RangeObject>().*field);
}

// How many elements the loop has; takes all of them from an iterator that cannot say.
Result<int64_t> loop_length(Runtime& runtime, LoopObject& loop) {
  if (loop.length >= 0) return loop.length;
  if (!loop.iterable.is(Kind::kIterator)) {
    loop.length = TRY(length(loop.iterable));
    return loop.length;
  }
  Values rest = TRY(collect(runtime, loop.iterator));
  loop.length = static_cast<int64_t>(rest.size()) + loop.index0 + 1 + (loop.after.is_missing() ? 0 : 1);
  loop.iterator = TRY(iterate(runtime, runtime.list(std::move(rest))));
  return loop.length;
}

Status peek(Runtime& runtime, LoopObject& loop) {
  if (!loop.after.is_missing()) return {};
  Value element;
  if (TRY(advance(runtime, loop.iterator, element))) loop.after = std::move(element);
  return {};
}

LoopObject& loop_of(const Arguments& arguments) { return arguments.self.get<LoopObject>(); }

template <int64_t offset>
Result<Value> loop_index(Runtime& /*runtime*/, Arguments& a) {
  return Value::integer(loop_of(a).index0 + offset);
}
template <int64_t offset>
Result<Value> loop_depth(Runtime& /*runtime*/, Arguments& a) {
  return Value::integer(loop_of(a).depth0 + offset);
}
template <int64_t offset>
Result<Value> loop_left(Runtime& runtime, Arguments& a) {
  LoopObject& loop = loop_of(a);
  return Value::integer(TRY(loop_length(runtime, loop)) - loop.index0 - 1 + offset);
}
Result<Value> loop_size(Runtime& runtime, Arguments& a) {
  return Value::integer(TRY(loop_length(runtime, loop_of(a))));
}
Result<Value> loop_first(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(loop_of(a).index0 == 0);
}
Result<Value> loop_last(Runtime& runtime, Arguments& a) {
  TRY(peek(runtime, loop_of(a)));
  return Value::boolean(loop_of(a).after.is_missing());
}
Result<Value> loop_previous(Runtime& runtime, Arguments& a) {
  const LoopObject& loop = loop_of(a);
  return loop.index0 == 0 ? runtime.undefined("there is no previous item") : loop.before;
}
Result<Value> loop_next(Runtime& runtime, Arguments& a) {
  TRY(peek(runtime, loop_of(a)));
  const LoopObject& loop = loop_of(a);
  return loop.after.is_missing() ? runtime.undefined("there is no next item") : loop.after;
}

Result<Value> loop_cycle(Runtime& /*runtime*/, Arguments& a) {
  if (a.positional.empty() || !a.named.empty()) return invalid("cycle needs items to cycle through");
  const auto count = static_cast<int64_t>(a.positional.size());
  return a.positional[static_cast<size_t>(((loop_of(a).index0 % count) + count) % count)];
}

Result<Value> loop_changed(Runtime& runtime, Arguments& a) {
  if (!a.named.empty()) return invalid("changed takes no named arguments");
  LoopObject& loop = loop_of(a);
  Value now = runtime.tuple(std::move(a.positional));
  if (!loop.changed.is_missing() && TRY(equal(runtime, loop.changed, now))) return Value::boolean(false);
  loop.changed = std::move(now);
  return Value::boolean(true);
}

Result<Value> cycler_current(Runtime& /*runtime*/, Arguments& a) {
  const auto& cycler = a.self.get<CyclerObject>();
  return cycler.items[cycler.position];
}
Result<Value> cycler_next(Runtime& runtime, Arguments& a) {
  auto& cycler = a.self.get<CyclerObject>();
  Value current = TRY(cycler_current(runtime, a));
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return current;
}
Result<Value> cycler_reset(Runtime& /*runtime*/, Arguments& a) {
  a.self.get<CyclerObject>().position = 0;
  return Value::none();
}
Result<Value> cycler_items(Runtime& runtime, Arguments& a) {
  return runtime.tuple(a.self.get<CyclerObject>().items);
}

const Node& macro_node(const Arguments& arguments) { return *arguments.self.get<MacroObject>().node; }
Result<Value> macro_name(Runtime& runtime, Arguments& a) {
  const std::string& name = macro_node(a).name;
  return name.empty() ? Value::none() : runtime.text(name);
}
Result<Value> macro_arguments(Runtime& runtime, Arguments& a) {
  Values names;
  for (const NodePtr& parameter : macro_node(a).list) names.push_back(runtime.text(parameter->name));
  return runtime.tuple(std::move(names));
}
Result<Value> macro_catches_kwargs(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(macro_node(a).function->kwargs >= 0);
}
Result<Value> macro_catches_varargs(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(macro_node(a).function->varargs >= 0);
}
Result<Value> macro_caller(Runtime& /*runtime*/, Arguments& a) {
  return Value::boolean(macro_node(a).function->uses_caller);
}

}  // namespace

Builtins text_class_methods() {
  static constexpr Builtin kMethods[] = {
      {"isalpha", "", all_are<is_alpha>},
      {"isalnum", "", all_are<is_alphanumeric>},
      {"isdecimal", "", all_are<is_decimal>},
      {"isdigit", "", all_are<is_digit>},
      {"isnumeric", "", all_are<is_numeric>},
      {"isspace", "", all_are<is_space>},
      {"isascii", "", none_is_not<is_ascii>},
      {"isprintable", "", none_is_not<is_printable>},
      {"isupper", "", has_case<true>},
      {"islower", "", has_case<false>},
      {"istitle", "", is_titled},
      {"isidentifier", "", is_identifier},
      {"encode", "*", not_here},
      {"maketrans", "*", not_here},
      {"translate", "*", not_here},
  };
  return kMethods;
}

Builtins list_methods() {
  static constexpr Builtin kMethods[] = {
      {"index", "/value start? stop?", index_of},
      {"count", "/value", count_of},
      {"copy", "", copy_list},
      {"append", "refused", refused},
      {"clear", "refused", refused},
      {"pop", "refused", refused},
      {"reverse", "refused", refused},
      {"insert", "refused", refused},
      {"sort", "refused", refused},
      {"extend", "refused", refused},
      {"remove", "refused", refused},
  };
  return kMethods;
}

Builtins tuple_methods() {
  static constexpr Builtin kMethods[] = {{"index", "/value start? stop?", index_of},
                                         {"count", "/value", count_of}};
  return kMethods;
}

Builtins dict_methods() {
  static constexpr Builtin kMethods[] = {
      {"get", "/key default?", get},
      {"keys", "", view_of<View::kKeys>},
      {"values", "", view_of<View::kValues>},
      {"items", "", view_of<View::kItems>},
      {"copy", "", copy_dict},
      {"fromkeys", "*", not_here},
      {"clear", "refused", refused},
      {"pop", "refused", refused},
      {"popitem", "refused", refused},
      {"setdefault", "refused", refused},
      {"update", "refused", refused},
  };
  return kMethods;
}

Builtins view_methods() {
  static constexpr Builtin kMethods[] = {{"isdisjoint", "*", not_here}, {"mapping", "*", not_here}};
  return kMethods;
}

Builtins integer_methods() {
  static constexpr Builtin kMethods[] = {
      {"real", "attribute", same_number},
      {"imag", "attribute", zero},
      {"numerator", "attribute", same_number},
      {"denominator", "attribute", one},
      {"conjugate", "", same_number},
      {"bit_length", "", bit_length},
      {"bit_count", "*", not_here},
      {"to_bytes", "*", not_here},
      {"from_bytes", "*", not_here},
      {"as_integer_ratio", "*", not_here},
  };
  return kMethods;
}

Builtins float_methods() {
  static constexpr Builtin kMethods[] = {
      {"real", "attribute", same_number},  {"imag", "attribute", zero}, {"conjugate", "", same_number},
      {"is_integer", "", is_whole},        {"hex", "*", not_here},      {"fromhex", "*", not_here},
      {"as_integer_ratio", "*", not_here},
  };
  return kMethods;
}

Builtins range_methods() {
  static constexpr Builtin kMethods[] = {
      {"start", "attribute", range_field<&RangeObject::start>},
      {"stop", "attribute", range_field<&RangeObject::stop>},
      {"step", "attribute", range_field<&RangeObject::step>},
      {"index", "*", not_here},
      {"count", "*", not_here},
  };
  return kMethods;
}

Builtins loop_methods() {
  static constexpr Builtin kMethods[] = {
      {"index0", "attribute", loop_index<0>},   {"index", "attribute", loop_index<1>},
      {"revindex0", "attribute", loop_left<0>}, {"revindex", "attribute", loop_left<1>},
      {"depth0", "attribute", loop_depth<0>},   {"depth", "attribute", loop_depth<1>},
      {"length", "attribute", loop_size},       {"first", "attribute", loop_first},
      {"last", "attribute", loop_last},         {"previtem", "attribute", loop_previous},
      {"nextitem", "attribute", loop_next},     {"cycle", "*", loop_cycle},
      {"changed", "*", loop_changed},
  };
  return kMethods;
}

Builtins cycler_methods() {
  static constexpr Builtin kMethods[] = {
      {"current", "attribute", cycler_current},
      {"items", "attribute", cycler_items},
      {"next", "", cycler_next},
      {"reset", "", cycler_reset},
  };
  return kMethods;
}

Builtins macro_methods() {
  static constexpr Builtin kMethods[] = {
      {"name", "attribute", macro_name},
      {"arguments", "attribute", macro_arguments},
      {"catch_kwargs", "attribute", macro_catches_kwargs},
      {"catch_varargs", "attribute", macro_catches_varargs},
      {"caller", "attribute", macro_caller},
  };
  return kMethods;
}

}  // namespace heed::jinja
