#include "text/json_fields.h"

#include "text/unicode.h"

namespace heed {

std::string quoted_text(std::string_view text) {
  constexpr size_t kShown = 60;
  std::string shown = to_text(Json(std::string(text.substr(0, kShown))));
  if (text.size() > kShown) shown.insert(shown.size() - 1, "...");
  return shown;
}

std::optional<int> token_id(const Json& json) {
  if (!json.is_number_integer()) return {};
  const bool in_range = json.is_number_unsigned()
                            ? json.get<uint64_t>() <= static_cast<uint64_t>(kMaxTokenId)
                            : json.get<int64_t>() >= 0 && json.get<int64_t>() <= kMaxTokenId;
  if (!in_range) return {};
  return json.get<int>();
}

Result<JsonFields> JsonFields::of(const Json& json, std::string place) {
  if (!json.is_object()) return invalid(place + " must be an object, is " + json.type_name());
  return JsonFields(json, std::move(place));
}

const Json* JsonFields::find(const char* name) const {
  const auto member = json_->find(name);
  return member == json_->end() || member->is_null() ? nullptr : &*member;
}

Result<const Json*> JsonFields::require(const char* name) const {
  const Json* member = find(name);
  if (member == nullptr) return invalid(place_ + " has no " + name);
  return member;
}

Result<std::string> JsonFields::text(const char* name, std::optional<std::string> otherwise) const {
  if (find(name) == nullptr && otherwise) return *std::move(otherwise);
  const Json* member = TRY(require(name));
  if (!member->is_string()) return error(name, "a string");
  return member->get<std::string>();
}

Result<bool> JsonFields::flag(const char* name, std::optional<bool> otherwise) const {
  if (find(name) == nullptr && otherwise) return *otherwise;
  const Json* member = TRY(require(name));
  if (!member->is_boolean()) return error(name, "true or false");
  return member->get<bool>();
}

Result<int64_t> JsonFields::integer(const char* name, int64_t least, int64_t most,
                                    std::optional<int64_t> otherwise) const {
  if (find(name) == nullptr && otherwise) return *otherwise;
  const Json* member = TRY(require(name));
  const bool fits =
      member->is_number_integer() && (!member->is_number_unsigned() || member->get<uint64_t>() <= INT64_MAX);
  if (!fits || member->get<int64_t>() < least || member->get<int64_t>() > most) {
    return error(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return member->get<int64_t>();
}

Result<char32_t> JsonFields::character(const char* name) const {
  const std::string value = TRY(text(name));
  if (value.empty() || static_cast<size_t>(code_point_at(value, 0).length) != value.size()) {
    return error(name, "one character");
  }
  return code_point_at(value, 0).value;
}

Result<std::optional<std::string>> JsonFields::optional_text(const char* name) const {
  if (find(name) == nullptr) return std::optional<std::string>();
  return std::optional<std::string>(TRY(text(name)));
}

Result<const Json*> JsonFields::array(const char* name) const {
  const Json* member = TRY(require(name));
  if (!member->is_array()) return error(name, "an array");
  return member;
}

Error JsonFields::error(const char* name, const std::string& must_be) const {
  return invalid(place_ + "." + name + " must be " + must_be);
}

}  // namespace heed
