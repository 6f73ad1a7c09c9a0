#include "media/image_decoder.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <semaphore>
#include <span>
#include <vector>

#include "media/child_process.h"
#include "media/decoder_child.h"

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

// What a conversation with the child came to, where it was not carried through.
enum class Talk { kDone, kLeft, kLate, kNonsense };

// Sends and receives at once, for neither side may wait for the other; nothing blocks beyond the deadline.
class Conversation {
 public:
  Conversation(int socket, Clock::time_point deadline) : socket_(socket), deadline_(deadline) {}

  // To be sent from now on, as the child takes it.
  void say(std::string_view bytes) { parts_.push_back(bytes); }

  // Exactly so many bytes from the child.
  Talk hear(void* out, size_t count) {
    char* to = static_cast<char*>(out);
    while (count > 0) {
      const ssize_t got = ::recv(socket_, to, count, MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return Talk::kLeft;
      if (got > 0) {
        to += got;
        count -= static_cast<size_t>(got);
      } else if (const Talk waited = wait(); waited != Talk::kDone) {
        return waited;
      }
    }
    return Talk::kDone;
  }

 private:
  Talk wait() {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    if (left <= 0) return Talk::kLate;
    pollfd ready{socket_, POLLIN, 0};
    if (!parts_.empty()) ready.events |= POLLOUT;
    ::poll(&ready, 1, static_cast<int>(std::min<int64_t>(left + 1, 1000)));
    if ((ready.revents & POLLOUT) != 0) send_some();
    return Talk::kDone;
  }

  void send_some() {
    const ssize_t sent =
        ::send(socket_, parts_.front().data(), parts_.front().size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) parts_.front().remove_prefix(static_cast<size_t>(sent));
    // A child that takes no more may have said why.
    if (sent < 0 && errno != EAGAIN && errno != EINTR) parts_.clear();
    if (!parts_.empty() && parts_.front().empty()) parts_.erase(parts_.begin());
  }

  int socket_;
  Clock::time_point deadline_;
  std::vector<std::string_view> parts_;  // what is still to be sent
};

// A child that was taken over may say anything.
std::string as_one_line(std::string text) {
  for (char& c : text) c = c >= ' ' && c <= '~' ? c : '?';
  return text;
}

Talk hear_error(Conversation& talk, const DecoderAnswer& answer, Error& error) {
  const bool is_sane = answer.error >= 0 && answer.error <= static_cast<int32_t>(ErrorCode::kStopped) &&
                       answer.message_bytes <= kMaxDecoderMessage;
  if (!is_sane) return Talk::kNonsense;
  error.code = static_cast<ErrorCode>(answer.error);
  error.message.resize(answer.message_bytes);
  const Talk heard = talk.hear(error.message.data(), error.message.size());
  error.message = as_one_line(std::move(error.message));
  return heard;
}

Talk hear_image(Conversation& talk, const DecoderAnswer& answer, const ImageLimits& limits, Image& image) {
  const bool is_sane =
      answer.width >= 1 && answer.height >= 1 && answer.width <= limits.pixels / answer.height;
  if (!is_sane) return Talk::kNonsense;
  image.width = answer.width, image.height = answer.height;
  image.rgb.resize(3 * static_cast<size_t>(answer.width) * static_cast<size_t>(answer.height));
  return talk.hear(image.rgb.data(), image.rgb.size());
}

// One of the children that may be at a time.
class Place {
 public:
  explicit Place(std::counting_semaphore<>& places) : places_(places) { places_.acquire(); }
  ~Place() { places_.release(); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  std::counting_semaphore<>& places_;
};

bool was_started_as_decoder() {
  std::ifstream file("/proc/self/cmdline");
  std::string program, argument;
  std::getline(file, program, '\0');
  std::getline(file, argument, '\0');
  return argument == kDecoderArgument;
}

}  // namespace

struct ImageDecoder::Parts {
  explicit Parts(ImageDecoderOptions how) : options(std::move(how)), places(options.children) {}
  Result<Image> decode(std::string_view bytes);
  Error failure(Talk talk, ChildProcess& child, bool has_greeted) const;

  ImageDecoderOptions options;
  std::counting_semaphore<> places;
  // A main() that does not call run_decoder_child() would run all of our caller again, and that start
  // another.
  bool is_child = was_started_as_decoder();
};

Error ImageDecoder::Parts::failure(Talk talk, ChildProcess& child, bool has_greeted) const {
  if (talk == Talk::kLate) {
    return limit_reached("the picture could not be decoded within " +
                         std::to_string(std::llround(options.seconds)) + " seconds");
  }
  if (talk == Talk::kNonsense && !has_greeted) {
    return unsupported("pictures cannot be decoded: main() of " + options.program +
                       " does not begin with run_decoder_child()");
  }
  if (talk == Talk::kNonsense)
    return invalid("the picture could not be decoded: the decoder answered nonsense");
  return invalid("the picture could not be decoded: the decoder was " + child.end());
}

Result<Image> ImageDecoder::Parts::decode(std::string_view bytes) {
  const auto seconds = std::chrono::duration<double>(options.seconds);
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(seconds);
  const std::vector<std::string> arguments = {
      "heed", kDecoderArgument, std::to_string(options.limits.bytes), std::to_string(options.limits.pixels),
      std::to_string(static_cast<int64_t>(std::ceil(options.seconds)) + 1)};
  ChildProcess child = TRY(ChildProcess::start(options.program, arguments));
  Conversation talk(child.socket(), deadline);
  std::array<char, kDecoderHello.size()> hello = {};
  Talk heard = talk.hear(hello.data(), hello.size());
  if (heard == Talk::kDone && hello != kDecoderHello) heard = Talk::kNonsense;
  if (heard != Talk::kDone) return failure(heard, child, false);

  const auto size = static_cast<int64_t>(bytes.size());
  talk.say({reinterpret_cast<const char*>(&size), sizeof size});
  talk.say(bytes);
  DecoderAnswer answer;
  heard = talk.hear(&answer, sizeof answer);
  Image image;
  Error error;
  if (heard == Talk::kDone) {
    heard = answer.error == -1 ? hear_image(talk, answer, options.limits, image)
                               : hear_error(talk, answer, error);
  }
  if (heard != Talk::kDone) return failure(heard, child, true);
  if (answer.error != -1) return error;
  return image;
}

ImageDecoder::ImageDecoder(ImageDecoderOptions options)
    : parts_(std::make_unique<Parts>(std::move(options))) {}
ImageDecoder::~ImageDecoder() = default;

Result<Image> ImageDecoder::decode(std::string_view bytes) const {
  Parts& parts = *parts_;
  if (parts.is_child)
    return unsupported("pictures cannot be decoded: main() does not begin with run_decoder_child()");
  if (static_cast<int64_t>(bytes.size()) > parts.options.limits.bytes) {
    return limit_reached("the picture's file has " + std::to_string(bytes.size()) + " bytes; at most " +
                         std::to_string(parts.options.limits.bytes) + " are accepted");
  }
  const Place place(parts.places);
  return parts.decode(bytes);
}

}  // namespace heed
