// Any bytes as a reference to a picture, with nobody to ask: an error of one line that does not repeat it, or
// the bytes of a data: URL; what is a URL of a server reads the same when it is put together again.
#include "base/check.h"
#include "client/url.h"
#include "fetch/address.h"
#include "fetch/media_fetcher.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace heed;
  const std::string text(reinterpret_cast<const char*>(data), size);
  MediaPolicy policy;
  policy.domains = {"good.example", ".sub.example", "127.0.0.1", "[::1]", "localhost:8080"};
  policy.folder = "/nowhere";
  policy.bytes = 1000;
  policy.look_up = [](const std::string& host) -> Result<std::vector<std::string>> {
    return not_found(host);
  };
  const auto bytes = MediaFetcher(policy).fetch(text);
  if (bytes.ok()) CHECK(static_cast<int64_t>(bytes->size()) <= policy.bytes);
  if (!bytes.ok()) {
    const std::string& message = bytes.error().message;
    CHECK(message.size() <= 500 && message.find_first_of("\r\n\x1b") == std::string::npos, message);
  }
  const auto url = parse_resource_url(text);
  if (!url.ok()) return 0;
  const std::string again = (url->server.tls ? "https://" : "http://") + authority(url->server) + url->target;
  const auto same = parse_resource_url(again);
  CHECK(same.ok() && same->server.host == url->server.host && same->server.port == url->server.port, again);
  CHECK(same->server.tls == url->server.tls && same->target == url->target, again);
  CHECK(is_address(url->server.host) || !is_public_address(url->server.host), again);
  return 0;
}
