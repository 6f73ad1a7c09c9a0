#include "media/decoder_child.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <new>
#include <string>

#include "media/decode_image.h"
#include "media/image_decoder.h"
#include "media/sandbox.h"

namespace heed {
namespace {

constexpr int kFailed = 3;  // exit status: the parent is gone

bool receive_all(char* out, size_t count) {
  while (count > 0) {
    const ssize_t got = ::read(STDIN_FILENO, out, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    count -= static_cast<size_t>(got);
  }
  return true;
}

bool send_all(const void* data, size_t count) {
  const char* bytes = static_cast<const char*>(data);
  while (count > 0) {
    const ssize_t sent = ::write(STDOUT_FILENO, bytes, count);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    count -= static_cast<size_t>(sent);
  }
  return true;
}

bool send_error(const Error& error) {
  const std::string message = error.message.substr(0, kMaxDecoderMessage);
  const DecoderAnswer answer{.error = static_cast<int32_t>(error.code),
                             .message_bytes = static_cast<uint32_t>(message.size())};
  return send_all(&answer, sizeof answer) && send_all(message.data(), message.size());
}

bool send_image(const Image& image) {
  const DecoderAnswer answer{.width = image.width, .height = image.height};
  return send_all(&answer, sizeof answer) && send_all(image.rgb.data(), image.rgb.size());
}

bool answer_file(const ImageLimits& limits, const DecodeFunction& decode) {
  int64_t size = 0;
  if (!receive_all(reinterpret_cast<char*>(&size), sizeof size)) return false;
  if (size < 0 || size > limits.bytes) return send_error(limit_reached("the picture's file is too large"));
  try {
    std::string bytes(static_cast<size_t>(size), '\0');
    if (!receive_all(bytes.data(), bytes.size())) return false;
    const Result<Image> image = decode(bytes, limits);
    return image.ok() ? send_image(*image) : send_error(image.error());
  } catch (const std::bad_alloc&) {  // the one exception that a limit of ours brings about
    return send_error(limit_reached("the picture takes too much memory to decode"));
  }
}

std::optional<int64_t> number(const char* text) {
  const std::string_view digits(text);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = error == std::errc{} && end == digits.data() + digits.size() && value > 0;
  return whole ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<int> run_decoder_child_with(int argc, char** argv, const DecodeFunction& decode) {
  if (argc < 2 || std::string_view(argv[1]) != kDecoderArgument) return std::nullopt;
  const auto bytes = number(argc == 5 ? argv[2] : ""), pixels = number(argc == 5 ? argv[3] : ""),
             seconds = number(argc == 5 ? argv[4] : "");
  if (!bytes || !pixels || !seconds) return kFailed;
  const ImageLimits limits{.bytes = *bytes, .pixels = *pixels};
  const Status inside = enter_sandbox({.memory = decoding_memory(limits), .seconds = *seconds});
  const bool told = send_all(kDecoderHello.data(), kDecoderHello.size()) &&
                    (inside.ok() ? answer_file(limits, decode) : send_error(inside.error()));
  // At once: what programs do at their end (destructors, reports of leaks) is not allowed here.
  ::_exit(told ? 0 : kFailed);
}

std::optional<int> run_decoder_child(int argc, char** argv) {
  return run_decoder_child_with(argc, argv, decode_image);
}

}  // namespace heed
