#include "api/web_routes.h"

#include "web/web_files.h"

namespace heed {
namespace {

std::shared_ptr<Exchange> send_file(const WebFile& file, const Call& call) {
  HeaderFields fields = {
      {"ETag", std::string(file.etag)},
      {"Cache-Control", "no-cache"},  // that is: ask each time whether it is still this one
      {"Content-Security-Policy", std::string(kWebContentSecurityPolicy)},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},
  };
  const auto known = call.request.headers.find("if-none-match");
  // A list of tags, some of which proxies have marked as weak; for unchanged files that is all the same.
  if (known != call.request.headers.end() &&
      (known->second == "*" || known->second.find(file.etag) != std::string::npos)) {
    call.responder->reply(304, "", "", std::move(fields));
  } else {
    call.responder->reply(200, std::string(file.content_type), std::string(file.bytes), std::move(fields));
  }
  return nullptr;
}

}  // namespace

void add_web_routes(Api& api) {
  for (const WebFile& file : web_files()) {
    api.add({.method = "GET",
             .pattern = std::string(file.path),
             .handler = [&file](const Call& call) { return send_file(file, call); },
             .always = true});
  }
}

}  // namespace heed
