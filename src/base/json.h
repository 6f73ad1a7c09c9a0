// JSON from outside, as a document whose depth and validity have been checked. The library is nlohmann-json.
//
// parse_json never throws and is safe on any bytes: invalid UTF-8, NaN, numbers out of range, trailing text
// and nesting deeper than `max_depth` are errors that say where.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

using Json = nlohmann::json;
// Keeps the order of an object's members (chat templates show it); look-up is linear, so not for large
// objects.
using OrderedJson = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 100;

// `what` names the document in errors, usually its file's path.
Result<Json> parse_json(std::string_view text, const std::string& what, int max_depth = kMaxJsonDepth);
Result<OrderedJson> parse_ordered_json(std::string_view text, const std::string& what,
                                       int max_depth = kMaxJsonDepth);

// Reads a file and parses it; at most `max_bytes` long.
Result<Json> read_json(const std::string& path, int64_t max_bytes = int64_t{256} << 20);

// Compact JSON text, one line; invalid UTF-8 in strings becomes U+FFFD instead of an exception.
std::string to_text(const Json& value);
std::string to_text(const OrderedJson& value);

}  // namespace heed
