// The child's side of image_decoder.h, and what the two sides say to each other over a socket, which is the
// child's standard input and output: from the child 8 bytes once its sandbox is in force; to it the number of
// the file's bytes (8 bytes) and these; from it an answer, which says how many pixels or letters follow.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/result.h"
#include "media/image.h"

namespace heed {

inline constexpr const char* kDecoderArgument = "--heed-decodes-pictures";
inline constexpr std::array<char, 8> kDecoderHello = {'h', 'e', 'e', 'd', 'p', 'i', 'c', '1'};
inline constexpr uint32_t kMaxDecoderMessage = 300;  // bytes

struct DecoderAnswer {
  int32_t error = -1;             // an ErrorCode, or -1: a picture
  int32_t width = 0, height = 0;  // of the picture; then come its bytes
  uint32_t message_bytes = 0;     // of the error's message, which comes then
};
static_assert(std::is_trivially_copyable_v<DecoderAnswer> && sizeof(DecoderAnswer) == 16);

using DecodeFunction = std::function<Result<Image>(std::string_view bytes, const ImageLimits& limits)>;

// run_decoder_child() with another decoder: tests have some that misbehave.
std::optional<int> run_decoder_child_with(int argc, char** argv, const DecodeFunction& decode);

}  // namespace heed
