// Typed reading of the members of a JSON object, with errors that name the member and what it must be.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "base/result.h"

namespace heed {

// Borrows the object; `place` names it in errors ("model", "normalizer.normalizers[2]").
class JsonFields {
 public:
  static Result<JsonFields> of(const Json& json, std::string place);

  const std::string& place() const { return place_; }
  const Json* find(const char* name) const;  // null where the member is missing or null
  Result<const Json*> require(const char* name) const;

  // A missing or null member gives `otherwise`; without one it is an error.
  Result<std::string> text(const char* name, std::optional<std::string> otherwise = {}) const;
  Result<bool> flag(const char* name, std::optional<bool> otherwise = {}) const;
  Result<int64_t> integer(const char* name, int64_t least, int64_t most,
                          std::optional<int64_t> otherwise = {}) const;
  Result<char32_t> character(const char* name) const;
  Result<std::optional<std::string>> optional_text(const char* name) const;
  Result<const Json*> array(const char* name) const;

  Error error(const char* name, const std::string& must_be) const;  // "<place>.<name> must be <must_be>"

 private:
  JsonFields(const Json& json, std::string place) : json_(&json), place_(std::move(place)) {}
  const Json* json_;
  std::string place_;
};

// A short rendering of a text for an error: quoted, on one line.
std::string quoted_text(std::string_view text);

inline constexpr int64_t kMaxTokenId = (int64_t{1} << 24) - 1;
// A number within [0, kMaxTokenId], or nothing.
std::optional<int> token_id(const Json& json);

}  // namespace heed
