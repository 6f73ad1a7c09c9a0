#include "media/image_prep.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/checked.h"
#include "media/resize.h"

namespace heed {
namespace {

// Of a picture as it comes. It is JPEG's limit; what is longer and thin would cost far more time than its
// pixels say, for it is first made as wide as the result.
constexpr int kMaxSide = 65535;
constexpr int64_t kMaxPreparedPixels = int64_t{1} << 26;

std::string pixels_text(int64_t width, int64_t height) {
  return std::to_string(width) + " x " + std::to_string(height) + " pixels";
}

// Pixels of a prepared picture at most, or what is wrong with `prep`.
Result<int64_t> most_pixels(const ImagePrep& prep) {
  if (prep.patch < 1 || prep.pool < 1) {
    return invalid("pictures are prepared in patches of " + std::to_string(prep.patch) +
                   " pixels, pooled by " + std::to_string(prep.pool) + "; both must be at least 1");
  }
  const int64_t unit = int64_t{prep.patch} * prep.pool;
  if (prep.fit == ImagePrep::Fit::kSquare && (prep.size < 1 || prep.size % unit != 0)) {
    return invalid("pictures are prepared as squares of " + std::to_string(prep.size) +
                   " pixels; a multiple of " + std::to_string(unit) + " is expected");
  }
  if (prep.fit == ImagePrep::Fit::kBudget && prep.max_soft_tokens < 1) {
    return invalid("pictures are prepared for " + std::to_string(prep.max_soft_tokens) +
                   " soft tokens; at least 1 is expected");
  }
  const int64_t square[] = {prep.size, prep.size}, budget[] = {prep.max_soft_tokens, unit, unit};
  const auto pixels = prep.fit == ImagePrep::Fit::kSquare ? checked_product(square) : checked_product(budget);
  if (!pixels || *pixels > kMaxPreparedPixels) {
    return limit_reached("pictures are prepared with more than " + std::to_string(kMaxPreparedPixels) +
                         " pixels, which is the most");
  }
  return *pixels;
}

struct Size {
  int64_t width, height;
};

// As large as `most` pixels allow, both sides rounded down to units. A side shorter than a unit becomes one,
// and the other then has the aspect's whole part, at most what the budget holds.
Result<Size> size_in_budget(int64_t most, int64_t unit, int width, int height) {
  const double factor = std::sqrt(static_cast<double>(most) / static_cast<double>(int64_t{width} * height));
  const auto whole_units = [&](int side) {
    return static_cast<int64_t>(std::floor(factor * side / static_cast<double>(unit))) * unit;
  };
  Size size{whole_units(width), whole_units(height)};
  const int64_t longest = most / (unit * unit) * unit;
  if (size.width == 0 && size.height == 0) {
    return invalid("a picture of " + pixels_text(width, height) +
                   " would be prepared as nothing; its budget of " + std::to_string(most) +
                   " pixels is too small");
  }
  if (size.height == 0) size = {std::min(width / height * unit, longest), unit};
  if (size.width == 0) size = {unit, std::min(height / width * unit, longest)};
  if (size.width * size.height > most) {
    return invalid("a picture of " + pixels_text(width, height) + " would be prepared as " +
                   pixels_text(size.width, size.height) + ", more than its budget of " +
                   std::to_string(most));
  }
  return size;
}

// [height, width, 3] cut into [patches, patch * patch * 3].
std::vector<uint8_t> cut(const ImagePrep& prep, const PatchGrid& grid, const std::vector<uint8_t>& rgb) {
  std::vector<uint8_t> bytes(rgb.size());
  const int64_t side = prep.patch, area = side * side, row_bytes = grid.columns * side * 3;
  uint8_t* patch = bytes.data();
  for (int row = 0; row < grid.rows; ++row) {
    for (int column = 0; column < grid.columns; ++column, patch += area * 3) {
      for (int64_t y = 0; y < side; ++y) {
        const uint8_t* from = rgb.data() + (row * side + y) * row_bytes + column * side * 3;
        if (prep.channel_last) {
          std::memcpy(patch + y * side * 3, from, side * 3);
          continue;
        }
        for (int64_t i = 0; i < side * 3; ++i) patch[i % 3 * area + y * side + i / 3] = from[i];
      }
    }
  }
  return bytes;
}

}  // namespace

Result<PatchGrid> patch_grid(const ImagePrep& prep, int width, int height) {
  const int64_t most = TRY(most_pixels(prep));
  if (width < 1 || height < 1) {
    return invalid("a picture of " + pixels_text(width, height) + "; at least 1 x 1 is expected");
  }
  if (width > kMaxSide || height > kMaxSide) {
    return limit_reached("a picture of " + pixels_text(width, height) + "; a side may have " +
                         std::to_string(kMaxSide) + " at most");
  }
  Size size{prep.size, prep.size};
  if (prep.fit == ImagePrep::Fit::kBudget) {
    size = TRY(size_in_budget(most, int64_t{prep.patch} * prep.pool, width, height));
  }
  PatchGrid grid;
  grid.columns = static_cast<int>(size.width / prep.patch);
  grid.rows = static_cast<int>(size.height / prep.patch);
  grid.soft_tokens = grid.columns / prep.pool * (grid.rows / prep.pool);
  return grid;
}

Result<ImagePatches> prepare_image(const ImagePrep& prep, const Image& image) {
  CHECK(std::ssize(image.rgb) == int64_t{image.width} * image.height * 3, image.width, image.height);
  ImagePatches patches;
  patches.grid = TRY(patch_grid(prep, image.width, image.height));
  const int width = patches.grid.columns * prep.patch, height = patches.grid.rows * prep.patch;
  if (image.width == width && image.height == height) {
    patches.bytes = cut(prep, patches.grid, image.rgb);
  } else {
    patches.bytes = cut(prep, patches.grid, resize(image, width, height, prep.filter).rgb);
  }
  return patches;
}

}  // namespace heed
