#include "api/fields.h"

#include <algorithm>
#include <cmath>

namespace heed {
namespace {

constexpr size_t kShownBytes = 60;

std::string plain(double value) {
  const OrderedJson whole = static_cast<int64_t>(value);
  const bool is_whole = std::abs(value) < 1e15 && value == std::floor(value);
  return is_whole ? whole.dump() : OrderedJson(value).dump();
}

// 3 and 3.0.
std::optional<int64_t> whole_number(const OrderedJson& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return {};
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return {};
  const auto number = value.get<double>();
  if (std::abs(number) > 0x1p53 || number != std::floor(number)) return {};
  return static_cast<int64_t>(number);
}

bool is_in(const FieldShape& shape, int64_t value) { return value >= shape.lo && value <= shape.hi; }

bool fits(const FieldShape& shape, const OrderedJson& value) {
  switch (shape.kind) {
    case FieldKind::kBoolean:
      return value.is_boolean();
    case FieldKind::kInteger: {
      const std::optional<int64_t> whole = whole_number(value);
      return whole && is_in(shape, *whole);
    }
    case FieldKind::kNumber: {
      if (!value.is_number()) return false;
      const auto number = value.get<double>();
      return (shape.above_least ? number > shape.least : number >= shape.least) && number <= shape.most;
    }
    case FieldKind::kText:
      return value.is_string() && is_in(shape, std::ssize(value.get_ref<const std::string&>()));
    case FieldKind::kOneOf: {
      if (!value.is_string()) return false;
      const auto& name = value.get_ref<const std::string&>();
      return std::find(shape.names.begin(), shape.names.end(), name) != shape.names.end();
    }
    case FieldKind::kList:
      return value.is_array() && is_in(shape, std::ssize(value));
    case FieldKind::kObject:
      return value.is_object();
    case FieldKind::kRefused:
      return value == shape.neutral;
    case FieldKind::kOther:
    case FieldKind::kHarmless:
      return true;
  }
  return false;
}

std::string range_of(const FieldShape& shape, const std::string& what) {
  const std::string hi = std::to_string(shape.hi);
  if (shape.lo == 0) return "at most " + hi + " " + what;
  return std::to_string(shape.lo) + " to " + hi + " " + what;
}

}  // namespace

std::string Place::path() const {
  if (outer_ == nullptr) return "";
  const std::string outer = outer_->path();
  if (index_ >= 0) return outer + "[" + std::to_string(index_) + "]";
  // Names come from the request.
  const std::string name = member_.size() > kShownBytes ? std::string(member_.substr(0, kShownBytes)) + "..."
                                                        : std::string(member_);
  return outer.empty() ? name : outer + "." + name;
}

void Place::fail(std::string message, std::string code) const {
  if (error_) return;
  error_ = ApiError{.message = std::move(message), .param = path(), .code = std::move(code)};
}

void Place::fail(const Error& error) const {
  if (error_) return;
  error_ = api_error(error);
  if (error_->param.empty()) error_->param = path();
}

void Place::expected(const OrderedJson& value, std::string_view what) const {
  const std::string where = path();
  fail((where.empty() ? "the body" : "'" + where + "'") + " is " + in_words(value) + "; " +
       std::string(what) + " is expected");
}

void Place::missing(std::string_view member) const {
  const Place place = at(member);
  place.fail("'" + place.path() + "' is required");
}

std::string in_words(const OrderedJson& value) {
  if (value.is_object()) return value.empty() ? "an empty object" : "an object";
  if (value.is_array()) return value.empty() ? "an empty list" : "a list of " + std::to_string(value.size());
  if (!value.is_string()) return to_text(value);
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > kShownBytes) return "a string of " + std::to_string(text.size()) + " bytes";
  return to_text(value);
}

FieldShape boolean() { return {.kind = FieldKind::kBoolean}; }
FieldShape integer(int64_t lo, int64_t hi) { return {.kind = FieldKind::kInteger, .lo = lo, .hi = hi}; }
FieldShape number(double least, double most) {
  return {.kind = FieldKind::kNumber, .least = least, .most = most};
}
FieldShape number_above(double least, double most) {
  return {.kind = FieldKind::kNumber, .least = least, .most = most, .above_least = true};
}
FieldShape text(int64_t max_bytes, int64_t min_bytes) {
  return {.kind = FieldKind::kText, .lo = min_bytes, .hi = max_bytes};
}
FieldShape one_of(std::vector<std::string> names) {
  return {.kind = FieldKind::kOneOf, .names = std::move(names)};
}
FieldShape list(int64_t max_size, int64_t min_size) {
  return {.kind = FieldKind::kList, .lo = min_size, .hi = max_size};
}
FieldShape object() { return {.kind = FieldKind::kObject}; }
FieldShape other() { return {.kind = FieldKind::kOther}; }

std::string accepted(const FieldShape& shape) {
  switch (shape.kind) {
    case FieldKind::kBoolean:
      return "true or false";
    case FieldKind::kInteger:
      return "an integer from " + std::to_string(shape.lo) + " to " + std::to_string(shape.hi);
    case FieldKind::kNumber:
      if (shape.above_least)
        return "a number above " + plain(shape.least) + " and up to " + plain(shape.most);
      return "a number from " + plain(shape.least) + " to " + plain(shape.most);
    case FieldKind::kText:
      return "a string of " + range_of(shape, "bytes");
    case FieldKind::kOneOf: {
      std::string all;
      for (const std::string& name : shape.names) all += (all.empty() ? "\"" : ", \"") + name + "\"";
      return shape.names.size() == 1 ? all : "one of " + all;
    }
    case FieldKind::kList:
      return "a list of " + range_of(shape, "elements");
    case FieldKind::kObject:
      return "an object";
    case FieldKind::kRefused:
      return "nothing";
    case FieldKind::kOther:
    case FieldKind::kHarmless:
      return "anything";
  }
  return "";
}

bool check_shape(const FieldShape& shape, const OrderedJson& value, const Place& place) {
  if (fits(shape, value)) return true;
  if (shape.kind == FieldKind::kRefused) {
    place.fail("'" + place.path() + "' is not supported: " + shape.reason, "unsupported_parameter");
  } else {
    place.expected(value, accepted(shape));
  }
  return false;
}

bool check_elements(const FieldShape& shape, const OrderedJson& values, const Place& place) {
  int64_t index = 0;
  for (const OrderedJson& value : values)
    if (!check_shape(shape, value, place.at(index++))) return false;
  return true;
}

IdleField harmless(std::string name) { return {std::move(name), {.kind = FieldKind::kHarmless}}; }

IdleField refused(std::string name, std::string reason, OrderedJson neutral) {
  return {std::move(name),
          {.kind = FieldKind::kRefused, .reason = std::move(reason), .neutral = std::move(neutral)}};
}

void fail_unknown(const Place& place, std::string_view name, const std::string& accepted_names) {
  const Place here = place.at(name);
  here.fail("'" + here.path() + "' is not a field that is known here; accepted are: " + accepted_names,
            "unknown_parameter");
}

}  // namespace heed
