// Which requests carry a valid key. Accepted: `Authorization: Bearer KEY`, `x-api-key: KEY` (Anthropic's
// clients), and HTTP Basic with the key as the password, whatever the user's name (so that a browser can open
// the page at "/").
//
// Keys are kept and compared as SHA-256 digests, every one of them each time and all bytes of each: the time
// taken does not depend on how much of a key is right.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/refusal.h"

namespace heed::http {

class KeyCheck {
 public:
  explicit KeyCheck(const std::vector<std::string>& keys);  // none: every request is let through

  // The refusal, or none where the request may pass. `path` is normalised; only GET and HEAD of /health pass
  // without a key. A browser sends Basic credentials also when another site's page makes the request, so
  // those pass only without an Origin or with that of the Host.
  std::optional<Refusal> check(std::string_view method, std::string_view path,
                               const std::map<std::string, std::string>& headers) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  bool is_key(std::string_view candidate) const;
  static Digest digest(std::string_view text);
  std::vector<Digest> digests_;
};

// RFC 4648 with or without padding; none where the text is anything else.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace heed::http
