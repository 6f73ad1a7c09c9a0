// Pictures against transformers' own processors, to the bit (tools/image_prep_fixtures.py).
#include "media/image_prep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace heed {
namespace {

// The formula of image_prep_fixtures.py.
uint8_t picture_value(uint64_t x, uint64_t y, uint64_t c, uint64_t width, uint64_t height, uint64_t seed) {
  uint64_t h = (x * 73856093 ^ y * 19349663 ^ c * 83492791 ^ seed * 2654435761) & 0xffffffff;
  h = (h ^ h >> 15) * 2246822519 & 0xffffffff;
  const uint64_t noise = (h ^ h >> 13) & 63;
  const uint64_t gradient = c == 0 ? x * 191 / width : c == 1 ? y * 191 / height : (x + y) & 127;
  const uint64_t value = gradient + noise;
  return static_cast<uint8_t>((x / 7 + y / 5 + seed) % 4 == 0 ? 255 - value : value);
}

Image made_picture(int width, int height, uint64_t seed, bool grey = false) {
  Image image{width, height, std::vector<uint8_t>(int64_t{3} * width * height)};
  uint8_t* at = image.rgb.data();
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) *at++ = picture_value(x, y, grey ? 0 : c, width, height, seed);
    }
  }
  return image;
}

// How a viewer turns a file whose EXIF orientation is 1 to 8: from which pixel (x, y) of the result comes.
Image oriented(const Image& from, int orientation) {
  const bool turned = orientation >= 5;
  Image to{turned ? from.height : from.width, turned ? from.width : from.height, {}};
  for (int y = 0; y < to.height; ++y) {
    for (int x = 0; x < to.width; ++x) {
      int sx = turned ? y : x, sy = turned ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        sx = from.width - 1 - sx;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
        sy = from.height - 1 - sy;
      }
      const uint8_t* pixel = &from.rgb[(int64_t{sy} * from.width + sx) * 3];
      to.rgb.insert(to.rgb.end(), pixel, pixel + 3);
    }
  }
  return to;
}

std::vector<uint8_t> from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kDigits.find(c));
    count += 6;
    if (count >= 8) bytes.push_back(static_cast<uint8_t>(bits >> (count -= 8)));
  }
  return bytes;
}

std::string mixed(const std::vector<uint8_t>& bytes) {
  uint64_t sum = 0;
  uint64_t i = 0;
  for (const uint8_t* byte = bytes.data(); byte != bytes.data() + bytes.size(); ++byte, ++i) {
    sum += *byte * (i * 0x9E3779B97F4A7C15 | 1);
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum));
  return text;
}

Json fixtures() { return read_json(std::string(HEED_SOURCE_DIR) + "/tests/media/image_prep.json").value(); }

ImagePrep gemma4(int max_soft_tokens) { return {.max_soft_tokens = max_soft_tokens}; }

// Gemma 3's tower reads patches of one channel after the other.
ImagePrep gemma3(int size, int patch) {
  return {.fit = ImagePrep::Fit::kSquare,
          .filter = ImagePrep::Filter::kBilinear,
          .patch = patch,
          .pool = 1,
          .size = size,
          .mean = {0.5, 0.5, 0.5},
          .deviation = {0.5, 0.5, 0.5},
          .channel_last = false};
}

Image picture_of(const Json& c) {
  const std::string look = c["look"];
  const Image image = made_picture(c["width"], c["height"], c["seed"], look == "grey");
  return look.starts_with("exif") ? oriented(image, look.back() - '0') : image;
}

