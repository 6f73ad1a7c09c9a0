#include <algorithm>

#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

struct SequenceIterator : IteratorObject {
  Value sequence;
  size_t position = 0;
  void clear() override { sequence = Value(); }
  Result<bool> advance(Runtime& /*runtime*/, Value& element) override {
    if (sequence.is_missing() || position >= sequence.items().size()) return false;
    element = sequence.items()[position++];
    return true;
  }
};

struct TextIterator : IteratorObject {
  Value text;
  size_t position = 0;
  void clear() override { text = Value(); }
  Result<bool> advance(Runtime& runtime, Value& element) override {
    if (text.is_missing() || position >= text.text().size()) return false;
    const size_t start = position;
    next_code_point(text.text(), position);
    element = runtime.text(text.text().substr(start, position - start));
    return true;
  }
};

struct RangeIterator : IteratorObject {
  int64_t value = 0, step = 1, left = 0;
  void clear() override {}
  Result<bool> advance(Runtime& /*runtime*/, Value& element) override {
    if (left == 0) return false;
    element = Value::integer(value);
    if (--left > 0) value += step;
    return true;
  }
};

struct DictIterator : IteratorObject {
  Value dict;
  View view = View::kKeys;
  size_t position = 0;
  void clear() override { dict = Value(); }
  Result<bool> advance(Runtime& runtime, Value& element) override {
    if (dict.is_missing()) return false;
    const auto& entries = dict.get<DictObject>().entries;
    if (position >= entries.size()) return false;
    const auto& [key, value] = entries[position++];
    element = view == View::kKeys ? key : view == View::kValues ? value : runtime.pair(key, value);
    return true;
  }
};

Value over_dict(Runtime& runtime, const Value& dict, View view) {
  auto* iterator = runtime.heap.make<DictIterator>();
  iterator->dict = dict;
  iterator->view = view;
  return Runtime::iterator(iterator);
}

}  // namespace

Result<int64_t> length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return int64_t{0};
    case Kind::kString:
      return text_length(value);
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.get<DictObject>().entries.size());
    case Kind::kRange:
      return value.get<RangeObject>().size();
    case Kind::kView:
      return length(value.get<ViewObject>().dict);
    default:
      return type_error("something with a length", value);
  }
}

bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kLoop:
    case Kind::kIterator:
      return true;
    default:
      return false;
  }
}

Result<Value> iterate(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kIterator:
      return value;
    case Kind::kUndefined:
      return Runtime::iterator(runtime.heap.make<RangeIterator>());
    case Kind::kString: {
      auto* iterator = runtime.heap.make<TextIterator>();
      iterator->text = value;
      return Runtime::iterator(iterator);
    }
    case Kind::kList:
    case Kind::kTuple: {
      auto* iterator = runtime.heap.make<SequenceIterator>();
      iterator->sequence = value;
      return Runtime::iterator(iterator);
    }
    case Kind::kRange: {
      const auto& range = value.get<RangeObject>();
      auto* iterator = runtime.heap.make<RangeIterator>();
      iterator->value = range.start;
      iterator->step = range.step;
      iterator->left = range.size();
      return Runtime::iterator(iterator);
    }
    case Kind::kDict:
      return over_dict(runtime, value, View::kKeys);
    case Kind::kView:
      return over_dict(runtime, value.get<ViewObject>().dict, value.get<ViewObject>().view);
    default:
      return type_error("something to iterate over", value);
  }
}

Result<bool> advance(Runtime& runtime, const Value& iterator, Value& element) {
  TRY(runtime.work());
  TRY(runtime.deeper());
  return iterator.get<IteratorObject>().advance(runtime, element);
}

Result<Values> collect(Runtime& runtime, const Value& value) {
  if (value.is_sequence()) {
    TRY(runtime.work(static_cast<int64_t>(value.items().size())));
    TRY(runtime.room_for(static_cast<int64_t>(value.items().size()), sizeof(Value)));
    return value.items();
  }
  const Value iterator = TRY(iterate(runtime, value));
  Values items;
  Value element;
  while (TRY(advance(runtime, iterator, element))) {
    items.push_back(element);
    TRY(runtime.room_for(static_cast<int64_t>(items.size()), sizeof(Value)));
  }
  return items;
}

}  // namespace heed::jinja
