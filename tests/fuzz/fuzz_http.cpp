// Bytes off the network: whatever they are, and however they are cut into pieces, the same request or the
// same refusal comes of them, its path is normal, and no path but /health passes without the key.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "server/keys.h"
#include "server/request_head.h"
#include "server/request_parser.h"
#include "server/request_target.h"

namespace {

using namespace heed;
using namespace heed::http;

struct Outcome {
  bool is_whole = false;
  RequestHead head;
  std::string body;
};

// The request at the beginning of `bytes`, of which `first` come in one piece and the others after them.
Outcome read_in_pieces(std::string_view bytes, size_t first) {
  ServerLimits limits;
  limits.url_bytes = limits.header_bytes = limits.body_bytes = int64_t{1} << 20;
  RequestParser parser(limits);
  Outcome outcome;
  std::string input;
  for (const std::string_view piece : {bytes.substr(0, first), bytes.substr(first)}) {
    if (parser.has_head() && parser.has_all()) break;
    input += piece;
    if (!parser.has_head() && parser.read_head(input)) return outcome;
    if (!parser.has_head()) continue;
    if (outcome.head.method.empty()) outcome.head = parser.head();  // before trailers join it
    if (check_head(outcome.head) || parser.read_body(input)) return outcome;
    CHECK(parser.body_bytes() <= limits.body_bytes);
  }
  outcome.is_whole = parser.has_head() && parser.has_all();
  if (outcome.is_whole) outcome.body = parser.take_body();
  return outcome;
}

void check_path(const RequestHead& head) {
  const auto target = read_target(head.target);
  if (!target.ok()) return;
  const std::string& path = target->path;
  CHECK(path.starts_with('/') && (path == "/" || !path.ends_with('/')), path);
  const std::string closed = path + "/";
  for (const char* bad : {"/./", "/../", "//"})
    CHECK(path == "/" || closed.find(bad) == std::string::npos, path);
  CHECK(path.find('\0') == std::string::npos);
  static const KeyCheck keys({std::string(40, 'k')});
  const auto fields = joined_fields(head.fields);
  if (fields.contains("authorization") || fields.contains("x-api-key")) return;
  const bool is_open = path == "/health" && (head.method == "GET" || head.method == "HEAD");
  CHECK(keys.check(head.method, path, fields).has_value() == !is_open, path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const Outcome whole = read_in_pieces(bytes, bytes.size());
  const Outcome cut = read_in_pieces(bytes, bytes.size() * data[0] / 256);
  if (whole.is_whole && cut.is_whole) {
    CHECK(whole.head.target == cut.head.target && whole.head.fields == cut.head.fields);
    CHECK(whole.body == cut.body);
  }
  if (whole.is_whole) check_path(whole.head);
  escaped_for_log(bytes);
  is_sane_request_id(bytes);
  return 0;
}
