#include "media/decode_image.h"

#include <string>

#include "media/decoders.h"

namespace heed {

Result<Image> decode_image(std::string_view bytes, const ImageLimits& limits) {
  using namespace std::string_view_literals;
  if (static_cast<int64_t>(bytes.size()) > limits.bytes) {
    return limit_reached("the picture's file has " + std::to_string(bytes.size()) + " bytes; at most " +
                         std::to_string(limits.bytes) + " are accepted");
  }
  if (bytes.starts_with("\xff\xd8\xff"sv)) return decode_jpeg(bytes, limits);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return decode_png(bytes, limits);
  if (bytes.starts_with("GIF87a"sv) || bytes.starts_with("GIF89a"sv)) return decode_gif(bytes, limits);
  if (bytes.starts_with("RIFF"sv) && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP"sv) {
    return decode_webp(bytes, limits);
  }
  return invalid("not a picture that is read here: JPEG, PNG, WebP and GIF are");
}

// 3 bytes a pixel, and then either 4 coefficients of two bytes or the picture once more; markers are copied.
int64_t decoding_memory(const ImageLimits& limits) {
  constexpr int64_t kSlack = int64_t{64} << 20;
  return 2 * limits.bytes + 12 * limits.pixels + kSlack;
}

Result<Image> blank_image(int64_t width, int64_t height, const ImageLimits& limits) {
  if (width < 1 || height < 1) return invalid("the picture is empty");
  if (width > limits.pixels / height) {
    return limit_reached("the picture has " + std::to_string(width) + " x " + std::to_string(height) +
                         " pixels; at most " + std::to_string(limits.pixels) + " in all are accepted");
  }
  Image image{.width = static_cast<int>(width), .height = static_cast<int>(height)};
  image.rgb.resize(static_cast<size_t>(3 * width * height));
  return image;
}

Error broken(const char* format, std::string_view what) {
  std::string message = "not a sound " + std::string(format) + " picture: ";
  for (const char c : what) message += c >= ' ' && c <= '~' ? c : '?';
  return invalid(std::move(message));
}

}  // namespace heed
