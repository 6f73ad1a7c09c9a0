// Pictures of strangers, decoded in a child process: a file that takes a decoder over, or makes it hang or
// swell, costs its own request and nothing else.
//
// The child is this program again (posix_spawn; never a fork of a process with threads and gigabytes),
// started with an argument that run_decoder_child() knows. Before it reads the file it gives up everything
// but to compute, allocate and write pixels (sandbox.h), and then it ends. docs/pictures.md shows it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "media/image.h"

namespace heed {

struct ImageDecoderOptions {
  ImageLimits limits;
  std::string program = "/proc/self/exe";  // whose main() calls run_decoder_child()
  double seconds = 10;                     // of the child's life
  int children = 4;                        // at a time; others wait their turn
};

class ImageDecoder {
 public:
  explicit ImageDecoder(ImageDecoderOptions options);
  ~ImageDecoder();
  ImageDecoder(const ImageDecoder&) = delete;
  ImageDecoder& operator=(const ImageDecoder&) = delete;

  // From any thread; blocks, first until a child may be started. JPEG, PNG, WebP, or a GIF's first frame,
  // told apart by content; the pixels are as decode_image.h says. Errors: kInvalid for what is no such
  // picture or stopped its decoder, kLimit for what is too large or takes too long or too much memory, kBusy
  // where processes or descriptors have run out, kUnsupported where there is no decoder to start or no
  // sandbox.
  Result<Image> decode(std::string_view bytes) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// To be called first in main(): where this process was started as a decoder, does that work and ends it, or
// returns the exit status where it was started wrongly.
std::optional<int> run_decoder_child(int argc, char** argv);

}  // namespace heed
