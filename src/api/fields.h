// Reading the JSON objects of requests by tables: one row per field, with its type, its range and where its
// value goes. A field that is null counts as absent; one that no row names is refused with the list of those
// that are accepted; so is one that is known but cannot be done here, with the reason. The first mistake is
// kept, with the path of the field as `param`.
//
//   const FieldTable<Options> table({
//       field("include_usage", boolean(), &Options::include_usage),
//       field("size", integer(1, 100), &Options::size),
//       harmless("note"),
//       refused("echo", "answers do not repeat the prompt", false),   // false says: without it
//   });
//   std::optional<ApiError> error;
//   read_fields(value, table, options, Place(error));
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/errors.h"
#include "base/json.h"

namespace heed {

// Where a value stands in a request, and the first mistake in the request. A place made by at() borrows from
// the one it was made from, and the name.
class Place {
 public:
  explicit Place(std::optional<ApiError>& error) : error_(error) {}
  Place at(std::string_view member) const { return {*this, member, -1}; }
  Place at(int64_t index) const { return {*this, {}, index}; }

  std::string path() const;  // "response_format.json_schema.name", "stop[3]"; "" for the request itself
  bool failed() const { return error_.has_value(); }
  // Keeps "<message>" with this place's path as `param`, unless there was an error before.
  void fail(std::string message, std::string code = {}) const;
  void fail(const Error& error) const;
  // "'<path>' is <value>; <accepted> is expected"
  void expected(const OrderedJson& value, std::string_view accepted) const;
  // "'<path>.<member>' is required"
  void missing(std::string_view member) const;

 private:
  Place(const Place& outer, std::string_view member, int64_t index)
      : error_(outer.error_), outer_(&outer), member_(member), index_(index) {}
  std::optional<ApiError>& error_;
  const Place* outer_ = nullptr;
  std::string_view member_;
  int64_t index_ = -1;
};

// A value in a few words for an error: short ones as they are, others by their kind and size.
std::string in_words(const OrderedJson& value);

enum class FieldKind {
  kBoolean,
  kInteger,
  kNumber,
  kText,
  kOneOf,
  kList,
  kObject,
  kOther,
  kHarmless,
  kRefused
};

// What a field may hold. Ends of ranges are included.
struct FieldShape {
  FieldKind kind = FieldKind::kOther;
  int64_t lo = 0, hi = 0;          // kInteger: values; kText: bytes; kList: elements
  double least = 0, most = 0;      // kNumber
  bool above_least = false;        // kNumber: `least` itself is not accepted
  std::vector<std::string> names;  // kOneOf
  std::string reason;              // kRefused
  OrderedJson neutral = nullptr;   // kRefused: accepted, for it asks for nothing
};

// For texts and names that have no tighter limit.
inline constexpr int64_t kMaxTextBytes = int64_t{1} << 30;  // the body's limit comes first
inline constexpr int64_t kMaxNameBytes = 256;
inline constexpr int64_t kMaxInt = INT32_MAX;

FieldShape boolean();
FieldShape integer(int64_t lo, int64_t hi);  // 3.0 is one, too
FieldShape number(double least, double most);
FieldShape number_above(double least, double most);
FieldShape text(int64_t max_bytes, int64_t min_bytes = 0);
FieldShape one_of(std::vector<std::string> names);
FieldShape list(int64_t max_size, int64_t min_size = 0);
FieldShape object();
FieldShape other();  // the taker checks it

std::string accepted(const FieldShape& shape);  // "a number from 0 to 2"
// Whether the value is of the shape; if not, the place has the error.
bool check_shape(const FieldShape& shape, const OrderedJson& value, const Place& place);

template <class T>
struct Field {
  using Take = std::function<void(T&, const OrderedJson&, const Place&)>;
  std::string name;
  FieldShape shape;
  Take take;  // called with values of the shape
};

template <class T>
class FieldTable {
 public:
  FieldTable(std::vector<Field<T>> rows) : rows_(std::move(rows)) {}  // NOLINT(google-explicit-constructor)
  const std::vector<Field<T>>& rows() const { return rows_; }
  const Field<T>* find(std::string_view name) const {
    for (const Field<T>& row : rows_)
      if (row.name == name) return &row;
    return nullptr;
  }
  std::string names() const {  // of the fields accepted
    std::string all;
    for (const Field<T>& row : rows_)
      if (row.shape.kind != FieldKind::kRefused) all += (all.empty() ? "" : ", ") + row.name;
    return all;
  }
  FieldTable& append(const FieldTable& more) {
    rows_.insert(rows_.end(), more.rows_.begin(), more.rows_.end());
    return *this;
  }
  // Adds the rows of a part of T.
  template <class Part>
  FieldTable& embed(Part T::*part, const FieldTable<Part>& table) {
    for (const Field<Part>& row : table.rows()) {
      rows_.push_back(
          {row.name, row.shape,
           [part, take = row.take](T& out, const OrderedJson& v, const Place& p) { take(out.*part, v, p); }});
    }
    return *this;
  }

