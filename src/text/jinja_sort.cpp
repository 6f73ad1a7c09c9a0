#include "text/jinja_sort.h"

#include <algorithm>
#include <numeric>

#include "text/jinja_numbers.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

Value part_of(Heap& heap, std::string_view text) {
  const bool number = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  if (number) {
    const ParsedInteger parsed = parse_integer(text, 10);
    if (parsed.state == ParsedInteger::State::kNumber) return Value::integer(parsed.value);
  }
  auto* object = heap.make<TextObject>(static_cast<int64_t>(text.size()));
  object->text = text;
  return Value::of(Kind::kString, object);
}

// Merge sort of places by key: the order may fail, or contradict itself (NaN), without harm.
class Sorter {
 public:
  Sorter(Runtime& runtime, const Values& keys, bool descending)
      : runtime_(runtime), keys_(keys), descending_(descending), spare_(keys.size()) {}

  Status sort(std::vector<size_t>& places, size_t lo, size_t hi) {
    if (hi - lo < 2) return {};
    const size_t middle = lo + (hi - lo) / 2;
    TRY(sort(places, lo, middle));
    TRY(sort(places, middle, hi));
    size_t left = lo;
    size_t right = middle;
    for (size_t i = lo; i < hi; ++i) {
      const bool take_right = left == middle || (right < hi && TRY(precedes(places[right], places[left])));
      spare_[i] = take_right ? places[right++] : places[left++];
    }
    std::copy(spare_.begin() + static_cast<ptrdiff_t>(lo), spare_.begin() + static_cast<ptrdiff_t>(hi),
              places.begin() + static_cast<ptrdiff_t>(lo));
    return {};
  }

 private:
  Result<bool> precedes(size_t a, size_t b) {
    return descending_ ? less(runtime_, keys_[b], keys_[a]) : less(runtime_, keys_[a], keys_[b]);
  }
  Runtime& runtime_;
  const Values& keys_;
  bool descending_;
  std::vector<size_t> spare_;
};

}  // namespace

Result<AttributePath> AttributePath::of(const Value& attribute, Value otherwise) {
  AttributePath path;
  path.otherwise = std::move(otherwise);
  if (attribute.is_missing() || attribute.is_none()) return path;
  if (!attribute.is_string()) {
    path.steps.push_back(attribute);
    return path;
  }
  const std::string& text = attribute.text();
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('.', start), text.size());
    path.steps.push_back(
        part_of(*attribute.object()->heap, std::string_view(text).substr(start, end - start)));
    start = end + 1;
  }
  return path;
}

Result<std::vector<AttributePath>> AttributePath::several(const Value& attribute) {
  std::vector<AttributePath> paths;
  if (!attribute.is_string()) {
    paths.push_back(TRY(of(attribute)));
    return paths;
  }
  const std::string& text = attribute.text();
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    const std::string_view part = std::string_view(text).substr(start, end - start);
    auto* object = attribute.object()->heap->make<TextObject>(static_cast<int64_t>(part.size()));
    object->text = part;
    paths.push_back(TRY(of(Value::of(Kind::kString, object))));
    start = end + 1;
  }
  return paths;
}

Result<Value> AttributePath::get(Runtime& runtime, Value element) const {
  for (const Value& step : steps) {
    TRY(runtime.work());
    element = TRY(get_item(runtime, element, step));
    if (element.is_undefined() && !otherwise.is_missing()) element = otherwise;
  }
  return element;
}

Result<Value> AttributePath::key(Runtime& runtime, const Value& element, bool fold) const {
  return fold_case(runtime, TRY(get(runtime, element)), fold);
}

Result<Value> fold_case(Runtime& runtime, Value value, bool fold) {
  if (!fold || !value.is_string()) return value;
  TRY(charge_text(runtime, value.text(), 2));
  return runtime.text(to_lower(value.text()));
}

Result<Values> sorted(Runtime& runtime, Values items, const Values& keys, bool descending) {
  std::vector<size_t> places(items.size());
  std::iota(places.begin(), places.end(), size_t{0});
  TRY(Sorter(runtime, keys, descending).sort(places, 0, places.size()));
  Values out;
  out.reserve(items.size());
  for (const size_t place : places) out.push_back(std::move(items[place]));
  return out;
}

}  // namespace heed::jinja
