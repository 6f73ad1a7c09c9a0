// JPEG with libjpeg-turbo. Its errors jump back to where decoding began (setjmp), so nothing that has a
// destructor lives in the functions between.
#include <cstddef>
#include <cstdio>
// jpeglib.h needs the two above and does not say so.
#include <jpeglib.h>

#include <array>
#include <csetjmp>
#include <string>

#include "media/decoders.h"

namespace heed {
namespace {

// Pictures for the web come in about ten scans. Every scan goes over all pixels and may be a few bytes long:
// without a limit a small file could keep a decoder busy for hours.
constexpr int kMaxScans = 100;
constexpr int kExifMarker = JPEG_APP0 + 1;

enum class JpegFault { kNone, kLibrary, kShort, kScans };

struct JpegReader {
  jpeg_decompress_struct info = {};
  jpeg_error_mgr errors = {};
  jpeg_source_mgr source = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf back = {};
  JpegFault fault = JpegFault::kNone;
  int orientation = 1;
  std::array<char, JMSG_LENGTH_MAX> message = {};
};

JpegReader& reader_of(j_common_ptr info) { return *static_cast<JpegReader*>(info->client_data); }

[[noreturn]] void give_up(j_common_ptr info, JpegFault fault) {
  reader_of(info).fault = fault;
  std::longjmp(reader_of(info).back, 1);
}

[[noreturn]] void on_jpeg_error(j_common_ptr info) {
  info->err->format_message(info, reader_of(info).message.data());
  give_up(info, JpegFault::kLibrary);
}

// All bytes are there from the beginning: when more are wanted, the file is cut short.
boolean want_more_jpeg(j_decompress_ptr info) {
  give_up(reinterpret_cast<j_common_ptr>(info), JpegFault::kShort);
}

void skip_jpeg(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (static_cast<size_t>(count) > info->src->bytes_in_buffer) want_more_jpeg(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= static_cast<size_t>(count);
}

void check_scans(j_common_ptr info) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  if (decompress->input_scan_number > kMaxScans) give_up(info, JpegFault::kScans);
}

void set_up(JpegReader& reader, std::string_view bytes) {
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_jpeg_error;
  // Warnings are of data that is wrong within; Pillow goes on, too.
  reader.errors.emit_message = [](j_common_ptr, int) {};
  reader.errors.output_message = [](j_common_ptr) {};
  reader.info.client_data = &reader;  // kept by jpeg_create_decompress
  jpeg_create_decompress(&reader.info);
  reader.source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  reader.source.bytes_in_buffer = bytes.size();
  reader.source.init_source = [](j_decompress_ptr) {};
  reader.source.fill_input_buffer = want_more_jpeg;
  reader.source.skip_input_data = skip_jpeg;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = [](j_decompress_ptr) {};
  reader.info.src = &reader.source;
  reader.progress.progress_monitor = check_scans;
  reader.info.progress = &reader.progress;
}

bool read_jpeg_header(JpegReader& reader, std::string_view bytes) {
  if (setjmp(reader.back) != 0) return false;
  set_up(reader, bytes);
  jpeg_save_markers(&reader.info, kExifMarker, 0xffff);
  jpeg_read_header(&reader.info, TRUE);
  return true;
}

// Inks of a CMYK picture as files have them, which is inverted, to light: Pillow's formula.
void to_light(const uint8_t* inks, uint8_t* rgb, int64_t count) {
  for (int64_t i = 0; i < count; ++i, inks += 4, rgb += 3) {
    const int white = inks[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - inks[c]) * white + 128;
      rgb[c] = static_cast<uint8_t>(white - ((product >> 8) + product) / 256);
    }
  }
}

// `row` has room for four bytes a pixel.
bool read_jpeg_rows(JpegReader& reader, uint8_t* rgb, uint8_t* row) {
  if (setjmp(reader.back) != 0) return false;
  jpeg_decompress_struct& info = reader.info;
  const bool has_inks = info.num_components == 4;
  info.out_color_space = has_inks ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    uint8_t* out = rgb + 3 * static_cast<int64_t>(info.output_scanline) * info.output_width;
    JSAMPROW target = has_inks ? row : out;
    jpeg_read_scanlines(&info, &target, 1);
    if (has_inks) to_light(row, out, info.output_width);
  }
  jpeg_finish_decompress(&info);
  return true;
}

Error error_of(const JpegReader& reader) {
  if (reader.fault == JpegFault::kShort) return broken("JPEG", "the file is cut short");
  if (reader.fault == JpegFault::kScans) {
    return limit_reached("the JPEG picture has more than " + std::to_string(kMaxScans) + " scans");
  }
  return broken("JPEG", reader.message.data());
}

int jpeg_orientation(const JpegReader& reader) {
  using namespace std::string_view_literals;
  for (const jpeg_marker_struct* marker = reader.info.marker_list; marker; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with("Exif\0\0"sv)) return exif_orientation(data);
  }
  return 1;
}

Result<Image> decode_with(JpegReader& reader, std::string_view bytes, const ImageLimits& limits) {
  if (!read_jpeg_header(reader, bytes)) return error_of(reader);
  reader.orientation = jpeg_orientation(reader);  // the markers are gone after the rows
  const int components = reader.info.num_components;
  if (components != 1 && components != 3 && components != 4) {
    return broken("JPEG", std::to_string(components) + " colours; 1, 3 and 4 are read");
  }
  Image image = TRY(blank_image(reader.info.image_width, reader.info.image_height, limits));
  std::string row(static_cast<size_t>(components == 4 ? 4 * image.width : 0), '\0');
  if (!read_jpeg_rows(reader, image.rgb.data(), reinterpret_cast<uint8_t*>(row.data())))
    return error_of(reader);
  return image;
}

}  // namespace

Result<Image> decode_jpeg(std::string_view bytes, const ImageLimits& limits) {
  JpegReader reader;
  Result<Image> image = decode_with(reader, bytes, limits);
  jpeg_destroy_decompress(&reader.info);  // before the picture is there twice
  if (!image.ok()) return image;
  return upright(*std::move(image), reader.orientation);
}

}  // namespace heed