TEST(ImagePrep, pictures_become_what_transformers_makes_of_them) {
  const Json all = fixtures();
  int pictures = 0;
  for (const Json& c : all["cases"]) {
    SCOPED_TRACE(c["kind"].get<std::string>() + " " + std::to_string(c["width"].get<int>()) + " x " +
                 std::to_string(c["height"].get<int>()) + " to " + std::to_string(c["extent"].get<int>()) +
                 " " + c["look"].get<std::string>());
    const bool budget = c["kind"] == "gemma4";
    const ImagePrep prep = budget ? gemma4(c["extent"]) : gemma3(c["extent"], c["patch"]);
    const Image image = picture_of(c);
    const ImagePatches patches = prepare_image(prep, image).value();
    EXPECT_EQ(patches.grid, patch_grid(prep, image.width, image.height).value());
    EXPECT_EQ(patches.grid.columns, c["columns"]);
    EXPECT_EQ(patches.grid.rows, c["rows"]);
    if (budget) {
      EXPECT_EQ(patches.grid.soft_tokens, c["soft_tokens"]);
    }
    ASSERT_EQ(std::ssize(patches.bytes), c["bytes"].get<int64_t>());
    ASSERT_EQ(std::ssize(patches.bytes), patches.grid.patches() * prep.patch * prep.patch * 3);

    const std::vector<uint8_t> sample = from_base64(c["sample"].get<std::string>());
    for (int64_t i = 0; i < std::ssize(sample); ++i) {
      const int64_t at = i * (std::ssize(patches.bytes) - 1) / (std::ssize(sample) - 1);
      ASSERT_EQ(patches.bytes[at], sample[i]) << "byte " << at;
    }
    if (c.contains("whole")) {
      EXPECT_EQ(patches.bytes, from_base64(c["whole"].get<std::string>()));
    }
    EXPECT_EQ(std::accumulate(patches.bytes.begin(), patches.bytes.end(), int64_t{0}),
              c["sum"].get<int64_t>());
    EXPECT_EQ(mixed(patches.bytes), c["mixed"]);
    ++pictures;
  }
  EXPECT_GE(pictures, 40);
}

TEST(ImagePrep, sizes_and_errors_are_those_of_transformers) {
  const Json all = fixtures();
  int errors = 0, edges = 0;
  for (const Json& row : all["sizes"]) {
    const std::vector<int> s = row;  // width, height, patch, pool, soft tokens; prepared width, height
    const ImagePrep prep{.patch = s[2], .pool = s[3], .max_soft_tokens = s[4]};
    const Result<PatchGrid> grid = patch_grid(prep, s[0], s[1]);
    if (s[5] == 0) {
      EXPECT_FALSE(grid.ok()) << row.dump();
      ++errors;
      continue;
    }
    ASSERT_TRUE(grid.ok()) << row.dump() << grid.error().message;
    EXPECT_EQ(*grid, (PatchGrid{s[5] / s[2], s[6] / s[2], s[5] * s[6] / (s[2] * s[2] * s[3] * s[3])}))
        << row.dump();
    edges += s[5] == s[2] * s[3] || s[6] == s[2] * s[3];
  }
  EXPECT_GT(errors, 0);
  EXPECT_GT(edges, 20);
}

// image.png of the shared goldens, of which transformers' pixels are kept.
Image golden_picture() {
  Image image{200, 260, {}};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const bool inside = x >= 40 && x < 120 && y >= 60 && y < 150;
      const int pixel[] = {inside ? 20 : x * 255 / 199, inside ? 200 : y * 255 / 259,
                           inside ? 90 : (x / 30 + y / 30) % 2 * 255};
      for (const int value : pixel) image.rgb.push_back(static_cast<uint8_t>(value));
    }
  }
  return image;
}

