#include <algorithm>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_sort.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

Result<Value> count(Runtime& /*runtime*/, Arguments& arguments) {
  return Value::integer(TRY(length(arguments.self)));
}

Result<Value> first(Runtime& runtime, Arguments& arguments) {
  const Value iterator = TRY(iterate(runtime, arguments.self));
  Value element;
  if (TRY(advance(runtime, iterator, element))) return element;
  return runtime.undefined("no first item, sequence was empty");
}

// The elements from the last to the first, of what Python can reverse without going through it before.
Result<Values> reversed(Runtime& runtime, const Value& value) {
  if (value.is(Kind::kIterator) || value.is(Kind::kLoop)) return type_error("something to reverse", value);
  Values items = TRY(collect(runtime, value));
  std::reverse(items.begin(), items.end());
  return items;
}

Result<Value> last(Runtime& runtime, Arguments& arguments) {
  if (arguments.self.is_sequence() && !arguments.self.items().empty()) return arguments.self.items().back();
  const Values items = TRY(reversed(runtime, arguments.self));
  return items.empty() ? runtime.undefined("no last item, sequence was empty") : items.front();
}

Result<Value> list(Runtime& runtime, Arguments& arguments) {
  return runtime.list(TRY(collect(runtime, arguments.self)));
}

Result<Value> join(Runtime& runtime, Arguments& arguments) {
  const std::string separator = arguments.given(0) ? TRY(to_text(runtime, arguments[0])) : "";
  const AttributePath path = TRY(AttributePath::of(arguments[1]));
  const Value iterator = TRY(iterate(runtime, arguments.self));
  std::string out;
  Value element;
  bool more = false;
  while (TRY(advance(runtime, iterator, element))) {
    if (more) out += separator;
    more = true;
    element = TRY(path.get(runtime, element));
    out += TRY(to_text(runtime, element));
    TRY(runtime.room_to_grow(out));
    TRY(runtime.room(2 * static_cast<int64_t>(separator.size())));
    TRY(runtime.work_on(separator));
  }
  return runtime.text(std::move(out));
}

Result<Value> reverse(Runtime& runtime, Arguments& arguments) {
  if (arguments.self.is_string()) {
    return slice(runtime, arguments.self, Value::none(), Value::none(), Value::integer(-1));
  }
  const bool is_list = arguments.self.is(Kind::kIterator);
  Values items = TRY(collect(runtime, arguments.self));
  std::reverse(items.begin(), items.end());
  Value out = runtime.list(std::move(items));
  return is_list ? Result<Value>(std::move(out)) : iterate(runtime, out);
}

Result<Value> sort(Runtime& runtime, Arguments& arguments) {
  const bool descending = flag_argument(arguments[0], false);
  const bool fold = !flag_argument(arguments[1], false);
  const auto paths = TRY(AttributePath::several(arguments[2]));
  Values items = TRY(collect(runtime, arguments.self));
  Values keys;
  for (const Value& item : items) {
    Values parts;
    for (const AttributePath& path : paths) {
      parts.push_back(TRY(path.key(runtime, item, fold)));
    }
    keys.push_back(runtime.list(std::move(parts)));
  }
  return runtime.list(TRY(sorted(runtime, std::move(items), keys, descending)));
}

Result<Value> extreme(Runtime& runtime, Arguments& arguments, Comparison better) {
  const bool fold = !flag_argument(arguments[0], false);
  const AttributePath path = TRY(AttributePath::of(arguments[1]));
  const Value iterator = TRY(iterate(runtime, arguments.self));
  Value element;
  Value best;
  Value best_key;
  while (TRY(advance(runtime, iterator, element))) {
    Value key = TRY(path.key(runtime, element, fold));
    if (!best.is_missing() && !TRY(compare(runtime, better, key, best_key))) continue;
    best = element;
    best_key = std::move(key);
  }
  return best.is_missing() ? runtime.undefined("no aggregated item, sequence was empty") : best;
}

Result<Value> minimum(Runtime& runtime, Arguments& arguments) {
  return extreme(runtime, arguments, Comparison::kLess);
}
Result<Value> maximum(Runtime& runtime, Arguments& arguments) {
  return extreme(runtime, arguments, Comparison::kGreater);
}

