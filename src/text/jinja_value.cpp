#include "text/jinja_value.h"

#include <compare>

#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace heed::jinja {
namespace {

constexpr size_t kFewEntries = 8;

// Which values can be equal as keys: numbers among themselves, text, tuples, and every other object only
// itself.
int key_rank(const Value& value) {
  if (value.is_number()) return 1;
  if (value.is_string()) return 2;
  if (value.is(Kind::kTuple)) return 3;
  if (value.is_undefined()) return 4;
  if (value.is_none()) return 5;
  if (value.is(Kind::kFunction)) return 6;
  return 7;
}

int compare_keys(const Value& a, const Value& b) {
  const int rank = key_rank(a);
  if (rank != key_rank(b)) return rank < key_rank(b) ? -1 : 1;
  if (rank == 1) return order_of_numbers(a, b);
  if (rank == 2) return a.text().compare(b.text());
  if (rank == 3) {
    const Values& left = a.items();
    const Values& right = b.items();
    for (size_t i = 0; i < left.size() && i < right.size(); ++i) {
      if (const int order = compare_keys(left[i], right[i]); order != 0) return order;
    }
    return left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0;
  }
  if (rank == 6) return a.builtin() < b.builtin() ? -1 : a.builtin() > b.builtin() ? 1 : 0;
  if (rank == 7) return a.object() < b.object() ? -1 : a.object() > b.object() ? 1 : 0;
  return 0;
}

}  // namespace

bool KeyOrder::operator()(const Value& a, const Value& b) const { return compare_keys(a, b) < 0; }

const Value* DictObject::find(const Value& key) const {
  if (entries.size() > kFewEntries) {
    const auto found = index.find(key);
    return found == index.end() ? nullptr : &entries[found->second].second;
  }
  for (const auto& [name, value] : entries) {
    if (compare_keys(name, key) == 0) return &value;
  }
  return nullptr;
}

const Value* DictObject::find(std::string_view key) const {
  if (entries.size() <= kFewEntries) {
    for (const auto& [name, value] : entries) {
      if (name.is_string() && name.text() == key) return &value;
    }
    return nullptr;
  }
  Heap scratch;
  auto* text = scratch.make<TextObject>();
  text->text = key;
  const Value name = Value::of(Kind::kString, text);
  return find(name);
}

void DictObject::set(Value key, Value value) {
  if (const Value* present = find(key)) {
    *const_cast<Value*>(present) = std::move(value);  // NOLINT: the entry is ours
    return;
  }
  entries.emplace_back(std::move(key), std::move(value));
  if (entries.size() <= kFewEntries) return;
  if (index.empty()) {
    for (size_t i = 0; i + 1 < entries.size(); ++i) index.emplace(entries[i].first, i);
  }
  index.emplace(entries.back().first, entries.size() - 1);
}

int64_t RangeObject::size() const {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  const auto span = static_cast<Wide>(stop) - start;
  const Wide count = step > 0 ? (span + step - 1) / step : (span + step + 1) / step;
  return count > INT64_MAX ? INT64_MAX : static_cast<int64_t>(count);
}

void Heap::adopt(Object* object, int64_t bytes) {
  object->heap = this;
  object->next = objects_;
  if (objects_ != nullptr) objects_->previous = object;
  objects_ = object;
  charge(*object, bytes);
}

void Heap::destroy(Object* object) {
  if (object->previous != nullptr) object->previous->next = object->next;
  if (object->next != nullptr) object->next->previous = object->previous;
  if (objects_ == object) objects_ = object->next;
  bytes_ -= object->bytes;
  delete object;  // NOLINT(cppcoreguidelines-owning-memory): taken out of the list that owned it
}

void Heap::dispose(Object* object) {
  dead_.push_back(object);
  if (draining_) return;
  draining_ = true;
  while (!dead_.empty()) {
    Object* next = dead_.back();
    dead_.pop_back();
    destroy(next);
  }
  draining_ = false;
}

// First every object lets go of its values, then all go: no reference is followed to an object that is gone.
Heap::~Heap() {
  draining_ = true;
  for (Object* object = objects_; object != nullptr; object = object->next) object->clear();
  while (objects_ != nullptr) destroy(objects_);
}

const char* type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
      return "nothing";
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kView:
      return "dict view";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kIterator:
      return "generator";
    case Kind::kMacro:
      return "Macro";
    case Kind::kMethod:
      return "method";
    case Kind::kFunction:
      return "function";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kCycler:
      return "Cycler";
    case Kind::kJoiner:
      return "Joiner";
    case Kind::kActivation:
      return "activation";
  }
  return "object";
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_real() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return !value.get<DictObject>().entries.empty();
    case Kind::kRange:
      return value.get<RangeObject>().size() > 0;
    case Kind::kView:
      return truth(value.get<ViewObject>().dict);
    default:
      return true;
  }
}

int64_t text_length(const Value& string) {
  const auto& object = string.get<TextObject>();
  if (object.length < 0) object.length = count_code_points(object.text);
  return object.length;
}

}  // namespace heed::jinja
