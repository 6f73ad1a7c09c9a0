// data: URLs (RFC 2397), which carry what they refer to.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

// Whether it has this scheme, in any case of letters.
bool has_scheme(std::string_view reference, std::string_view scheme);

// "data:image/png;base64,iVBOR..." or, percent-encoded, "data:image/gif,GIF89a%01...". The media type is not
// looked at: what the bytes are, they say themselves. Base64 is read as browsers do (padding may be left
// away, blanks and line breaks may stand between), with no other letter. Held to the limit before it is
// decoded.
Result<std::string> read_data_url(std::string_view reference, int64_t max_bytes);

// "%41" becomes "A". Nothing where a "%" is followed by anything but two hexadecimal digits.
Result<std::string> percent_decoded(std::string_view text);

}  // namespace heed
