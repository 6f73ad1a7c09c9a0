// One decoder per format, and what they share. Each reads the size from the header and has it checked first.
#pragma once
#include <string_view>

#include "base/result.h"
#include "media/image.h"

namespace heed {

Result<Image> decode_jpeg(std::string_view bytes, const ImageLimits& limits);
Result<Image> decode_png(std::string_view bytes, const ImageLimits& limits);
Result<Image> decode_webp(std::string_view bytes, const ImageLimits& limits);
Result<Image> decode_gif(std::string_view bytes, const ImageLimits& limits);

// A picture of this size, black; or an error for what is empty or too large.
Result<Image> blank_image(int64_t width, int64_t height, const ImageLimits& limits);

// "not a sound PNG: <what the library says>", in one line.
Error broken(const char* format, std::string_view what);

// The EXIF orientation, 1 (as it stands) to 8; 1 for garbage. With or without the "Exif\0\0" that stands
// before the TIFF structure in a JPEG.
int exif_orientation(std::string_view exif);
// The picture the right way up.
Image upright(Image image, int orientation);

}  // namespace heed
