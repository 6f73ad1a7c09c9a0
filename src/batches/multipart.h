// A form with files, as browsers and HTTP clients upload it: multipart/form-data.
//
// Small and strict: any bytes are safe, and what is not exactly such a form is an error that says why. Time
// is linear in the size of the body, memory is the parts' headers; contents are views of the body. Source:
// RFC 7578; RFC 2046, section 5.1.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed {

struct FormPart {
  std::string name;
  std::optional<std::string> filename;  // as given: never to be used as a path
  std::string content_type;             // as given; empty: not said
  std::string_view content;             // of the body
};

struct FormLimits {
  int max_parts = 32;
  int max_header_bytes = 4096;  // of one part's headers together
  int max_name_bytes = 256;     // of names and file names
};

// `content_type` is the request's header: multipart/form-data; boundary=...
Result<std::vector<FormPart>> parse_multipart(std::string_view content_type, std::string_view body,
                                              const FormLimits& limits = {});

}  // namespace heed
