// Any bytes as a picture file: an error of one line, or a picture within the limits, whole.
#include "base/check.h"
#include "media/decode_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const heed::ImageLimits limits{.bytes = 1 << 20, .pixels = 1 << 16};
  const auto image = heed::decode_image({reinterpret_cast<const char*>(data), size}, limits);
  if (!image.ok()) {
    const std::string& message = image.error().message;
    CHECK(!message.empty() && message.size() <= 300 && message.find('\n') == std::string::npos, message);
    return 0;
  }
  CHECK(image->width >= 1 && image->height >= 1 && int64_t{image->width} * image->height <= limits.pixels);
  CHECK(image->rgb.size() == static_cast<size_t>(3) * image->width * image->height);
  return 0;
}
