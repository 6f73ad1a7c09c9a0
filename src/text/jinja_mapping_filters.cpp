#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_sort.h"

namespace heed::jinja {
namespace {

enum class Mode { kMap, kKeep, kDrop, kUnique, kItems };

// The lazy filters: an element is looked at only when it is asked for, so errors come as late as in Python.
struct LazyFilter : IteratorObject {
  Mode mode = Mode::kMap;
  bool by_attribute = false;  // selectattr, rejectattr
  Arguments arguments;
  Value iterator;  // missing before the first element
  Value seen;      // a dict of keys
  AttributePath path;
  const Builtin* builtin = nullptr;
  bool done = false;

  void clear() override {
    arguments = {};
    path = {};
    iterator = seen = Value();
  }

  Result<bool> advance(Runtime& runtime, Value& element) override {
    if (done) return false;
    if (iterator.is_missing()) TRY(begin(runtime));
    while (!done && TRY(jinja::advance(runtime, iterator, element))) {
      if (TRY(accept(runtime, element))) return true;
    }
    done = true;
    return false;
  }

 private:
  Status begin(Runtime& runtime) {
    const Value& source = arguments.self;
    if (mode == Mode::kItems) return begin_items(runtime, source);
    if (mode != Mode::kUnique && !truth(source)) {
      done = true;
      return {};
    }
    switch (mode) {
      case Mode::kMap:
        TRY(begin_map());
        break;
      case Mode::kUnique:
        seen = runtime.dict();
        break;
      default:
        TRY(begin_select());
        break;
    }
    iterator = TRY(iterate(runtime, source));
    return {};
  }

  Status begin_items(Runtime& runtime, const Value& source) {
    if (source.is_undefined()) {
      done = true;
      return {};
    }
    if (!source.is_dict()) return type_error("a mapping", source);
    auto* view = runtime.heap.make<ViewObject>();
    view->dict = source;
    view->view = View::kItems;
    iterator = TRY(iterate(runtime, Value::of(Kind::kView, view)));
    return {};
  }

  Status begin_map() {
    auto& positional = arguments.positional;
    if (positional.empty()) {
      Value attribute;
      Value otherwise;
      for (const auto& [name, value] : arguments.named) {
        if (name != "attribute" && name != "default") return invalid("map takes no argument '" + name + "'");
        (name == "attribute" ? attribute : otherwise) = value;
      }
      if (attribute.is_missing()) return invalid("map requires a filter argument");
      path = TRY(AttributePath::of(attribute, otherwise.is_none() ? Value() : otherwise));
      return {};
    }
    if (!positional[0].is_string()) return type_error("the name of a filter", positional[0]);
    builtin = find_filter(positional[0].text());
    if (builtin == nullptr) return invalid("no filter named '" + positional[0].text() + "'");
    positional.erase(positional.begin());
    return {};
  }

  Status begin_select() {
    auto& positional = arguments.positional;
    if (by_attribute) {
      if (positional.empty()) return invalid("missing parameter for the attribute's name");
      path = TRY(AttributePath::of(positional[0]));
      positional.erase(positional.begin());
    }
    if (positional.empty()) return {};
    if (!positional[0].is_string()) return type_error("the name of a test", positional[0]);
    builtin = find_test(positional[0].text());
    if (builtin == nullptr) return invalid("no test named '" + positional[0].text() + "'");
    positional.erase(positional.begin());
    return {};
  }

  Result<Value> apply(Runtime& runtime, const Value& value) {
    if (builtin == nullptr) return value;
    Arguments one = arguments;
    one.self = value;
    return call(runtime, *builtin, std::move(one));
  }

  Result<bool> accept(Runtime& runtime, Value& element) {
    if (mode == Mode::kItems) return true;
    const Value value = TRY(path.get(runtime, element));
    if (mode == Mode::kMap) {
      element = TRY(apply(runtime, value));
      return true;
    }
    if (mode == Mode::kUnique) {
      Value key = TRY(fold_case(runtime, value, !flag_argument(arguments[0], false)));
      if (TRY(runtime.find(seen, key)) != nullptr) return false;
      runtime.set(seen, std::move(key), Value::none());
      return true;
    }
    return truth(TRY(apply(runtime, value))) == (mode == Mode::kKeep);
  }
};

template <Mode mode, bool by_attribute = false>
Result<Value> lazily(Runtime& runtime, Arguments& arguments) {
  auto* filter = runtime.heap.make<LazyFilter>();
  Value out = Runtime::iterator(filter);
  filter->mode = mode;
  filter->by_attribute = by_attribute;
  filter->arguments = std::move(arguments);
  if (mode == Mode::kUnique) filter->path = TRY(AttributePath::of(filter->arguments[1]));
  return out;
}

Result<Value> otherwise(Runtime& runtime, Arguments& arguments) {
  const bool boolean = flag_argument(arguments[1], false);
  if (!arguments.self.is_undefined() && !(boolean && !truth(arguments.self))) return arguments.self;
  return arguments.given(0) ? arguments[0] : runtime.text("");
}

Result<Value> attribute(Runtime& runtime, Arguments& arguments) {
  const std::string name = TRY(text_argument(arguments[0], "name"));
  Value found = TRY(own_attribute(runtime, arguments.self, name));
  return found.is_missing() ? runtime.undefined("no attribute '" + name + "'") : found;
}

Result<Value> dictsort(Runtime& runtime, Arguments& arguments) {
  const bool fold = !flag_argument(arguments[0], false);
  const std::string by = arguments.given(1) ? TRY(text_argument(arguments[1], "by")) : "key";
  if (by != "key" && by != "value") return invalid("dictsort sorts by either 'key' or 'value'");
  if (arguments.self.is_undefined()) return undefined_error(arguments.self);
  if (!arguments.self.is_dict()) return type_error("a mapping to sort", arguments.self);
  Values pairs;
  Values keys;
  for (const auto& [key, value] : arguments.self.get<DictObject>().entries) {
    TRY(runtime.work());
    pairs.push_back(runtime.pair(key, value));
    keys.push_back(TRY(fold_case(runtime, by == "key" ? key : value, fold)));
  }
  return runtime.list(TRY(sorted(runtime, std::move(pairs), keys, flag_argument(arguments[2], false))));
}

}  // namespace

Builtins mapping_filters() {
  static constexpr Builtin kFilters[] = {
      {"map", "*", lazily<Mode::kMap>},
      {"select", "*", lazily<Mode::kKeep>},
      {"reject", "*", lazily<Mode::kDrop>},
      {"selectattr", "*", lazily<Mode::kKeep, true>},
      {"rejectattr", "*", lazily<Mode::kDrop, true>},
      {"unique", "case_sensitive? attribute?", lazily<Mode::kUnique>},
      {"items", "", lazily<Mode::kItems>},
      {"default", "default_value? boolean?", otherwise},
      {"d", "default_value? boolean?", otherwise},
      {"attr", "name", attribute},
      {"dictsort", "case_sensitive? by? reverse?", dictsort},
  };
  return kFilters;
}

}  // namespace heed::jinja
