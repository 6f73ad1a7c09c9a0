#include "text/jinja_runtime.h"

#include <algorithm>

#include "text/jinja_operators.h"

namespace heed::jinja {
namespace {

// Half of the usual stack of a thread; the least that Python's own limit on recursion would need is far less.
constexpr int64_t kMaxStackBytes = int64_t{4} << 20;

const char* stack_position() { return static_cast<const char*>(__builtin_frame_address(0)); }

int64_t bytes_of_key(const Value& key) {
  if (key.is_string()) return static_cast<int64_t>(key.text().size());
  int64_t bytes = 0;
  if (key.is(Kind::kTuple)) {
    for (const Value& item : key.items()) bytes += 16 + bytes_of_key(item);
  }
  return bytes;
}

// The steps of finding a key: as many comparisons as the dict's index is deep, each of the whole key at
// worst.
int64_t cost_of_key(const Value& key, const DictObject& dict) {
  const auto size = static_cast<int64_t>(dict.entries.size());
  const int64_t comparisons = std::min<int64_t>(size, 16) + 1;
  return comparisons * (1 + bytes_of_key(key) / 16);
}

}  // namespace

Runtime::Runtime(const TemplateLimits& render_limits) : limits(render_limits), stack_base(stack_position()) {}

Status Runtime::deeper() const {
  const int64_t used = stack_base - stack_position();
  if (used > kMaxStackBytes) [[unlikely]]
    return limit_reached("the template recurses too deeply");
  return {};
}

Status Runtime::room_for(int64_t count, int64_t bytes_each) {
  if (count > 0 && bytes_each > limits.max_memory_bytes / count) return out_of_memory();
  return room(count * bytes_each);
}

Error Runtime::exhausted() const {
  if (heap.bytes() > limits.max_memory_bytes) return out_of_memory();
  return limit_reached("the template takes more than " + std::to_string(limits.max_steps) + " steps");
}

Error Runtime::out_of_memory() const {
  return limit_reached("the template needs more than " + std::to_string(limits.max_memory_bytes) +
                       " bytes of memory");
}

Value Runtime::text(std::string text, bool markup) {
  auto* object = heap.make<TextObject>(static_cast<int64_t>(text.capacity()));
  object->text = std::move(text);
  return Value::of(Kind::kString, object, markup);
}

Value Runtime::sequence(Kind kind, Values items) {
  auto* object = heap.make<SequenceObject>(static_cast<int64_t>(items.capacity() * sizeof(Value)));
  object->items = std::move(items);
  return Value::of(kind, object);
}

Value Runtime::pair(Value first, Value second) {
  Values items;
  items.reserve(2);
  items.push_back(std::move(first));
  items.push_back(std::move(second));
  return tuple(std::move(items));
}

Value Runtime::dict() { return Value::of(Kind::kDict, heap.make<DictObject>()); }

void Runtime::set(const Value& dict, Value key, Value value) {
  constexpr int64_t kEntryBytes = 128;  // with its share of the index
  auto& object = dict.get<DictObject>();
  steps += cost_of_key(key, object);
  const size_t before = object.entries.size();
  object.set(std::move(key), std::move(value));
  if (object.entries.size() > before) heap.charge(object, kEntryBytes);
}

Result<const Value*> Runtime::find(const Value& dict, const Value& key) {
  if (!is_hashable(key)) return type_error("a hashable key", key);
  const auto& object = dict.get<DictObject>();
  TRY(work(cost_of_key(key, object)));
  return object.find(key);
}

Value Runtime::range(int64_t start, int64_t stop, int64_t step) {
  auto* object = heap.make<RangeObject>();
  object->start = start;
  object->stop = stop;
  object->step = step;
  return Value::of(Kind::kRange, object);
}

Value Runtime::undefined(std::string message) {
  auto* object = heap.make<UndefinedObject>(static_cast<int64_t>(message.capacity()));
  object->message = std::move(message);
  return Value::of(Kind::kUndefined, object);
}

}  // namespace heed::jinja
