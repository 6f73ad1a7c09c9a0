// PNG with libpng. Its errors jump back to where reading began (setjmp), so nothing that has a destructor
// lives in the functions between.
#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "media/decoders.h"

namespace heed {
namespace {

constexpr png_alloc_size_t kMaxChunk = 8 << 20;  // of what a chunk may make libpng allocate
constexpr int kMaxChunks = 1000;                 // that it keeps

struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string_view rest;
  std::array<char, 200> message = {};
};

void on_png_error(png_structp png, png_const_charp message) {
  auto& reader = *static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader.message.data(), reader.message.size(), "%s", message);
  png_longjmp(png, 1);
}

void read_png_bytes(png_structp png, png_bytep out, size_t count) {
  auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
  if (count > reader.rest.size()) png_error(png, "the file is cut short");
  std::memcpy(out, reader.rest.data(), count);
  reader.rest.remove_prefix(count);
}

// Of what may be left out of a picture only its orientation is read. Texts and profiles, which may be bombs
// of their own, are skipped unread, and so is transparency: a picture is told here as if it had none.
void skip_chunks(png_structp png) {
  constexpr std::array<png_byte, 5> kTransparency = {'t', 'R', 'N', 'S', 0}, kExif = {'e', 'X', 'I', 'f', 0};
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kTransparency.data(), 1);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, kExif.data(), 1);
}

bool read_png_header(PngReader& reader) {
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_png_error,
                                      [](png_structp, png_const_charp) {});
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  if (!reader.info) return false;
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_read_fn(reader.png, &reader, read_png_bytes);
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ours come next, with a clearer error
  png_set_chunk_malloc_max(reader.png, kMaxChunk);
  png_set_chunk_cache_max(reader.png, kMaxChunks);
  skip_chunks(reader.png);
  png_read_info(reader.png, reader.info);
  return true;
}

// Interlaced pictures are sent as seven coarse ones, each of which fills in pixels of rows that are there.
bool read_png_rows(PngReader& reader, uint8_t* rgb, int64_t width, int64_t height) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_palette_to_rgb(reader.png);
  png_set_expand_gray_1_2_4_to_8(reader.png);
  png_set_strip_16(reader.png);  // the upper byte, as Pillow does
  png_set_strip_alpha(reader.png);
  png_set_gray_to_rgb(reader.png);
  const int passes = png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  if (png_get_rowbytes(reader.png, reader.info) != static_cast<size_t>(3 * width)) return false;
  for (int pass = 0; pass < passes; ++pass) {
    for (int64_t y = 0; y < height; ++y) png_read_row(reader.png, rgb + 3 * y * width, nullptr);
  }
  png_read_end(reader.png, reader.info);  // the orientation may come last
  return true;
}

int png_orientation(PngReader& reader) {
  png_uint_32 count = 0;
  png_bytep data = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &count, &data) == 0 || !data) return 1;
  return exif_orientation({reinterpret_cast<const char*>(data), count});
}

Result<Image> decode_with(PngReader& reader, const ImageLimits& limits) {
  const auto error = [&] {
    const bool is_silent = reader.message.front() == '\0';
    return broken("PNG", is_silent ? "it cannot be read" : reader.message.data());
  };
  if (!read_png_header(reader)) return error();
  const png_uint_32 width = png_get_image_width(reader.png, reader.info);
  const png_uint_32 height = png_get_image_height(reader.png, reader.info);
  Image image = TRY(blank_image(width, height, limits));
  if (!read_png_rows(reader, image.rgb.data(), width, height)) return error();
  return upright(std::move(image), png_orientation(reader));
}

}  // namespace

Result<Image> decode_png(std::string_view bytes, const ImageLimits& limits) {
  PngReader reader{.rest = bytes};
  Result<Image> image = decode_with(reader, limits);
  png_destroy_read_struct(&reader.png, &reader.info, nullptr);
  return image;
}

}  // namespace heed
