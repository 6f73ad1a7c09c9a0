// A decoded picture, and how much of one is accepted.
#pragma once
#include <cstdint>
#include <vector>

namespace heed {

struct Image {
  int width = 0, height = 0;  // pixels, at least 1, as it is meant to be seen (EXIF orientation applied)
  std::vector<uint8_t> rgb;   // [height, width, 3]
};

struct ImageLimits {
  int64_t bytes = int64_t{32} << 20;   // of the encoded file
  int64_t pixels = int64_t{64} << 20;  // width * height, as the file's header says, before decoding
};

}  // namespace heed
