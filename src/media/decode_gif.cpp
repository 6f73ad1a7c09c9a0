// The first frame of a GIF with giflib's functions that read one record at a time; those that read a whole
// file keep every frame of it.
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "media/decoders.h"

namespace heed {
namespace {

constexpr size_t kMaxColours = 256;

int read_gif_bytes(GifFileType* gif, GifByteType* out, int count) {
  auto& rest = *static_cast<std::string_view*>(gif->UserData);
  const size_t taken = std::min(rest.size(), static_cast<size_t>(std::max(count, 0)));
  std::memcpy(out, rest.data(), taken);
  rest.remove_prefix(taken);
  return static_cast<int>(taken);
}

Error broken_gif(int code) {
  const char* text = GifErrorString(code);
  if (code == D_GIF_ERR_READ_FAILED || code == D_GIF_ERR_EOF_TOO_SOON) text = "the file is cut short";
  return broken("GIF", text ? text : "it has no frame");
}

// All of an extension's blocks. Keeps the transparent colour where it says one.
Status skip_extension(GifFileType* gif, int& transparent) {
  int kind = 0;
  GifByteType* block = nullptr;
  if (DGifGetExtension(gif, &kind, &block) == GIF_ERROR) return broken_gif(gif->Error);
  bool is_first = true;
  while (block) {
    GraphicsControlBlock control;
    if (kind == GRAPHICS_EXT_FUNC_CODE && is_first &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
      transparent = control.TransparentColor;
    }
    is_first = false;
    if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) return broken_gif(gif->Error);
  }
  return {};
}

// Up to the first frame's own header, which is then gif->Image.
Status find_frame(GifFileType* gif, int& transparent) {
  for (;;) {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif, &type) == GIF_ERROR) return broken_gif(gif->Error);
    if (type == TERMINATE_RECORD_TYPE) return broken("GIF", "it has no frame");
    if (type == EXTENSION_RECORD_TYPE) TRY(skip_extension(gif, transparent));
    if (type != IMAGE_DESC_RECORD_TYPE) continue;
    return DGifGetImageDesc(gif) == GIF_ERROR ? Status(broken_gif(gif->Error)) : Status();
  }
}

// 256 colours: those of the frame or else of the file, and black behind them; without either, shades of grey.
std::array<GifColorType, kMaxColours> palette_of(const GifFileType* gif) {
  std::array<GifColorType, kMaxColours> colours = {};
  const ColorMapObject* map = gif->Image.ColorMap ? gif->Image.ColorMap : gif->SColorMap;
  for (size_t i = 0; i < kMaxColours && !map; ++i) {
    const auto shade = static_cast<GifByteType>(i);
    colours[i] = {shade, shade, shade};
  }
  for (size_t i = 0; map && i < std::min(kMaxColours, static_cast<size_t>(map->ColorCount)); ++i) {
    colours[i] = map->Colors[i];
  }
  return colours;
}

// Rows as they come in the file: one after the other, or every eighth, those between, and so on.
std::vector<int> rows_of(const GifImageDesc& frame) {
  std::vector<int> rows;
  if (!frame.Interlace) {
    for (int y = 0; y < frame.Height; ++y) rows.push_back(y);
    return rows;
  }
  for (const auto& [first, step] : {std::pair(0, 8), std::pair(4, 8), std::pair(2, 4), std::pair(1, 2)}) {
    for (int y = first; y < frame.Height; y += step) rows.push_back(y);
  }
  return rows;
}

Result<Image> decode_frame(GifFileType* gif, const ImageLimits& limits) {
  int transparent = NO_TRANSPARENT_COLOR;
  TRY(find_frame(gif, transparent));
  const GifImageDesc& frame = gif->Image;
  if (frame.Width < 1 || frame.Height < 1) return broken("GIF", "its first frame is empty");
  // A frame that goes beyond the canvas widens it, as in Pillow; some writers leave the canvas 0 x 0.
  Image image = TRY(blank_image(std::max(gif->SWidth, frame.Left + frame.Width),
                                std::max(gif->SHeight, frame.Top + frame.Height), limits));
  const auto palette = palette_of(gif);
  const auto paint = [](uint8_t*& out, const GifColorType& colour) {
    *out++ = colour.Red, *out++ = colour.Green, *out++ = colour.Blue;
  };
  // Around the frame: the transparent colour, or else the first one.
  const GifColorType around = palette[static_cast<size_t>(std::clamp(transparent, 0, 255))];
  uint8_t* out = image.rgb.data();
  for (int64_t i = 0; i < int64_t{image.width} * image.height; ++i) paint(out, around);
  std::vector<GifPixelType> row(static_cast<size_t>(frame.Width));
  for (const int y : rows_of(frame)) {
    if (DGifGetLine(gif, row.data(), frame.Width) == GIF_ERROR) return broken_gif(gif->Error);
    out = image.rgb.data() + 3 * (int64_t{frame.Top + y} * image.width + frame.Left);
    for (const GifPixelType index : row) paint(out, palette[index]);
  }
  return image;
}

}  // namespace

// What comes after the first frame is not looked at: it may be endless, damaged or missing.
Result<Image> decode_gif(std::string_view bytes, const ImageLimits& limits) {
  int code = 0;
  GifFileType* gif = DGifOpen(&bytes, read_gif_bytes, &code);
  if (!gif) return broken_gif(code);
  Result<Image> image = decode_frame(gif, limits);
  DGifCloseFile(gif, &code);
  return image;
}

}  // namespace heed
