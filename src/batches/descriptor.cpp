#include "batches/descriptor.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace heed {
namespace {

constexpr int kPrivate = 0600;  // prompts and answers are nobody else's

Status check_regular(const Descriptor& file, const std::string& path) {
  struct stat info {};
  if (::fstat(file.fd(), &info) != 0) return system_error(path, errno);
  if (!S_ISREG(info.st_mode)) return invalid(path + ": not a regular file");
  return {};
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Error system_error(const std::string& path, int error_number) {
  const std::string message = path + ": " + std::strerror(error_number);
  if (error_number == ENOENT) return not_found(message);
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG)
    return limit_reached(message);
  return invalid(message);
}

Result<Descriptor> open_for_reading(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe is no hang
  if (file.fd() < 0) return system_error(path, errno);
  TRY(check_regular(file, path));
  return file;
}

Result<Descriptor> open_locked(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, kPrivate));
  if (file.fd() < 0) return system_error(path, errno);
  TRY(check_regular(file, path));
  if (::flock(file.fd(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno == EWOULDBLOCK) return busy(path + ": in use by another process");
  return system_error(path, errno);
}

Status write_at(const Descriptor& file, const std::string& path, int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file.fd(), bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error(path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return {};
}

Status sync_file(const Descriptor& file, const std::string& path) {
  while (::fsync(file.fd()) != 0) {
    if (errno != EINTR) return system_error(path, errno);
  }
  return {};
}

Status sync_folder(const std::string& folder) {
  const Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.fd() < 0) return system_error(folder, errno);
  return sync_file(file, folder);
}

Status replace_file(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  const auto write = [&]() -> Status {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kPrivate));
    if (file.fd() < 0) return system_error(temporary, errno);
    TRY(write_at(file, temporary, 0, bytes));
    return sync_file(file, temporary);
  };
  Status status = write();
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) status = system_error(path, errno);
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return sync_folder(folder.empty() ? "." : folder);
}

}  // namespace heed