 private:
  std::vector<Field<T>> rows_;
};

namespace detail {
template <class M>
struct IsOptional : std::false_type {};
template <class M>
struct IsOptional<std::optional<M>> : std::true_type {};

// Stores a value whose shape was checked.
template <class M>
void store(const OrderedJson& value, M& out) {
  if constexpr (IsOptional<M>::value) {
    store(value, out.emplace());
  } else if constexpr (std::is_same_v<M, const OrderedJson*>) {
    out = &value;
  } else if constexpr (std::is_same_v<M, OrderedJson>) {
    out = value;
  } else if constexpr (std::is_same_v<M, std::string>) {
    out = value.template get_ref<const std::string&>();
  } else if constexpr (std::is_same_v<M, bool>) {
    out = value.template get<bool>();
  } else if constexpr (std::is_integral_v<M>) {
    out = static_cast<M>(value.template get<int64_t>());
  } else {
    out = static_cast<M>(value.template get<double>());
  }
}
}  // namespace detail

template <class T, class M>
Field<T> field(std::string name, FieldShape shape, M T::*member) {
  return {std::move(name), std::move(shape),
          [member](T& out, const OrderedJson& value, const Place&) { detail::store(value, out.*member); }};
}
template <class T>
Field<T> field(std::string name, FieldShape shape, void (*take)(T&, const OrderedJson&, const Place&)) {
  return {std::move(name), std::move(shape), take};
}

// For takers that hold something, such as a limit: field<T>(name, shape, taker).
template <class T>
Field<T> field(std::string name, FieldShape shape, typename Field<T>::Take take) {
  return {std::move(name), std::move(shape), std::move(take)};
}

// Rows without a T of their own.
struct IdleField {
  std::string name;
  FieldShape shape;
  template <class T>
  operator Field<T>() const {  // NOLINT(google-explicit-constructor)
    return {name, shape, [](T&, const OrderedJson&, const Place&) {}};
  }
};
// Accepted and without effect: metadata of the client's own.
IdleField harmless(std::string name);
// Known, but not done here; `neutral` is accepted.
IdleField refused(std::string name, std::string reason, OrderedJson neutral = nullptr);

void fail_unknown(const Place& place, std::string_view name, const std::string& accepted_names);

template <class T>
void read_fields(const OrderedJson& value, const FieldTable<T>& table, T& out, const Place& place) {
  if (!value.is_object()) return place.expected(value, "an object");
  for (const auto& item : value.items()) {
    const Place here = place.at(item.key());
    const Field<T>* row = table.find(item.key());
    if (row == nullptr) return fail_unknown(place, item.key(), table.names());
    if (item.value().is_null() || !check_shape(row->shape, item.value(), here)) {
      if (place.failed()) return;
      continue;
    }
    row->take(out, item.value(), here);
    if (place.failed()) return;
  }
}

// Elements of a list, each of one shape.
bool check_elements(const FieldShape& shape, const OrderedJson& values, const Place& place);

}  // namespace heed
