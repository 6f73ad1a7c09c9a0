#include "model/config.h"

#include <cmath>
#include <utility>

namespace heed {
namespace {

constexpr int kLargestSize = 1 << 24;

std::string shortened(const Json& value) {
  std::string text = to_text(value);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

const Json& empty_object() {
  static const Json object = Json::object();
  return object;
}

}  // namespace

Config::Config(const Json& root, std::string what)
    : Config(&root, std::move(what), "", std::make_shared<std::optional<Error>>()) {
  if (!root.is_object()) {
    fail("a JSON object is expected, not " + shortened(root));
    object_ = &empty_object();
  }
}

Config::Config(const Json* object, std::string what, std::string path,
               std::shared_ptr<std::optional<Error>> error)
    : object_(object), what_(std::move(what)), path_(std::move(path)), error_(std::move(error)) {}

const Json* Config::find(std::string_view key) const {
  const auto found = object_->find(key);
  if (found != object_->end() && !found->is_null()) return &*found;
  // A null says that there is none, whatever the defaults are.
  if (found != object_->end() || defaults_ == nullptr) return nullptr;
  const auto fallback = defaults_->find(key);
  return fallback == defaults_->end() || fallback->is_null() ? nullptr : &*fallback;
}

void Config::fail(const std::string& message) const {
  if (!*error_) *error_ = invalid(what_ + ": " + message);
}

void Config::wrong(std::string_view key, const Json* value, const std::string& accepted) const {
  const std::string name = path_ + std::string(key);
  fail(value == nullptr ? name + " is missing; " + accepted + " is expected"
                        : name + " is " + shortened(*value) + "; " + accepted + " is expected");
}

bool Config::is_object(std::string_view key) const {
  const Json* value = find(key);
  return value != nullptr && value->is_object();
}

bool Config::is_list(std::string_view key) const {
  const Json* value = find(key);
  return value != nullptr && value->is_array();
}

bool Config::has_objects() const {
  for (const Json& value : *object_) {
    if (value.is_object()) return true;
  }
  return false;
}

Config Config::at(std::string_view key) const {
  const Json* value = find(key);
  if (value != nullptr && !value->is_object()) wrong(key, value, "an object");
  const bool usable = value != nullptr && value->is_object();
  return {usable ? value : &empty_object(), what_, path_ + std::string(key) + ".", error_};
}

Config Config::with_defaults(const Json& defaults) const {
  Config config = *this;
  config.defaults_ = &defaults;
  return config;
}

std::optional<int64_t> Config::integer(std::string_view key, int64_t lowest, int64_t highest,
                                       const char* accepted) const {
  const Json* value = find(key);
  const bool fits = value != nullptr && value->is_number_integer() &&
                    !(value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX});
  if (fits) {
    const auto number = value->get<int64_t>();
    if (lowest <= number && number <= highest) return number;
  }
  wrong(key, value, accepted);
  return std::nullopt;
}

int Config::size(std::string_view key) const {
  // 1 keeps the caller's arithmetic safe after an error.
  return static_cast<int>(integer(key, 1, kLargestSize, "a whole number from 1 to 16777216").value_or(1));
}

int Config::size(std::string_view key, int fallback) const { return has(key) ? size(key) : fallback; }

int Config::count(std::string_view key, int fallback) const {
  if (!has(key)) return fallback;
  return static_cast<int>(
      integer(key, 0, INT32_MAX, "a whole number from 0 to 2147483647").value_or(fallback));
}

float Config::number(std::string_view key) const {
  const Json* value = find(key);
  if (value != nullptr && value->is_number()) {
    const auto number = static_cast<float>(value->get<double>());
    if (std::isfinite(number)) return number;
  }
  wrong(key, value, "a finite number");
  return 1;
}

float Config::number(std::string_view key, float fallback) const { return has(key) ? number(key) : fallback; }

float Config::positive(std::string_view key, float fallback) const {
  const float value = number(key, fallback);
  if (has(key) && !(value > 0)) {
    wrong(key, find(key), "a number above 0");
    return fallback;
  }
  return value;
}

bool Config::flag(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    wrong(key, value, "true or false");
    return fallback;
  }
  return value->get<bool>();
}

std::string Config::text(std::string_view key, std::string fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    wrong(key, value, "a string");
    return fallback;
  }
  return value->get<std::string>();
}

std::vector<std::string> Config::texts(std::string_view key) const {
  const Json* value = find(key);
  std::vector<std::string> all;
  if (value == nullptr) return all;
  bool right = value->is_array();
  for (size_t i = 0; right && i < value->size(); ++i) {
    right = (*value)[i].is_string();
    if (right) all.push_back((*value)[i].get<std::string>());
  }
  if (!right) wrong(key, value, "a list of strings");
  return all;
}

std::vector<int> Config::ids(std::string_view key) const {
  const Json* value = find(key);
  std::vector<int> all;
  if (value == nullptr) return all;
  const auto take = [&](const Json& id) {
    const bool right = id.is_number_integer() && id >= 0 && id <= INT32_MAX;
    if (right) all.push_back(id.get<int>());
    return right;
  };
  bool right = true;
  if (value->is_array()) {
    for (const Json& id : *value) right = right && take(id);
  } else {
    right = take(*value);
  }
  if (!right) wrong(key, value, "a token id or a list of token ids");
  return all;
}

}  // namespace heed
