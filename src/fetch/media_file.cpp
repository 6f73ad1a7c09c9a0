#include "fetch/media_file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "fetch/data_url.h"

namespace heed {
namespace {

// A pipe without a writer is no hang, and a terminal does not become ours.
constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

class FileHandle {
 public:
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  void reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Error not_below() {
  return unsupported("only files below the folder of --allowed-media-path can be named, as file:///its/path");
}

// "file:///a/b" or "file://localhost/a/b": the absolute path.
Result<std::string> path_of(std::string_view reference) {
  const Error wrong = invalid("a file: URL such as file:///folder/picture.jpg is expected");
  if (!has_scheme(reference, "file")) return wrong;
  std::string_view rest = reference.substr(std::string_view("file:").size());
  if (!rest.starts_with("//")) return wrong;
  rest.remove_prefix(2);
  if (rest.starts_with("localhost/")) rest.remove_prefix(std::string_view("localhost").size());
  if (!rest.starts_with('/')) return wrong;
  const bool is_odd = std::any_of(rest.begin(), rest.end(), [](char c) {
    return (c >= 0 && c < 0x20) || c == 0x7f || c == '\\' || c == '?' || c == '#';
  });
  if (is_odd) return wrong;
  std::string path = TRY(percent_decoded(rest));
  if (path.find('\0') != std::string::npos) return wrong;
  return path;
}

// What is left of the path behind the folder's, or nothing.
std::string below(const std::string& path, const std::string& folder) {
  std::error_code ignored;
  std::string root = std::filesystem::absolute(folder, ignored).lexically_normal().string();
  if (!root.ends_with('/')) root += '/';
  if (!path.starts_with(root)) return {};
  return path.substr(std::min(path.find_first_not_of('/', root.size() - 1), path.size()));
}

Result<std::string> read_opened(int file, int64_t max_bytes) {
  struct stat info {};
  if (::fstat(file, &info) != 0) return invalid(std::string("the file: ") + std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return invalid("what the file: URL names is not a regular file");
  const auto too_large = [&] {
    return limit_reached("the file has more than " + std::to_string(max_bytes) + " bytes");
  };
  if (info.st_size > max_bytes) return too_large();
  std::string bytes(static_cast<size_t>(info.st_size) + 1, '\0');  // one more, to see the end
  size_t filled = 0;
  for (;;) {
    if (filled == bytes.size()) bytes.resize(2 * filled);  // it grows, or does not know its size
    const ssize_t got = ::read(file, bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return invalid(std::string("the file: ") + std::strerror(errno));
    if (got == 0) break;
    filled += static_cast<size_t>(got);
    if (static_cast<int64_t>(filled) > max_bytes) return too_large();
  }
  bytes.resize(filled);
  return bytes;
}

}  // namespace

int open_beneath_by_steps(int folder, const std::string& path) {
  FileHandle here(::openat(folder, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  size_t at = 0;
  while (here.fd() >= 0) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string step = path.substr(at, end - at);
    if (step == "..") return -EXDEV;
    const bool is_last = end == path.size();
    const int flags = is_last ? kOpenFlags : O_PATH | O_DIRECTORY | O_CLOEXEC;
    here.reset(::openat(here.fd(), step.empty() ? "." : step.c_str(), flags | O_NOFOLLOW));
    if (is_last && here.fd() >= 0) return here.release();
    at = end + 1;
  }
  return -errno;
}

int open_beneath(int folder, const std::string& path) {
  open_how how = {};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const long file = ::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
  if (file >= 0) return static_cast<int>(file);
  // A filter of system calls that is older than this one says EPERM.
  return errno == ENOSYS || errno == EPERM ? open_beneath_by_steps(folder, path) : -errno;
}

Result<std::string> read_media_file(std::string_view reference, const std::string& folder,
                                    int64_t max_bytes) {
  const std::string path = TRY(path_of(reference));
  if (folder.empty()) return unsupported("file: URLs are not allowed: --allowed-media-path names a folder");
  const std::string rest = below(path, folder);
  if (rest.empty()) return not_below();
  const FileHandle root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (root.fd() < 0)
    return unsupported(std::string("the folder of --allowed-media-path: ") + std::strerror(errno));
  const FileHandle file(open_beneath(root.fd(), rest));
  const int error = -file.fd();
  if (error == EXDEV || error == ELOOP) return not_below();
  if (error == ENOENT || error == ENOTDIR) return not_found("the file: URL names no file");
  if (file.fd() < 0) return invalid(std::string("the file: ") + std::strerror(error));
  return read_opened(file.fd(), max_bytes);
}

}  // namespace heed
