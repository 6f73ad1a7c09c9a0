// The JSON body of a request.
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace heed {

struct BodyLimits {
  int max_depth = kMaxJsonDepth;
  int64_t max_values = 4'000'000;  // a parsed value takes 16 bytes and more
  // Objects keep their order, so their members are looked up one by one: of all objects together, the sum of
  // (members)^2. Bounds the time to a few tenths of a second.
  int64_t max_work = 100'000'000;
};

// Any bytes are safe. Errors are one line for the client.
Result<OrderedJson> parse_body(std::string_view text, BodyLimits limits = {});
// Any JSON value that `what` holds as a text. Takes what it needs from the limits, for the next one to have
// less.
Result<OrderedJson> parse_within(std::string_view text, const std::string& what, BodyLimits& limits);

}  // namespace heed
