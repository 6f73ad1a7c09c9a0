// From a picture to what a vision tower reads: resized, cut into patches. As data, so that a model file can
// say which of the ways it wants. Sources: transformers models/gemma4/image_processing_gemma4.py,
// models/gemma3/image_processing_gemma3.py; torchvision's resize of uint8 tensors with antialias.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "media/image.h"
#include "media/resize.h"

namespace heed {

struct ImagePrep {
  // kBudget: keeps the aspect as far as multiples of patch * pool allow, as large as max_soft_tokens allow.
  // kSquare: size x size, whatever the aspect was.
  enum class Fit : uint8_t { kBudget, kSquare };
  using Filter = ResizeFilter;
  Fit fit = Fit::kBudget;
  Filter filter = Filter::kBicubic;
  int patch = 16;             // pixels, each way
  int pool = 3;               // patches, each way, that become one soft token
  int max_soft_tokens = 280;  // kBudget
  int size = 0;               // kSquare: pixels, a multiple of patch * pool
  // What the tower reads of a byte: (byte * scale - mean[channel]) / deviation[channel]
  float scale = 1.0F / 255;
  std::array<float, 3> mean = {0, 0, 0}, deviation = {1, 1, 1};
  // Order of a patch's elements: (row, column, channel), else (channel, row, column).
  bool channel_last = true;
  bool operator==(const ImagePrep&) const = default;
};

// Patches across and down, in row-major order; both are multiples of pool.
struct PatchGrid {
  int columns = 0, rows = 0;
  int soft_tokens = 0;
  bool operator==(const PatchGrid&) const = default;
  int64_t patches() const { return int64_t{columns} * rows; }
};

// The grid that a picture of this size gets. An error where it cannot have one.
Result<PatchGrid> patch_grid(const ImagePrep& prep, int width, int height);

struct ImagePatches {
  PatchGrid grid;
  std::vector<uint8_t> bytes;  // [patches, patch * patch * 3], resized, not yet scaled
};

Result<ImagePatches> prepare_image(const ImagePrep& prep, const Image& image);

}  // namespace heed
