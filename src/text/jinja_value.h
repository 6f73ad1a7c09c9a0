// The values of a chat template: Python's, as far as a template can see them, and the heap of one render that
// owns them.
//
// A Value is a tagged word; what does not fit is an Object with a count of its references. Text, lists,
// tuples and dicts never change once a template sees them; namespaces, loops, cyclers, joiners and iterators
// do. The heap knows all its objects, so cycles (through namespaces) go with it, and it frees without
// recursion, however deep the data. A heap and its values belong to one thread, and no value may outlive its
// heap.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace heed::jinja {

class Heap;
class Value;
struct Builtin;
struct Node;
struct Runtime;

enum class Kind : uint8_t {
  kMissing,  // no value at all: an argument that was not given, a variable that was not set
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,
  kNamespace,
  kIterator,
  kMacro,
  kMethod,
  kFunction,
  kLoop,
  kCycler,
  kJoiner,
  kActivation,  // the variables of a running function; no template sees it
};

// What a Value can point at. `clear` drops the values it holds, for the heap's end.
struct Object {
  virtual ~Object() = default;
  virtual void clear() = 0;

  Heap* heap = nullptr;
  Object* previous = nullptr;
  Object* next = nullptr;
  int64_t bytes = 0;  // charged to the heap
  int32_t references = 0;
};

class Value {
 public:
  Value() = default;
  Value(const Value& other) : kind_(other.kind_), markup_(other.markup_), word_(other.word_) { retain(); }
  Value(Value&& other) noexcept : kind_(other.kind_), markup_(other.markup_), word_(other.word_) {
    other.kind_ = Kind::kMissing;
    other.word_.object = nullptr;
  }
  Value& operator=(Value other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(markup_, other.markup_);
    std::swap(word_, other.word_);
    return *this;
  }
  ~Value() { release(); }

  static Value undefined() { return Value(Kind::kUndefined, Word{.object = nullptr}); }
  static Value none() { return Value(Kind::kNone, Word{.integer = 0}); }
  static Value boolean(bool value) { return Value(Kind::kBool, Word{.integer = value ? 1 : 0}); }
  static Value integer(int64_t value) { return Value(Kind::kInt, Word{.integer = value}); }
  static Value real(double value) { return Value(Kind::kFloat, Word{.real = value}); }
  static Value function(const Builtin* builtin) { return Value(Kind::kFunction, Word{.builtin = builtin}); }
  static Value of(Kind kind, Object* object, bool markup = false) {
    Value value(kind, Word{.object = object});
    value.markup_ = markup;
    value.retain();
    return value;
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_missing() const { return kind_ == Kind::kMissing; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_dict() const { return kind_ == Kind::kDict; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_integral() const {
    return kind_ == Kind::kInt || kind_ == Kind::kBool;
  }  // as Python: a bool is an int
  bool is_float() const { return kind_ == Kind::kFloat; }
  bool is_number() const { return is_integral() || is_float(); }
  bool markup() const {
    return markup_;
  }  // text that `safe` or `escape` made: others are escaped when joined to it

  int64_t as_int() const { return word_.integer; }
  double as_real() const { return is_float() ? word_.real : static_cast<double>(word_.integer); }
  const Builtin* builtin() const { return word_.builtin; }
  Object* object() const { return holds_object() ? word_.object : nullptr; }
  template <class T>
  T& get() const {
    return static_cast<T&>(*word_.object);
  }
  const std::string& text() const;          // a string's
  const std::vector<Value>& items() const;  // a list's or tuple's

 private:
  union Word {
    int64_t integer;
    double real;
    Object* object;
    const Builtin* builtin;
  };
  Value(Kind kind, Word word) : kind_(kind), word_(word) {}
  bool holds_object() const {
    return (kind_ >= Kind::kString && kind_ != Kind::kFunction) || kind_ == Kind::kUndefined;
  }
  void retain() const {
    if (holds_object() && word_.object != nullptr) ++word_.object->references;
  }
  void release();

  Kind kind_ = Kind::kMissing;
  bool markup_ = false;
  Word word_{.object = nullptr};
};

using Values = std::vector<Value>;

struct TextObject : Object {
  std::string text;             // valid UTF-8
  mutable int64_t length = -1;  // in code points, once asked for
  void clear() override {}
};

struct UndefinedObject : Object {
  std::string message;
  void clear() override {}
};

struct SequenceObject : Object {
  Values items;
  bool group = false;  // a tuple of `groupby`, whose members are also called grouper and list
  void clear() override { items.clear(); }
};

// A total order over what Python calls hashable, so that equal keys (1, 1.0, true) compare as equal.
struct KeyOrder {
  bool operator()(const Value& a, const Value& b) const;
};

struct DictObject : Object {
  std::vector<std::pair<Value, Value>> entries;  // in the order of insertion
  std::map<Value, size_t, KeyOrder> index;       // only once there are more than a few entries

  const Value* find(const Value& key) const;  // nullptr where absent; the key must be hashable
  const Value* find(std::string_view key) const;
  void set(Value key, Value value);
  void clear() override { index.clear(), entries.clear(); }
};

struct NamespaceObject : Object {
  Value attributes;  // a dict of its own
  void clear() override { attributes = Value(); }
};

__extension__ using Wide = __int128;  // for the distance between any two integers

struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
  void clear() override {}
};

enum class View { kKeys, kValues, kItems };
struct ViewObject : Object {
  Value dict;
  View view = View::kKeys;
  void clear() override { dict = Value(); }
};

// A Python iterator: each element once. `advance` says whether there was one more.
struct IteratorObject : Object {
  virtual Result<bool> advance(Runtime& runtime, Value& element) = 0;
};

struct MethodObject : Object {
  Value self;
  const Builtin* builtin = nullptr;
  void clear() override { self = Value(); }
};

struct CyclerObject : Object {
  Values items;
  size_t position = 0;
  void clear() override { items.clear(); }
};

struct JoinerObject : Object {
  Value separator;
  bool used = false;
  void clear() override { separator = Value(); }
};

class Heap {
 public:
  Heap() = default;
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  ~Heap();

  // A new object; the caller makes a Value of it at once.
  template <class T>
  T* make(int64_t extra_bytes = 0) {
    T* object = new T;  // NOLINT(cppcoreguidelines-owning-memory): owned by this heap's list
    adopt(object, static_cast<int64_t>(sizeof(T)) + extra_bytes);
    return object;
  }
  void charge(Object& object, int64_t bytes) { object.bytes += bytes, bytes_ += bytes; }
  void charge(int64_t bytes) { bytes_ += bytes; }
  int64_t bytes() const { return bytes_; }
  void dispose(Object* object);

 private:
  void adopt(Object* object, int64_t bytes);
  void destroy(Object* object);

  Object* objects_ = nullptr;
  std::vector<Object*> dead_;
  bool draining_ = false;
  int64_t bytes_ = 0;
};

inline void Value::release() {
  if (holds_object() && word_.object != nullptr && --word_.object->references == 0) {
    word_.object->heap->dispose(word_.object);
  }
}
inline const std::string& Value::text() const { return get<TextObject>().text; }
inline const Values& Value::items() const { return get<SequenceObject>().items; }

// Python's name of a value's type, for messages.
const char* type_name(const Value& value);
bool truth(const Value& value);
int64_t text_length(const Value& string);  // in code points

}  // namespace heed::jinja
