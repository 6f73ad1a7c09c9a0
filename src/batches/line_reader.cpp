#include "batches/line_reader.h"

#include <unistd.h>

#include <cerrno>

namespace heed {
namespace {

constexpr size_t kChunk = 256 << 10;

}  // namespace

Result<LineReader> LineReader::open(const std::string& path, int64_t max_line_bytes) {
  Descriptor file = TRY(open_for_reading(path));
  return LineReader(path, std::move(file), max_line_bytes);
}

// False at the end of the file.
Result<bool> LineReader::fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  const size_t filled = buffer_.size();
  buffer_.resize(filled + kChunk);
  ssize_t got = 0;
  do {
    got = ::read(file_.fd(), buffer_.data() + filled, kChunk);
  } while (got < 0 && errno == EINTR);
  const int error_number = errno;
  buffer_.resize(filled + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) return system_error(path_, error_number);
  return got > 0;
}

Result<std::optional<LineReader::Line>> LineReader::next() {
  Line line;
  line.begin = offset_;
  const auto limit = static_cast<size_t>(max_line_bytes_);
  size_t searched = at_;
  for (;;) {
    const size_t newline = buffer_.find('\n', searched);
    if (newline != std::string::npos) {
      line.too_long = line.too_long || newline - at_ > limit;
      if (!line.too_long) line.text = std::string_view(buffer_).substr(at_, newline - at_);
      offset_ += static_cast<int64_t>(newline + 1 - at_);
      at_ = newline + 1;
      return std::optional(line);
    }
    if (buffer_.size() - at_ > limit) {  // forget it as it comes
      line.too_long = true;
      offset_ += static_cast<int64_t>(buffer_.size() - at_);
      at_ = buffer_.size();
    }
    const size_t held = buffer_.size() - at_;
    if (TRY(fill())) {
      searched = held;
      continue;
    }
    offset_ += static_cast<int64_t>(held);
    at_ = buffer_.size();
    if (held == 0 && !line.too_long) return std::optional<Line>();
    line.has_newline = false;
    if (!line.too_long) line.text = std::string_view(buffer_).substr(at_ - held);
    return std::optional(line);
  }
}

}  // namespace heed
