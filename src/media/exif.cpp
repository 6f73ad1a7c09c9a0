// EXIF is a TIFF file without a picture: a table of entries, of which one says how the camera was held.
#include <optional>
#include <utility>

#include "media/decoders.h"

namespace heed {
namespace {

constexpr int kOrientationTag = 0x0112;
constexpr int kShort = 3, kLong = 4;  // types of values
constexpr size_t kEntryBytes = 12;

// Reads integers of a TIFF structure, in its byte order. Nothing where they lie outside.
struct TiffBytes {
  std::string_view bytes;
  bool is_little = true;

  std::optional<uint32_t> read(size_t at, size_t count) const {
    if (at > bytes.size() || bytes.size() - at < count) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t byte = is_little ? at + count - 1 - i : at + i;
      value = value << 8 | static_cast<unsigned char>(bytes[byte]);
    }
    return value;
  }
};

}  // namespace

int exif_orientation(std::string_view exif) {
  using namespace std::string_view_literals;
  if (exif.starts_with("Exif\0\0"sv)) exif.remove_prefix(6);
  const TiffBytes tiff{exif, exif.starts_with("II"sv)};
  if (!tiff.is_little && !exif.starts_with("MM"sv)) return 1;
  const auto table = tiff.read(4, 4);
  const auto num_entries = table ? tiff.read(*table, 2) : std::nullopt;
  if (tiff.read(2, 2) != 42U || !num_entries) return 1;
  uint32_t orientation = 1;
  for (size_t i = 0; i < *num_entries; ++i) {
    const size_t entry = *table + 2 + i * kEntryBytes;
    const auto tag = tiff.read(entry, 2), type = tiff.read(entry + 2, 2), count = tiff.read(entry + 4, 4);
    const auto value = tiff.read(entry + 8, type == kShort ? 2 : 4);
    if (!value) break;  // the table is cut short: what was read counts
    const bool is_inline = (type == kShort && (count == 1 || count == 2)) || (type == kLong && count == 1);
    if (tag == kOrientationTag && is_inline) orientation = *value;  // as Pillow: the first of two
  }
  return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1;
}

//  1: as it is   2: left-right   3: half a turn   4: upside down      5 to 8: the same after columns and
//  rows were exchanged (5), so that 6 is a quarter turn to the right and 8 one to the left
Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool is_turned = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out{.width = image.width, .height = image.height};
  if (is_turned) std::swap(out.width, out.height);
  out.rgb.resize(image.rgb.size());
  const int64_t row_step = 3 * int64_t{image.width};
  const int64_t step_x = from_right ? -3 : 3, step_y = from_bottom ? -row_step : row_step;
  const int64_t first = (from_right ? row_step - 3 : 0) + (from_bottom ? (image.height - 1) * row_step : 0);
  uint8_t* to = out.rgb.data();
  for (int y = 0; y < out.height; ++y) {
    int64_t at = first + y * (is_turned ? step_x : step_y);
    for (int x = 0; x < out.width; ++x, at += is_turned ? step_y : step_x) {
      const uint8_t* from = image.rgb.data() + at;
      for (int c = 0; c < 3; ++c) *to++ = from[c];
    }
  }
  return out;
}

}  // namespace heed
