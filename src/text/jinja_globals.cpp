#include <array>
#include <ctime>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace heed::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // of Jinja's sandbox

Result<Value> range(Runtime& runtime, Arguments& arguments) {
  int64_t start = 0;
  int64_t stop = TRY(integer_argument(arguments[0], "range"));
  if (arguments.given(1)) {
    start = stop;
    stop = TRY(integer_argument(arguments[1], "range"));
  }
  const int64_t step = arguments.given(2) ? TRY(integer_argument(arguments[2], "range")) : 1;
  if (step == 0) return invalid("the step of a range is zero");
  Value out = runtime.range(start, stop, step);
  if (out.get<RangeObject>().size() > kMaxRange) return limit_reached("a range of more than 100000 numbers");
  return out;
}

// dict(pairs or mapping, name=value, ...)
Result<Value> dict(Runtime& runtime, Arguments& arguments) {
  if (arguments.positional.size() > 1) return invalid("dict takes at most one mapping");
  const Value out = runtime.dict();
  if (!arguments.positional.empty() && arguments[0].is_dict()) {
    for (const auto& [key, value] : arguments[0].get<DictObject>().entries) {
      TRY(runtime.work());
      runtime.set(out, key, value);
    }
  } else if (!arguments.positional.empty()) {
    const Value iterator = TRY(iterate(runtime, arguments[0]));
    Value element;
    while (TRY(advance(runtime, iterator, element))) {
      const Values pair = TRY(collect(runtime, element));
      if (pair.size() != 2) return invalid("dict needs pairs of keys and values");
      if (!is_hashable(pair[0])) return type_error("a hashable key", pair[0]);
      runtime.set(out, pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) runtime.set(out, runtime.text(name), value);
  return out;
}

Result<Value> make_namespace(Runtime& runtime, Arguments& arguments) {
  Value attributes = TRY(dict(runtime, arguments));
  auto* object = runtime.heap.make<NamespaceObject>();
  object->attributes = std::move(attributes);
  return Value::of(Kind::kNamespace, object);
}

Result<Value> cycler(Runtime& runtime, Arguments& arguments) {
  if (!arguments.named.empty()) return invalid("cycler takes no named arguments");
  if (arguments.positional.empty()) return invalid("at least one item has to be provided");
  auto* object =
      runtime.heap.make<CyclerObject>(static_cast<int64_t>(arguments.positional.size() * sizeof(Value)));
  object->items = std::move(arguments.positional);
  return Value::of(Kind::kCycler, object);
}

Result<Value> joiner(Runtime& runtime, Arguments& arguments) {
  Value separator = arguments.given(0) ? arguments[0] : runtime.text(", ");
  auto* object = runtime.heap.make<JoinerObject>();
  object->separator = std::move(separator);
  return Value::of(Kind::kJoiner, object);
}

Result<Value> raise_exception(Runtime& runtime, Arguments& arguments) {
  std::string message = TRY(to_text(runtime, arguments[0]));
  runtime.raised = true;
  return invalid(std::move(message));
}

Result<Value> strftime_now(Runtime& runtime, Arguments& arguments) {
  const std::string format = TRY(text_argument(arguments[0], "format"));
  if (format.empty()) return runtime.text("");
  const std::time_t now =
      runtime.limits.now ? static_cast<std::time_t>(*runtime.limits.now) : std::time(nullptr);
  std::tm local{};
  if (localtime_r(&now, &local) == nullptr) return invalid("a time that no calendar has");
  // Python's times without a zone show nothing for the zone, and microseconds for %f.
  std::string plain;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      plain += format[i];
      continue;
    }
    const char code = format[++i];
    if (code == 'f') plain += "000000";
    if (code == 'f' || code == 'z' || code == 'Z') continue;
    plain += '%';
    plain += code;
  }
  if (plain.empty()) return runtime.text("");
  std::array<char, 4096> buffer;
  const size_t size = std::strftime(buffer.data(), buffer.size(), plain.c_str(), &local);
  if (size == 0) return limit_reached("strftime_now with a text of more than 4096 bytes");
  return runtime.text(std::string(buffer.data(), size));
}

}  // namespace

Builtins globals() {
  static constexpr Builtin kGlobals[] = {
      {"range", "/start stop? step?", range},
      {"dict", "*", dict},
      {"namespace", "*", make_namespace},
      {"cycler", "*", cycler},
      {"joiner", "sep?", joiner},
      {"raise_exception", "message", raise_exception},
      {"strftime_now", "format", strftime_now},
  };
  return kGlobals;
}

}  // namespace heed::jinja
