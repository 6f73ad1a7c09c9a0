// A form as uploaded: the first line is the content type, the rest the body. Parts must lie in the body, in
// order, and what is written from the parts must be read as the same.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "batches/multipart.h"

namespace {

using namespace heed;

bool can_be_written(const FormPart& part) {
  const auto plain = [](const std::string& text) { return text.find_first_of("\\\"") == std::string::npos; };
  return plain(part.name) && plain(part.filename.value_or("")) &&
         part.content.find("--fuzz") == std::string_view::npos;
}

void check_written(const std::vector<FormPart>& parts) {
  std::string body;
  for (const FormPart& part : parts) {
    if (!can_be_written(part)) return;
    body += "--fuzz\r\ncontent-disposition: form-data; name=\"" + part.name + "\"";
    if (part.filename) body += "; filename=\"" + *part.filename + "\"";
    body += "\r\ncontent-type:" + part.content_type + "\r\n\r\n" + std::string(part.content) + "\r\n";
  }
  FormLimits limits;
  limits.max_header_bytes *= 2;
  const auto again = parse_multipart("multipart/form-data;boundary=fuzz", body + "--fuzz--", limits);
  CHECK(again.ok(), again.error().message);
  CHECK(again->size() == parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    CHECK((*again)[i].name == parts[i].name && (*again)[i].filename == parts[i].filename, i);
    CHECK((*again)[i].content == parts[i].content && (*again)[i].content_type == parts[i].content_type, i);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(text.find('\n'), text.size());
  const std::string_view body = text.substr(std::min(line + 1, text.size()));
  const auto parts = parse_multipart(text.substr(0, line), body);
  if (!parts.ok()) return 0;
  const char* at = body.data();
  for (const FormPart& part : *parts) {
    CHECK(part.content.data() >= at, "parts overlap");
    at = part.content.data() + part.content.size();
    CHECK(at <= body.data() + body.size(), "outside of the body");
  }
  if (!parts->empty()) check_written(*parts);
  return 0;
}
