#include "client/load.h"

namespace heed {
namespace {

// The good request with one member replaced.
HttpRequest with_member(const LoadOptions& options, const Prompt& prompt, const std::string& name,
                        const OrderedJson& value) {
  LoadOptions changed = options;
  changed.body[name] = value;
  return load_request(changed, prompt);
}

HttpRequest with_body(const LoadOptions& options, const Prompt& prompt, std::string body) {
  HttpRequest request = load_request(options, prompt);
  request.body = std::move(body);
  return request;
}

HttpRequest with_path(const LoadOptions& options, const Prompt& prompt, std::string path) {
  HttpRequest request = load_request(options, prompt);
  request.path = std::move(path);
  return request;
}

}  // namespace

MalformedRequest malformed_request(const LoadOptions& options, const Prompt& prompt, int kind) {
  const std::string good = load_request(options, prompt).body;
  const std::string deep = "{\"model\":" + std::string(5000, '[') + std::string(5000, ']') + "}";
  switch (kind) {
    case 0:
      return {"JSON cut short", with_body(options, prompt, good.substr(0, good.size() / 2))};
    case 1:
      return {"a temperature that is text", with_member(options, prompt, "temperature", "hot")};
    case 2:
      return {"negative max_tokens", with_member(options, prompt, "max_tokens", -1)};
    case 3:
      return {"a body that is no object", with_body(options, prompt, "[1, 2]")};
    case 4:
      return {"an empty body", with_body(options, prompt, "")};
    case 5:
      return {"5000 nested arrays", with_body(options, prompt, deep)};
    case 6:
      return {"invalid UTF-8", with_body(options, prompt, "{\"model\": \"\xff\xfe\"}")};
    case 7:
      return {"a path that is not there", with_path(options, prompt, "/v1/nothing")};
    case 8:
      return {"n beyond every limit", with_member(options, prompt, "n", 1000000000)};
    case 9:
      return {"another model", with_member(options, prompt, "model", "no/such-model")};
    case 10:
      return {"no HTTP", {.raw = "\x16\x03\x01 this is no request\r\n\r\n"}, true};
    default:
      return {"neither prompt nor messages", with_body(options, prompt, "{\"stream\": true}")};
  }
}

}  // namespace heed
