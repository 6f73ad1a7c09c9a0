// The page that a server shows at "/": a chat with the model, and live gauges. Its files under src/web/page/
// are compiled in (cmake/web.cmake); it fetches nothing from elsewhere and holds no secret. Where the server
// wants a key the page asks for it, unless the browser already has (HTTP Basic).
#pragma once
#include <span>
#include <string_view>

namespace heed {

struct WebFile {
  std::string_view path;          // "/", "/app.js", ...
  std::string_view content_type;  // with the charset
  std::string_view bytes;
  std::string_view etag;  // with its quotes; changes with the bytes
};

std::span<const WebFile> web_files();

// The file of this (normalised) path; null: there is none.
const WebFile* find_web_file(std::string_view path);

// What to send in Content-Security-Policy with each of them: this server's own files, nothing inline, and
// pictures that the page itself was given (blob:).
inline constexpr std::string_view kWebContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace heed
