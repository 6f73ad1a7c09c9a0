// A config.json read field by field: typed, checked, and with the first mistake kept.
//
// A model file asks for what it needs and goes on as if all were well; whoever called it looks at error()
// once. A field that is null counts as absent. Every error names the file, the field, what it holds and what
// is accepted.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace heed {

class Config {
 public:
  // `root` must outlive the Config.
  Config(const Json& root, std::string what);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  bool mentions(std::string_view key) const {  // even as null
    return object_->contains(key) || (defaults_ != nullptr && defaults_->contains(key));
  }
  bool is_object(std::string_view key) const;
  bool is_list(std::string_view key) const;
  bool has_objects() const;  // some field is an object
  // The object under `key`; an empty one if absent (then its fields are absent too).
  Config at(std::string_view key) const;
  // The same configuration with fields of `defaults`, an object that outlives it, where it has none.
  Config with_defaults(const Json& defaults) const;

  int size(std::string_view key) const;                 // 1 to 2^24; required
  int size(std::string_view key, int fallback) const;   // the same, or the fallback where absent
  int count(std::string_view key, int fallback) const;  // 0 to 2^31 - 1
  float number(std::string_view key) const;             // finite; required
  float number(std::string_view key, float fallback) const;
  float positive(std::string_view key, float fallback) const;  // finite and above 0
  bool flag(std::string_view key, bool fallback) const;
  std::string text(std::string_view key, std::string fallback) const;
  std::vector<std::string> texts(std::string_view key) const;  // empty if absent
  std::vector<int> ids(std::string_view key) const;            // one id or a list of them; empty if absent

  // Records an error about this configuration unless there is one already.
  void fail(const std::string& message) const;
  const std::optional<Error>& error() const { return *error_; }

 private:
  Config(const Json* object, std::string what, std::string path, std::shared_ptr<std::optional<Error>> error);
  const Json* find(std::string_view key) const;
  void wrong(std::string_view key, const Json* value, const std::string& accepted) const;
  std::optional<int64_t> integer(std::string_view key, int64_t lowest, int64_t highest,
                                 const char* accepted) const;

  const Json* object_;                           // never null
  const Json* defaults_ = nullptr;               // for fields that are absent, or none
  std::string what_;                             // names the file
  std::string path_;                             // "rope_parameters."
  std::shared_ptr<std::optional<Error>> error_;  // one for a configuration and the parts of it
};

}  // namespace heed
