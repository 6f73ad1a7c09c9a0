#include "api/ids.h"

#include <algorithm>
#include <cctype>
#include <random>

namespace heed {

std::string random_id(const std::string& prefix) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::random_device source;
  std::string id = prefix;
  for (int word = 0; word < 4; ++word) {
    uint32_t bits = source();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) id += kDigits[bits & 15];
  }
  return id;
}

std::string request_id(const std::string& prefix, const ApiRequest& request) {
  constexpr size_t kMaxBytes = 128;
  const auto found = request.headers.find("x-request-id");
  if (found == request.headers.end()) return random_id(prefix);
  const std::string& id = found->second;
  const auto is_plain = [](unsigned char c) { return c < 0x80 && (std::isalnum(c) || c == '-' || c == '_'); };
  if (id.empty() || id.size() > kMaxBytes || !std::all_of(id.begin(), id.end(), is_plain))
    return random_id(prefix);
  return prefix + id;
}

}  // namespace heed
