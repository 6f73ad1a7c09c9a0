// Files that are made to break a decoder, put together here or made of sound ones.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"

namespace heed {

struct HostileFile {
  std::string name, bytes;
  // A picture that it must show all the same; "": it must be an error; "?": a picture or an error.
  std::string shows;
};

inline std::string big_endian(uint32_t value, int count = 4) {
  std::string bytes;
  for (int i = count - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i) & 255);
  return bytes;
}
inline std::string little_endian(uint32_t value, int count = 4) {
  const std::string bytes = big_endian(value, count);
  return {bytes.rbegin(), bytes.rend()};
}

inline std::string repeated(const std::string& part, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += part;
  return all;
}

// `bytes` with those at `at` written over.
inline std::string patched(std::string bytes, size_t at, const std::string& with) {
  CHECK(at <= bytes.size() && with.size() <= bytes.size() - at, at, bytes.size());
  return bytes.replace(at, with.size(), with);
}
inline std::string inserted(std::string bytes, size_t at, const std::string& more) {
  return bytes.insert(at, more);
}

inline std::string deflated(const std::string& bytes) {
  uLongf size = ::compressBound(bytes.size());
  std::string out(size, '\0');
  CHECK(::compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
                    bytes.size(), 9) == Z_OK);
  out.resize(size);
  return out;
}

inline std::string png_chunk(const std::string& name, const std::string& data) {
  const std::string body = name + data;
  const uLong sum = ::crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(data.size())) + body + big_endian(static_cast<uint32_t>(sum));
}

inline const std::string kPngBegin = "\x89PNG\r\n\x1a\n";

// Depth and the four bytes after it as given: "\x08\2\0\0\0" is 8-bit RGB.
inline std::string png_header(uint32_t width, uint32_t height, std::string_view rest) {
  return png_chunk("IHDR", big_endian(width) + big_endian(height) + std::string(rest));
}
inline std::string png_of(const std::string& header, const std::string& chunks) {
  return kPngBegin + header + chunks + png_chunk("IEND", "");
}

inline std::string webp_chunk(const std::string& name, const std::string& data) {
  return name + little_endian(static_cast<uint32_t>(data.size())) + data + std::string(data.size() % 2, '\0');
}
inline std::string webp_of(const std::string& chunks) {
  return "RIFF" + little_endian(static_cast<uint32_t>(chunks.size() + 4)) + "WEBP" + chunks;
}

}  // namespace heed
