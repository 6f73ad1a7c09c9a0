// Files that are made to break a decoder: each is an error of one line or a right picture, in time, in a
// child whose memory is bounded.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <vector>

#include "media/decode_image.h"
#include "media/image_decoder.h"
#include "tests/media/hostile_files.h"
#include "tests/media/pictures.h"

namespace heed {
namespace {

using namespace std::string_literals;
using Files = std::vector<HostileFile>;

constexpr int64_t kPixels = 4 << 20;
const std::string kError, kAny = "?";

// JPEG ------------------------------------------------------------------------------------------------------

std::string jpeg_segment(char marker, const std::string& data) {
  return "\xff"s + marker + big_endian(static_cast<uint32_t>(data.size() + 2), 2) + data;
}

// A frame header is FF C0, length (2), precision, height (2), width (2), number of colours, 3 bytes for each.
Files jpegs_with_odd_frames() {
  const std::string good = picture("rgb420.jpg"), progressive = picture("progressive.jpg");
  const size_t frame = good.find("\xff\xc0"), scan = good.find("\xff\xda"),
               wide = progressive.find("\xff\xc2");
  const std::string huge = big_endian(65535, 2);
  return {{"bomb of 65535 x 65535", patched(good, frame + 5, huge + huge), kError},
          {"bomb of 65500 x 65500", patched(good, frame + 5, big_endian(65500, 2) + big_endian(65500, 2)),
           kError},
          {"progressive bomb", patched(progressive, wide + 5, huge + huge), kError},
          {"2000 x 2000 of which little is there", patched(good, frame + 5, "\x07\xd0\x07\xd0"), kAny},
          {"progressive 2000 x 2000 of which little is there",
           patched(progressive, wide + 5, "\x07\xd0\x07\xd0"), kAny},
          {"65500 x 1", patched(good, frame + 5, "\0\1"s + big_endian(65500, 2)), kAny},
          {"1 x 65500", patched(good, frame + 5, big_endian(65500, 2) + "\0\1"s), kAny},
          {"no height", patched(good, frame + 5, "\0\0"s), kError},
          {"no width", patched(good, frame + 7, "\0\0"s), kError},
          {"12 bits", patched(good, frame + 4, "\x0c"), kError},
          {"no colours", patched(good, frame + 9, "\0"s), kError},
          {"two colours", patched(good, frame + 9, "\2"), kError},
          {"255 colours", patched(good, frame + 9, "\xff"), kError},
          {"sampling of 0", patched(good, frame + 11, "\0"s), kError},
          {"sampling of 15", patched(good, frame + 11, "\xff"), kError},
          {"sampling of 4 x 4", patched(good, frame + 11, "\x44"), kAny},
          {"a table that is not there", patched(good, frame + 12, "\3"), kError},
          {"colours of one name", patched(good, frame + 13, "\1"), kAny},
          {"arithmetic coding", patched(good, frame + 1, "\xc9"), kAny},
          {"lossless", patched(good, frame + 1, "\xc3"), kError},
          {"hierarchical", patched(good, frame + 1, "\xc5"), kError},
          {"two frames", inserted(good, scan, good.substr(frame, 19)), kError},
          {"no frame", good.substr(0, frame) + good.substr(scan), kError},
          {"no scan", good.substr(0, scan) + "\xff\xd9", kError},
          {"a scan of colours that are not there", patched(good, scan + 5, "\7"), kError}};
}

Files jpegs_with_odd_segments() {
  const std::string good = picture("rgb420.jpg"), progressive = picture("progressive.jpg");
  const size_t scan = good.find("\xff\xda"), huffman = good.find("\xff\xc4"), quantum = good.find("\xff\xdb");
  const size_t first = progressive.find("\xff\xda"), second = progressive.find("\xff\xc4", first);
  const std::string pass = progressive.substr(first, second - first);
  return {
      {"begins and ends", "\xff\xd8\xff\xd9", kError},
      {"begins", "\xff\xd8\xff", kError},
      {"begins often", repeated("\xff\xd8", 5000) + good, kError},
      {"5000 scans", inserted(progressive, first, repeated(pass, 5000)), kError},
      {"50 scans more", inserted(progressive, first, repeated(pass, 50)), kAny},
      {"a million fill bytes", inserted(good, scan, repeated("\xff", 1000000)), "rgb420.jpg"},
      {"20,000 comments", inserted(good, scan, repeated(jpeg_segment('\xfe', "x"), 20000)), "rgb420.jpg"},
      {"EXIF of garbage", inserted(good, 2, jpeg_segment('\xe1', "Exif\0\0II*\0\xff\xff\xff\x7f"s)),
       "rgb420.jpg"},
      {"EXIF with 65535 entries",
       inserted(good, 2,
                jpeg_segment('\xe1', "Exif\0\0II*\0\x08\0\0\0\xff\xff"s + repeated("\x12\1", 30000))),
       "rgb420.jpg"},
      {"500 times EXIF",
       inserted(good, 2, repeated(jpeg_segment('\xe1', "Exif\0\0"s + std::string(60000, 'x')), 500)), kAny},
      {"a profile of garbage",
       inserted(good, 2, jpeg_segment('\xe2', "ICC_PROFILE\0\1\xff"s + std::string(60000, 'x'))),
       "rgb420.jpg"},
      {"a segment beyond the end", inserted(good, 2, "\xff\xe1\xff\xff"), kError},
      {"a segment of no length", inserted(good, 2, "\xff\xe1\0\0"s), kAny},
      {"codes of garbage", patched(good, huffman + 5, std::string(16, '\xff')), kError},
      {"codes that are not there", good.substr(0, huffman) + good.substr(scan), kAny},
      {"a table of garbage", patched(good, quantum + 4, "\xff"), kError},
      {"restarts that do not come", inserted(good, scan, jpeg_segment('\xdd', "\0\1"s)), kAny},
      {"restarts all over", inserted(good, scan + 20, repeated("\xff\xd0", 10000)), kAny},
      {"zeros for data", good.substr(0, scan + 14) + std::string(100000, '\0') + "\xff\xd9", kAny},
      {"noise for data", good.substr(0, scan + 14) + repeated("\x5a\xc3\x91", 50000) + "\xff\xd9", kAny},
      {"no end", good.substr(0, good.size() - 2), kError}};
}

// PNG -------------------------------------------------------------------------------------------------------

constexpr std::string_view kRgb("\x08\x02\0\0\0", 5), kRgba16("\x10\x06\0\0\0", 5),
    kPalette("\x08\3\0\0\0", 5);

// 2 x 1 pixels.
const std::string kTwoPixels = png_chunk("IDAT", deflated("\0abcdef"s));
std::string png_with(const std::string& chunks) { return png_of(png_header(2, 1, kRgb), chunks); }

Files pngs_with_odd_headers() {
  const auto headed = [](uint32_t width, uint32_t height, std::string_view rest) {
    return png_of(png_header(width, height, rest), kTwoPixels);
  };
  const std::string good = picture("filters.png");
  return {
      {"bomb of 65535 x 65535",
       png_of(png_header(65535, 65535, kRgba16), png_chunk("IDAT", deflated(std::string(10 << 20, '\0')))),
       kError},
      {"bomb of 2^31 - 1 squared", headed(0x7fffffff, 0x7fffffff, kRgba16), kError},
      {"interlaced bomb", headed(65535, 65535, {"\x10\x06\0\0\1", 5}), kError},
      {"2^32 - 1 wide", headed(0xffffffff, 1, kRgb), kError},
      {"no width", headed(0, 1, kRgb), kError},
      {"no height", headed(1, 0, kRgb), kError},
      {"4 million x 1", headed(4000000, 1, kRgb), kError},
      {"3 bits", headed(2, 1, {"\x03\x02\0\0\0", 5}), kError},
      {"colour type 5", headed(2, 1, {"\x08\x05\0\0\0", 5}), kError},
      {"palette of 16 bits", headed(2, 1, {"\x10\3\0\0\0", 5}), kError},
      {"compression 1", headed(2, 1, {"\x08\x02\1\0\0", 5}), kError},
      {"filter method 1", headed(2, 1, {"\x08\x02\0\1\0", 5}), kError},
      {"interlace 2", headed(2, 1, {"\x08\x02\0\0\2", 5}), kError},
      {"a wrong sum", patched(good, 29, "xxxx"), kError},
      {"two headers", png_of(png_header(2, 1, kRgb) + png_header(2, 1, kRgb), kTwoPixels), kError},
      {"another chunk first", kPngBegin + png_chunk("tEXt", "a\0b"s) + good.substr(8), "filters.png"},
      {"a header of 14 bytes",
       kPngBegin + png_chunk("IHDR", big_endian(2) + big_endian(1) + std::string(kRgb) + "x") + kTwoPixels,
       kError},
      {"only a beginning", kPngBegin, kError}};
}

Files pngs_with_odd_chunks() {
  const std::string good = picture("filters.png");
  const std::string bomb = deflated(std::string(20 << 20, '\0'));
  const auto early = [&](const std::string& chunks) { return inserted(good, 33, chunks); };
  return {
      {"a text of 20 MB", early(png_chunk("zTXt", "k\0\0"s + bomb)), "filters.png"},
      {"a profile of 20 MB", early(png_chunk("iCCP", "p\0\0"s + bomb)), "filters.png"},
      {"an international text of 20 MB", early(png_chunk("iTXt", "k\0\1\0\0\0"s + bomb)), "filters.png"},
      {"a text after the picture", inserted(good, good.size() - 12, png_chunk("zTXt", "k\0\0"s + bomb)),
       "filters.png"},
      {"30,000 texts", early(repeated(png_chunk("tEXt", "k\0v"s), 30000)), "filters.png"},
      {"30,000 unknown chunks", early(repeated(png_chunk("quUx", "x"), 30000)), "filters.png"},
      {"an unknown chunk that matters", early(png_chunk("QUUX", "x")), kError},
      {"a length of 2^32 - 1", early("\xff\xff\xff\xfftEXt"), kError},
      {"a length of 2^31 - 1", early("\x7f\xff\xff\xfftEXt"), kError},
      {"a length of 2^31 - 1 of data", good.substr(0, 33) + "\x7f\xff\xff\xffIDAT" + good.substr(41), kError},
      {"EXIF of garbage", early(png_chunk("eXIf", "MM\0*\xff\xff\xff\xff"s)), "filters.png"},
      {"EXIF of 7 MB", early(png_chunk("eXIf", "II*\0\x08\0\0\0"s + std::string(7 << 20, '\1'))),
       "filters.png"},
      {"EXIF of nothing", early(png_chunk("eXIf", "")), kAny},
      {"1000 times EXIF", early(repeated(png_chunk("eXIf", "II*\0\x08\0\0\0\1\0"s), 1000)), "filters.png"},
      {"an animation of garbage", early(png_chunk("acTL", "x") + png_chunk("fcTL", "x")), "filters.png"},
      {"no data", png_with(""), kError},
      {"empty data", png_with(repeated(png_chunk("IDAT", ""), 30000)), kError},
      {"empty data before data", png_with(repeated(png_chunk("IDAT", ""), 30000) + kTwoPixels), kAny},
      {"garbage for data", png_with(png_chunk("IDAT", std::string(1000, 'x'))), kError},
      {"too little data", png_with(png_chunk("IDAT", deflated("\0abc"s))), kError},
      {"20 MB too much data", png_with(png_chunk("IDAT", bomb)), kAny},
      {"a wrong sum of data", patched(good, good.size() - 16, "xxxx"), kError},
      {"a filter that there is not", png_with(png_chunk("IDAT", deflated("\5abcdef"s))), kError},
      {"no palette", png_of(png_header(2, 1, kPalette), png_chunk("IDAT", deflated("\0ab"s))), kError},
      {"a palette of 257",
       png_of(png_header(2, 1, kPalette),
              png_chunk("PLTE", std::string(771, 'x')) + png_chunk("IDAT", deflated("\0ab"s))),
       kError},
      {"a palette of 4 bytes",
       png_of(png_header(2, 1, kPalette), png_chunk("PLTE", "abcd") + png_chunk("IDAT", deflated("\0ab"s))),
       kError},
      {"two palettes",
       png_of(png_header(2, 1, kPalette),
              repeated(png_chunk("PLTE", "abc"), 2) + png_chunk("IDAT", deflated("\0\0\0"s))),
       kAny},
      {"no end", good.substr(0, good.size() - 12), kError}};
}

// WebP ------------------------------------------------------------------------------------------------------

// Flags, then the canvas.
std::string canvas(char flags, uint32_t width, uint32_t height) {
  return webp_chunk("VP8X", flags + "\0\0\0"s + little_endian(width - 1, 3) + little_endian(height - 1, 3));
}
std::string frame_at(uint32_t x, uint32_t y, uint32_t width, uint32_t height, const std::string& bitstream) {
  return webp_chunk("ANMF", little_endian(x / 2, 3) + little_endian(y / 2, 3) + little_endian(width - 1, 3) +
                                little_endian(height - 1, 3) + little_endian(100, 3) + "\0"s + bitstream);
}

Files hostile_webps() {
  const std::string lossy = picture("lossy.webp"), lossless = picture("lossless.webp");  // 19 x 13
  const std::string vp8 = lossy.substr(12), vp8l = lossless.substr(12);
  const std::string loop = webp_chunk("ANIM", std::string(6, '\0'));
  return {
      {"bomb of 65535 x 65535", webp_of(canvas(2, 65535, 65535) + loop + frame_at(0, 0, 19, 13, vp8l)),
       kError},
      {"a canvas of 2^24 squared", webp_of(canvas(2, 1 << 24, 1 << 24) + loop + frame_at(0, 0, 19, 13, vp8l)),
       kError},
      {"a canvas for another picture", webp_of(canvas(0, 2000, 2000) + vp8l), kError},
      {"a lossy bomb", patched(lossy, 26, "\xff\x3f\xff\x3f"), kError},
      {"a lossless bomb", patched(lossless, 21, "\xff\xff\xff\x0f"), kError},
      {"lossy, 2000 x 2000 of which little is there", patched(lossy, 26, "\xd0\x07\xd0\x07"), kError},
      {"lossless, 1024 x 4096 of which little is there", patched(lossless, 21, "\xff\xc3\xff\x03"), kError},
      {"no width", patched(lossy, 26, "\0\0"s), kError},
      {"a length of 2^32 - 1", patched(lossy, 4, "\xff\xff\xff\xff"), kError},
      {"no length", patched(lossy, 4, "\0\0\0\0"s), kError},
      {"a chunk's length of 2^32 - 1", patched(lossy, 16, "\xff\xff\xff\xff"), kError},
      {"an unknown chunk's length of 2^32 - 1", webp_of(canvas(0, 19, 13) + "quux\xff\xff\xff\xff" + vp8l),
       kError},
      {"30,000 unknown chunks", webp_of(canvas(0, 19, 13) + repeated(webp_chunk("quux", "x"), 30000) + vp8l),
       "lossless.webp"},
      {"EXIF of garbage", webp_of(canvas(8, 19, 13) + vp8l + webp_chunk("EXIF", "MM\0*\xff\xff\xff\xff"s)),
       "lossless.webp"},
      {"EXIF of nothing", webp_of(canvas(8, 19, 13) + vp8l + webp_chunk("EXIF", "")), "lossless.webp"},
      {"EXIF announced", webp_of(canvas(8, 19, 13) + vp8l), "lossless.webp"},
      {"a profile of garbage",
       webp_of(canvas(32, 19, 13) + webp_chunk("ICCP", std::string(1 << 20, 'x')) + vp8l), "lossless.webp"},
      {"transparency of garbage",
       webp_of(canvas(16, 19, 13) + webp_chunk("ALPH", std::string(500, 'x')) + vp8), kAny},
      {"an animation without frames", webp_of(canvas(2, 19, 13) + loop), kError},
      {"a frame beyond the canvas", webp_of(canvas(2, 19, 13) + loop + frame_at(2, 0, 19, 13, vp8l)), kError},
      {"a frame of another size", webp_of(canvas(2, 190, 130) + loop + frame_at(0, 0, 190, 130, vp8l)), kAny},
      {"a frame without a picture", webp_of(canvas(2, 19, 13) + loop + frame_at(0, 0, 19, 13, "")), kError},
      {"10,000 frames", webp_of(canvas(2, 19, 13) + loop + repeated(frame_at(0, 0, 19, 13, vp8l), 10000)),
       "lossless.webp"},
      {"codes of garbage", patched(lossless, 40, std::string(60, '\xff')), kError},
      {"two pictures", webp_of(vp8l + vp8), kAny},
      {"no picture", webp_of(""), kError},
      {"a PNG inside", webp_of(webp_chunk("VP8 ", picture("filters.png"))), kError}};
}

// GIF -------------------------------------------------------------------------------------------------------

std::string gif_head(uint32_t width, uint32_t height, const std::string& palette = "\x80\0\0abcdef"s) {
  return "GIF89a" + little_endian(width, 2) + little_endian(height, 2) + palette;
}
std::string gif_frame(uint32_t x, uint32_t y, uint32_t width, uint32_t height, const std::string& data) {
  return "," + little_endian(x, 2) + little_endian(y, 2) + little_endian(width, 2) +
         little_endian(height, 2) + "\0"s + data;
}
// Of four pixels: codes of 3, later 4 bits: 4 clears, 0 1 0 1, 5 ends.
const std::string kFourPixels = "\2\3\x44\x10\5\0"s;

Files hostile_gifs() {
  const std::string frame = gif_frame(0, 0, 2, 2, kFourPixels);
  const std::string good = picture("plain.gif");
  const auto in_2x2 = [&](const std::string& rest) { return gif_head(2, 2) + rest; };
  const std::string garbage = "\x08\xff"s + std::string(255, 'x');
  return {
      {"bomb of 65535 x 65535", gif_head(65535, 65535) + frame + ";", kError},
      {"a frame of 65535 x 65535", in_2x2(gif_frame(0, 0, 65535, 65535, kFourPixels)), kError},
      {"a frame far out", in_2x2(gif_frame(65535, 65535, 2, 2, kFourPixels)), kError},
      {"2000 x 2000 of which little is there",
       gif_head(2000, 2000) + gif_frame(0, 0, 2000, 2000, kFourPixels), kError},
      {"an empty frame", in_2x2(gif_frame(0, 0, 0, 0, kFourPixels)), kError},
      {"no frame", in_2x2(";"), kError},
      {"nothing behind the head", in_2x2(""), kError},
      {"10,000 frames and no end", good.substr(0, good.size() - 1) + repeated(frame, 10000), "plain.gif"},
      {"garbage behind the first frame", good.substr(0, good.size() - 1) + std::string(1000, 'x'),
       "plain.gif"},
      {"garbage for frames", in_2x2(std::string(100000, 'x')), kError},
      {"codes of 0 bits", in_2x2(gif_frame(0, 0, 2, 2, "\0\3\x44\x10\5\0"s)), kAny},
      {"codes of 9 bits", in_2x2(gif_frame(0, 0, 2, 2, "\x09\3\x44\x10\5\0"s)), kError},
      {"codes of 255 bits", in_2x2(gif_frame(0, 0, 2, 2, "\xff\3\x44\x10\5\0"s)), kError},
      {"codes of garbage", gif_head(500, 500) + gif_frame(0, 0, 500, 500, repeated(garbage, 2000) + "\0"s),
       kAny},
      {"codes that only clear",
       gif_head(500, 500) +
           gif_frame(0, 0, 500, 500, "\2"s + repeated("\xff"s + repeated("\x24\x49\x92", 85), 1000) + "\0"s),
       kError},
      {"too few pixels", gif_head(3, 3) + gif_frame(0, 0, 3, 3, kFourPixels), kError},
      {"data without an end", in_2x2(gif_frame(0, 0, 2, 2, "\2\3\x44\x10\5")), kError},
      {"comments of 5 MB", in_2x2("!\xfe" + repeated("\xff" + std::string(255, 'x'), 20000) + "\0"s + frame),
       kAny},
      {"a comment without an end", in_2x2("!\xfe" + repeated("\xff" + std::string(255, 'x'), 20000)), kError},
      {"50,000 extensions", in_2x2(repeated("!\xfe\1x\0"s, 50000) + frame), kAny},
      {"a control block of one byte", in_2x2("!\xf9\1\1\0"s + frame), kAny},
      {"a control block of 255 bytes", in_2x2("!\xf9\xff" + std::string(255, '\xff') + "\0"s + frame), kAny},
      {"a palette that is cut short", gif_head(2, 2, "\xf7\0\0abcdef"s), kError},
      {"GIF88a", patched(good, 4, "8"), kError}};
}

// Others ----------------------------------------------------------------------------------------------------

Files other_files() {
  const std::string jpeg = picture("rgb420.jpg"), png = picture("filters.png"), gif = picture("plain.gif");
  const std::string zip = "PK\3\4" + std::string(1000, 'x') + "PK\5\6" + std::string(18, '\0');
  return {{"nothing", "", kError},
          {"one byte", "\xff", kError},
          {"zeros", std::string(1 << 20, '\0'), kError},
          {"text", "a picture, I promise", kError},
          {"HTML", "<!DOCTYPE html><img src=x onerror=alert(1)>", kError},
          {"SVG", "<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", kError},
          {"BMP", "BM" + std::string(100, '\0'), kError},
          {"TIFF", "II*\0\x08\0\0\0"s + std::string(100, '\0'), kError},
          {"AVIF", "\0\0\0\x1c"s + "ftypavif" + std::string(100, '\0'), kError},
          {"PDF", "%PDF-1.7\n", kError},
          {"PostScript", "%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n", kError},
          {"ImageMagick's script",
           "push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/'\npop graphic-context", kError},
          {"another RIFF", "RIFF\x24\0\0\0WAVEfmt "s + std::string(100, '\0'), kError},
          {"RIFF only", "RIFF", kError},
          {"a JPEG that is a PNG behind", "\xff\xd8\xff" + png, kError},
          {"a GIF that is a JPEG behind", "GIF89a" + jpeg, kError},
          {"a PNG that is a GIF behind", kPngBegin + gif, kError},
          {"a JPEG and an archive", jpeg + zip, "rgb420.jpg"},
          {"a PNG and a JPEG", png + jpeg, "filters.png"},
          {"a GIF and a script", gif + "*/=1;alert(1)", "plain.gif"},
          {"a page in a comment", inserted(jpeg, 2, jpeg_segment('\xfe', "<script>alert(1)</script>")),
           "rgb420.jpg"},
          {"lower case", "gif89a" + gif.substr(6), kError}};
}

void expect_harmless(const HostileFile& file, const ImageDecoder& decoder) {
  SCOPED_TRACE(file.name);
  const auto begin = std::chrono::steady_clock::now();
  const auto image = decoder.decode(file.bytes);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 5);
  if (image.ok()) {
    EXPECT_NE(file.shows, kError);
    EXPECT_LE(int64_t{image->width} * image->height, kPixels);
    EXPECT_EQ(image->rgb.size(), static_cast<size_t>(3) * image->width * image->height);
    if (file.shows == kAny || file.shows == kError) return;
    EXPECT_EQ(image->rgb, decode_image(picture(file.shows), {})->rgb);
    return;
  }
  const std::string& message = image.error().message;
  EXPECT_TRUE(file.shows == kError || file.shows == kAny) << message;
  EXPECT_TRUE(!message.empty() && message.find('\n') == std::string::npos) << message;
  // The decoders deal with all of these themselves: none is stopped by the sandbox.
  EXPECT_EQ(message.find("decoder was stopped"), std::string::npos) << message;
  EXPECT_EQ(message.find("seconds"), std::string::npos) << message;
  EXPECT_TRUE(image.error().code == ErrorCode::kInvalid || image.error().code == ErrorCode::kLimit);
}

TEST(HostileFiles, are_errors_of_one_line_or_right_pictures) {
  const ImageDecoder decoder({.limits = {.pixels = kPixels}});
  size_t count = 0;
  for (const Files& files : {jpegs_with_odd_frames(), jpegs_with_odd_segments(), pngs_with_odd_headers(),
                             pngs_with_odd_chunks(), hostile_webps(), hostile_gifs(), other_files()}) {
    for (const HostileFile& file : files) expect_harmless(file, decoder);
    count += files.size();
  }
  EXPECT_GE(count, 150);
}

TEST(HostileFiles, changed_anywhere_stay_harmless) {
  std::mt19937 random(20);
  for (const std::string& name : picture_names()) {
    SCOPED_TRACE(name);
    const std::string good = picture(name);
    for (int i = 0; i < 40; ++i) {
      std::string bad = good;
      for (int changes = 1 + i % 4; changes > 0; --changes)
        bad[random() % bad.size()] = static_cast<char>(random());
      const auto image = decode_image(bad, {.pixels = 1 << 16});
      if (image.ok()) {
        EXPECT_EQ(image->rgb.size(), static_cast<size_t>(3) * image->width * image->height);
      } else {
        EXPECT_EQ(image.error().message.find('\n'), std::string::npos);
      }
    }
  }
}

}  // namespace
}  // namespace heed
