// What every part of a running template shares: the heap, the limits, and the making of values.
//
// Work is counted in steps, one for each node run, each element and each few bytes of text handled; `room` is
// asked before anything is made whose size the template decides.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/jinja_value.h"

namespace heed::jinja {

struct Runtime {
  explicit Runtime(const TemplateLimits& render_limits);

  Heap heap;  // first, so that it goes last
  TemplateLimits limits;
  int64_t steps = 0;
  const char* stack_base;  // near the stack's top when the render began
  bool raised = false;     // the error is raise_exception's

  Status work(int64_t units = 1) {
    steps += units;
    if (steps > limits.max_steps || heap.bytes() > limits.max_memory_bytes) [[unlikely]]
      return exhausted();
    return {};
  }
  // Of copying, searching or comparing a text.
  Status work_on(std::string_view text) { return work(1 + static_cast<int64_t>(text.size() / 16)); }
  // Whether `bytes` more may be made.
  Status room(int64_t bytes) {
    if (bytes > limits.max_memory_bytes - heap.bytes()) [[unlikely]]
      return out_of_memory();
    return {};
  }
  Status room_for(int64_t count, int64_t bytes_each);
  // Whether a text that is still growing may grow on: a string doubles, and keeps the old one while it
  // copies.
  Status room_to_grow(const std::string& text) { return room(3 * static_cast<int64_t>(text.capacity())); }
  // Whether there is stack left for one more level of recursion.
  Status deeper() const;

  Value text(std::string text, bool markup = false);
  Value list(Values items) { return sequence(Kind::kList, std::move(items)); }
  Value tuple(Values items) { return sequence(Kind::kTuple, std::move(items)); }
  Value pair(Value first, Value second);
  Value dict();                                         // an empty one, to be filled with set
  void set(const Value& dict, Value key, Value value);  // the key must be hashable
  // The value of a key, nullptr where there is none; an error where the key cannot be one.
  Result<const Value*> find(const Value& dict, const Value& key);
  Value range(int64_t start, int64_t stop, int64_t step);
  Value undefined(std::string message);
  // A value of an iterator that was made on the heap.
  static Value iterator(IteratorObject* iterator) { return Value::of(Kind::kIterator, iterator); }

 private:
  Value sequence(Kind kind, Values items);
  Error exhausted() const;
  Error out_of_memory() const;
};

}  // namespace heed::jinja
