#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

namespace heed {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Error file_error(const std::string& path, int error_number) {
  const std::string message = path + ": " + std::strerror(error_number);
  return error_number == ENOENT ? not_found(message) : invalid(message);
}

// Opens a regular file and finds its size. O_NONBLOCK: a named pipe is an error, not a hang.
Result<int64_t> open_regular(const std::string& path, Descriptor& file) {
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd < 0) return file_error(path, errno);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return file_error(path, errno);
  if (!S_ISREG(info.st_mode)) return invalid(path + ": not a regular file");
  return int64_t{info.st_size};
}

}  // namespace

bool file_exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

bool is_directory(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

Result<std::string> read_file(const std::string& path, int64_t max_bytes) {
  Descriptor file{-1};
  const int64_t size = TRY(open_regular(path, file));
  if (size > max_bytes) {
    return limit_reached(path + ": " + std::to_string(size) + " bytes, at most " + std::to_string(max_bytes) +
                         " are read");
  }
  std::string bytes(static_cast<size_t>(size), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = ::read(file.fd, bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file_error(path, errno);
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

Status write_file(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) return invalid(path + ": cannot be written");
  return {};
}

Result<NewFile> NewFile::create(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return file_error(path, errno);
  return NewFile(path, descriptor);
}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

NewFile::~NewFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status NewFile::write(const void* bytes, int64_t count) {
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, from, static_cast<size_t>(count));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return file_error(path_, errno);
    from += written;
    count -= written;
  }
  return {};
}

Status NewFile::finish() {
  while (::fsync(descriptor_) != 0) {
    if (errno != EINTR && errno != EINVAL) return file_error(path_, errno);
    if (errno == EINVAL) break;  // not a file that can be
  }
  if (::close(std::exchange(descriptor_, -1)) != 0) return file_error(path_, errno);
  return {};
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  Descriptor file{-1};
  const int64_t size = TRY(open_regular(path, file));
  if (size == 0) return MappedFile(nullptr, 0);
  void* data = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) return file_error(path, errno);
  return MappedFile(data, static_cast<size_t>(size));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace heed
