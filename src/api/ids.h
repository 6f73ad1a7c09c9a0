// Identifiers that nobody can guess, such as "chatcmpl-6f1c...".
#pragma once
#include <string>

#include "api/exchange.h"

namespace heed {

// The prefix and 32 hexadecimal digits.
std::string random_id(const std::string& prefix);
// The prefix and the client's own X-Request-Id where it is a plain short word, else a random one.
std::string request_id(const std::string& prefix, const ApiRequest& request);

}  // namespace heed