Result<Value> sum(Runtime& runtime, Arguments& arguments) {
  const AttributePath path = TRY(AttributePath::of(arguments[0]));
  Value total = arguments.given(1) ? arguments[1] : Value::integer(0);
  if (total.is_string()) return invalid("sum does not join strings");
  const Value iterator = TRY(iterate(runtime, arguments.self));
  Value element;
  while (TRY(advance(runtime, iterator, element))) {
    element = TRY(path.get(runtime, element));
    total = TRY(arithmetic(runtime, NodeType::kAdd, total, element));
  }
  return total;
}

Result<Value> batch(Runtime& runtime, Arguments& arguments) {
  const Value& size = arguments[0];
  const bool fill = arguments.given(1) && !arguments[1].is_none();
  Values batches;
  Values current;
  for (const Value& item : TRY(collect(runtime, arguments.self))) {
    if (TRY(equal(runtime, Value::integer(static_cast<int64_t>(current.size())), size))) {
      batches.push_back(runtime.list(std::exchange(current, {})));
    }
    current.push_back(item);
  }
  if (!current.empty()) {
    const int64_t wanted = fill ? TRY(integer_argument(size, "linecount")) : 0;
    TRY(runtime.room_for(wanted, sizeof(Value)));
    TRY(runtime.work(std::max<int64_t>(0, wanted)));
    while (static_cast<int64_t>(current.size()) < wanted) current.push_back(arguments[1]);
    batches.push_back(runtime.list(std::move(current)));
  }
  return iterate(runtime, runtime.list(std::move(batches)));
}

Result<Value> slices(Runtime& runtime, Arguments& arguments) {
  const Values items = TRY(collect(runtime, arguments.self));
  const int64_t num_slices = TRY(integer_argument(arguments[0], "slices"));
  if (num_slices == 0) return invalid("slice needs at least one slice");
  TRY(runtime.work(std::max<int64_t>(0, num_slices)));
  TRY(runtime.room_for(std::max<int64_t>(0, num_slices), sizeof(SequenceObject) + sizeof(Value)));
  const bool fill = arguments.given(1) && !arguments[1].is_none();
  Values out;
  const auto size = static_cast<int64_t>(items.size());
  int64_t start = 0;
  for (int64_t i = 0; i < num_slices; ++i) {
    const bool extra = i < size % num_slices;
    const int64_t end = start + size / num_slices + (extra ? 1 : 0);
    Values part(items.begin() + start, items.begin() + end);
    if (fill && !extra) part.push_back(arguments[1]);
    out.push_back(runtime.list(std::move(part)));
    start = end;
  }
  return iterate(runtime, runtime.list(std::move(out)));
}

Result<Value> group_by(Runtime& runtime, Arguments& arguments) {
  const Value otherwise = arguments.given(1) && !arguments[1].is_none() ? arguments[1] : Value();
  const bool fold = !flag_argument(arguments[2], false);
  const AttributePath path = TRY(AttributePath::of(arguments[0], otherwise));
  Values items = TRY(collect(runtime, arguments.self));
  Values keys;
  for (const Value& item : items) keys.push_back(TRY(path.key(runtime, item, fold)));
  items = TRY(sorted(runtime, std::move(items), keys, false));
  Values groups;
  Value group_key;
  Values members;
  const auto finish = [&]() -> Status {
    if (members.empty()) return {};
    Value shown = TRY(path.get(runtime, members[0]));
    Value group = runtime.pair(std::move(shown), runtime.list(std::exchange(members, {})));
    group.get<SequenceObject>().group = true;
    groups.push_back(std::move(group));
    return {};
  };
  for (const Value& item : items) {
    const Value key = TRY(path.key(runtime, item, fold));
    const bool same = members.empty() || TRY(equal(runtime, group_key, key));
    if (!same) TRY(finish());
    group_key = key;
    members.push_back(item);
  }
  TRY(finish());
  return runtime.list(std::move(groups));
}

}  // namespace

Builtins sequence_filters() {
  static constexpr Builtin kFilters[] = {
      {"length", "", count},
      {"count", "", count},
      {"first", "", first},
      {"last", "", last},
      {"list", "", list},
      {"join", "d? attribute?", join},
      {"reverse", "", reverse},
      {"sort", "reverse? case_sensitive? attribute?", sort},
      {"min", "case_sensitive? attribute?", minimum},
      {"max", "case_sensitive? attribute?", maximum},
      {"sum", "attribute? start?", sum},
      {"batch", "linecount fill_with?", batch},
      {"slice", "slices fill_with?", slices},
      {"groupby", "attribute default? case_sensitive?", group_by},
  };
  return kFilters;
}

}  // namespace heed::jinja