TEST(ImagePrep, the_picture_of_the_vision_goldens_is_prepared_as_there) {
  int goldens = 0;
  for (const char* name : {"gemma4_vision", "gemma4_vision_small_window"}) {
    const std::string path = std::string(HEED_SHARED_DIR) + "/goldens/" + name + "/golden.safetensors";
    if (!file_exists(path)) continue;
    ++goldens;
    const Safetensors file = Safetensors::open(path).value();
    const Tensor pixels = file.tensor("in.pixel_values").value();
    const Tensor positions = file.tensor("in.image_position_ids").value();
    const ImagePrep prep = gemma4(70);
    const ImagePatches patches = prepare_image(prep, golden_picture()).value();
    ASSERT_LE(std::ssize(patches.bytes), pixels.elements());
    double total = 0;
    for (int64_t i = 0; i < std::ssize(patches.bytes); ++i) {
      const double difference = std::fabs(patches.bytes[i] * prep.scale - pixels.f32()[i]);
      ASSERT_LE(difference, 1.0 / 255 + 1e-6) << i;
      total += difference;
    }
    EXPECT_LE(total / static_cast<double>(std::ssize(patches.bytes)), 1e-4);
    for (int64_t i = 0; i < positions.elements() / 2; ++i) {
      const bool real = i < patches.grid.patches();
      const int columns = patches.grid.columns;
      EXPECT_EQ(positions.as<int32_t>()[2 * i], real ? i % columns : -1);
      EXPECT_EQ(positions.as<int32_t>()[2 * i + 1], real ? i / columns : -1);
    }
  }
  if (goldens == 0) GTEST_SKIP() << "no shared goldens";
}

TEST(ImagePrep, a_picture_of_the_right_size_is_left_alone) {
  const Image image = made_picture(96, 48, 3);
  const ImagePrep prep{.max_soft_tokens = 2};
  const ImagePatches patches = prepare_image(prep, image).value();
  ASSERT_EQ(patches.grid, (PatchGrid{6, 3, 2}));
  for (const auto& [patch, y, x, c] : {std::array{0, 0, 0, 0}, {7, 3, 15, 2}, {17, 15, 0, 1}}) {
    const int row = patch / 6 * 16 + y, column = patch % 6 * 16 + x;
    EXPECT_EQ(patches.bytes[patch * 768 + (y * 16 + x) * 3 + c], image.rgb[(row * 96 + column) * 3 + c]);
  }
}

TEST(ImagePrep, what_cannot_be_prepared_is_said_in_one_line) {
  const auto message = [](const ImagePrep& prep, int width, int height) {
    return patch_grid(prep, width, height).error().message;
  };
  EXPECT_EQ(message(gemma4(280), 0, 7), "a picture of 0 x 7 pixels; at least 1 x 1 is expected");
  EXPECT_EQ(message(gemma4(280), 65536, 1), "a picture of 65536 x 1 pixels; a side may have 65535 at most");
  EXPECT_TRUE(patch_grid(gemma4(280), 65535, 65535).ok());
  EXPECT_EQ(message(gemma4(0), 5, 5), "pictures are prepared for 0 soft tokens; at least 1 is expected");
  EXPECT_EQ(message({.patch = 0}, 5, 5),
            "pictures are prepared in patches of 0 pixels, pooled by 3; both must be at least 1");
  EXPECT_EQ(message(gemma3(100, 16), 5, 5),
            "pictures are prepared as squares of 100 pixels; a multiple of 16 is expected");
  EXPECT_EQ(message({.max_soft_tokens = 1 << 30}, 5, 5),
            "pictures are prepared with more than 67108864 pixels, which is the most");
  EXPECT_EQ(patch_grid({.patch = 1 << 30, .pool = 1 << 30}, 5, 5).error().code, ErrorCode::kLimit);
}

// A picture of one colour stays one, however it is stretched: weights sum up to one after rounding, too.
TEST(ImagePrep, one_colour_stays_one_colour) {
  for (const auto& [width, height] : {std::pair{1, 65535}, {65535, 1}, {3, 2}, {48, 4801}, {1999, 1001}}) {
    Image image{width, height, std::vector<uint8_t>(int64_t{3} * width * height, 255)};
    for (const ImagePrep& prep : {gemma4(70), gemma3(224, 14)}) {
      const ImagePatches patches = prepare_image(prep, image).value();
      EXPECT_GE(*std::min_element(patches.bytes.begin(), patches.bytes.end()), 254)
          << width << " x " << height;
    }
  }
}

}  // namespace
}  // namespace heed
