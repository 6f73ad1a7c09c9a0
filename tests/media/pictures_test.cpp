// Small pictures of every kind against the pixels that Pillow reads from them (tools/picture_fixtures.py).
#include "tests/media/pictures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "base/file.h"
#include "media/decode_image.h"

namespace heed {
namespace {

Image read_ppm(const std::string& path) {
  const std::string bytes = read_file(path).value();
  std::istringstream text(bytes);
  std::string magic;
  int most = 0;
  Image image;
  text >> magic >> image.width >> image.height >> most;
  CHECK(magic == "P6" && most == 255, path);
  image.rgb.assign(bytes.begin() + static_cast<int64_t>(text.tellg()) + 1, bytes.end());
  return image;
}

// JPEG decoders may differ by one in rounding; WebP's lossy pictures are defined to the last bit.
int tolerance_of(const std::string& name) { return name.ends_with(".jpg") ? 1 : 0; }

TEST(Pictures, have_the_pixels_that_pillow_reads) {
  int count = 0;
  for (const std::string& name : picture_names()) {
    SCOPED_TRACE(name);
    const auto image = decode_image(picture(name), {});
    ASSERT_TRUE(image.ok()) << image.error().message;
    const Image expected = read_ppm(pictures_folder() + name + ".ppm");
    ASSERT_EQ(image->width, expected.width);
    ASSERT_EQ(image->height, expected.height);
    ASSERT_EQ(image->rgb.size(), expected.rgb.size());
    int worst = 0;
    for (size_t i = 0; i < expected.rgb.size(); ++i) {
      worst = std::max(worst, std::abs(image->rgb[i] - expected.rgb[i]));
    }
    EXPECT_LE(worst, tolerance_of(name));
    ++count;
  }
  EXPECT_GE(count, 65);
}

TEST(Pictures, cut_short_anywhere_are_errors) {
  for (const std::string& name : picture_names()) {
    SCOPED_TRACE(name);
    const std::string whole = picture(name);
    for (size_t length = 0; length < whole.size(); ++length) {
      // Of animations only the first frame is wanted.
      const auto image = decode_image(whole.substr(0, length), {});
      if (image.ok()) {
        EXPECT_TRUE(name.ends_with(".gif")) << length;
        EXPECT_EQ(image->rgb, decode_image(whole, {})->rgb) << length;
        continue;
      }
      EXPECT_EQ(image.error().code, ErrorCode::kInvalid);
      EXPECT_EQ(image.error().message.find('\n'), std::string::npos);
    }
  }
}

TEST(Pictures, are_told_by_content_and_held_to_limits_by_their_headers) {
  for (const std::string& name : picture_names()) {
    SCOPED_TRACE(name);
    const std::string bytes = picture(name);
    const Image image = decode_image(bytes, {}).value();
    const int64_t pixels = int64_t{image.width} * image.height;
    EXPECT_TRUE(decode_image(bytes, {.bytes = static_cast<int64_t>(bytes.size()), .pixels = pixels}).ok());
    const auto too_long = decode_image(bytes, {.bytes = static_cast<int64_t>(bytes.size()) - 1});
    ASSERT_FALSE(too_long.ok());
    EXPECT_EQ(too_long.error().code, ErrorCode::kLimit);
    const auto too_large = decode_image(bytes, {.pixels = pixels - 1});
    ASSERT_FALSE(too_large.ok());
    EXPECT_EQ(too_large.error().code, pixels > 1 ? ErrorCode::kLimit : ErrorCode::kLimit);
  }
}

}  // namespace
}  // namespace heed
