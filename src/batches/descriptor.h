// Files by their descriptors: the few calls of the operating system that crash safety rests on.
//
// Errors name the path. A full disk (also a quota or a limit on the size of files) is ErrorCode::kLimit, a
// file that is missing kNotFound, everything else kInvalid.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace heed {

// Owns an open file; -1: none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  int fd() const { return fd_; }

 private:
  int fd_;
};

// The error that errno stands for.
Error system_error(const std::string& path, int error_number);

// A regular file, for reading.
Result<Descriptor> open_for_reading(const std::string& path);

// A regular file, created if it is missing, that no one else has open through this function.
Result<Descriptor> open_locked(const std::string& path);

// All of it at `offset`, or an error; what a failed write has left there is not defined.
Status write_at(const Descriptor& file, const std::string& path, int64_t offset, std::string_view bytes);

Status sync_file(const Descriptor& file, const std::string& path);
// After it, files created in, renamed in or removed from the folder stay so.
Status sync_folder(const std::string& folder);

// Replaces a file's content in one step: after a crash at any point there is the old or the new, whole.
// Writes `path`.tmp on the way, in the same folder.
Status replace_file(const std::string& path, std::string_view bytes);

// How the names of records end, and of those whose replacement was cut short.
inline constexpr std::string_view kRecord = ".json";
inline constexpr std::string_view kUnfinishedRecord = ".json.tmp";

}  // namespace heed
