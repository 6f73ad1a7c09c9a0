#include "api/pages.h"

#include "web/web_files.h"

namespace heed {

void add_page_routes(Api& api) {
  for (const WebFile& file : web_files()) {
    const auto show = [&file](const Call& call) -> std::shared_ptr<Exchange> {
      const HeaderFields fields = {{"ETag", std::string(file.etag)},
                                   {"Cache-Control", "no-cache"},
                                   {"Content-Security-Policy", std::string(kWebContentSecurityPolicy)},
                                   {"X-Content-Type-Options", "nosniff"},
                                   {"Referrer-Policy", "no-referrer"}};
      const auto known = call.request.headers.find("if-none-match");
      const bool same = known != call.request.headers.end() && known->second == file.etag;
      const std::string type(file.content_type);
      if (same) {
        call.responder->reply(304, type, "", fields);
      } else {
        call.responder->reply(200, type, std::string(file.bytes), fields);
      }
      return nullptr;
    };
    api.add({.method = "GET", .pattern = std::string(file.path), .handler = show, .always = true});
  }
}

}  // namespace heed
