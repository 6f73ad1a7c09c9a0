// A name out of a file, made fit for a one-line message: in quotes, escaped, cut short.
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"

namespace heed {

inline std::string in_quotes(std::string_view name) {
  constexpr size_t kMaxBytes = 80;
  if (name.size() <= kMaxBytes) return to_text(Json(name));
  return to_text(Json(name.substr(0, kMaxBytes))) + "...";
}

}  // namespace heed
