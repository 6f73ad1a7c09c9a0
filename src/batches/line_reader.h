// The lines of a regular file of any size, one at a time, in bounded memory.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "batches/descriptor.h"

namespace heed {

class LineReader {
 public:
  struct Line {
    std::string_view text;    // without its line break; valid until the next call
    int64_t begin = 0;        // in bytes from the start of the file
    bool too_long = false;    // longer than the limit: `text` is empty
    bool has_newline = true;  // false only for a last line that lacks it
  };

  // Lines longer than max_line_bytes are told, but never held.
  static Result<LineReader> open(const std::string& path, int64_t max_line_bytes);

  // The next line; nothing at the end of the file.
  Result<std::optional<Line>> next();

 private:
  LineReader(std::string path, Descriptor file, int64_t max_line_bytes)
      : path_(std::move(path)), file_(std::move(file)), max_line_bytes_(max_line_bytes) {}
  Result<bool> fill();

  std::string path_;
  Descriptor file_;
  int64_t max_line_bytes_;
  std::string buffer_;  // of the file; what stands before at_ has been given out
  size_t at_ = 0;
  int64_t offset_ = 0;  // of buffer_[at_] in the file
};

}  // namespace heed
