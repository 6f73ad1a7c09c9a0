#include "media/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace heed {
namespace {

constexpr int kFirstOther = 3;  // descriptors from here on are not the standard ones

Error cannot_start(int error) {
  const std::string message = std::string("the decoder cannot be started: ") + std::strerror(error);
  const bool may_pass = error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
  return may_pass ? busy(message) : unsupported(message);
}

void close_all(const std::array<int, 2>& ends) {
  for (const int end : ends) {
    if (end >= 0) ::close(end);
  }
}

// Two ends of a socket, neither of them a standard descriptor: the child's are made from one of them.
std::optional<std::array<int, 2>> socket_pair(int& error) {
  std::array<int, 2> made = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made.data()) != 0) {
    error = errno;
    return std::nullopt;
  }
  std::array<int, 2> ends = made;
  for (int& end : ends) {
    if (end >= kFirstOther) continue;
    const int moved = ::fcntl(end, F_DUPFD_CLOEXEC, kFirstOther);
    error = errno;
    end = moved;
  }
  for (size_t i = 0; i < 2; ++i) {
    if (made[i] != ends[i]) ::close(made[i]);
  }
  if (ends[0] >= 0 && ends[1] >= 0) return ends;
  close_all(ends);
  return std::nullopt;
}

struct SpawnFiles {
  posix_spawn_file_actions_t actions = {};
  int error = ::posix_spawn_file_actions_init(&actions);
  bool made = error == 0;
  SpawnFiles() = default;
  SpawnFiles(const SpawnFiles&) = delete;
  SpawnFiles& operator=(const SpawnFiles&) = delete;
  ~SpawnFiles() {
    if (made) ::posix_spawn_file_actions_destroy(&actions);
  }
  void use(int socket) {
    for (const int target : {STDIN_FILENO, STDOUT_FILENO}) {
      if (error == 0) error = ::posix_spawn_file_actions_adddup2(&actions, socket, target);
    }
#ifdef HEED_SANITIZED
    const int first_closed = kFirstOther;  // what sanitizers report is to be seen
#else
    const int first_closed = STDERR_FILENO;
#endif
    if (error == 0) error = ::posix_spawn_file_actions_addclosefrom_np(&actions, first_closed);
  }
};

struct SpawnAttributes {
  posix_spawnattr_t attributes = {};
  int error = ::posix_spawnattr_init(&attributes);
  SpawnAttributes() {
    if (error != 0) return;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);  // Ctrl-C is for the server to deal with
    error = ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes); }
};

// The C library's posix_spawn shares our memory with the child until it is another program: nothing is
// copied, however many gigabytes we hold.
int spawn(pid_t& pid, const std::string& program, std::span<const std::string> arguments, int socket) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  char* no_environment = nullptr;
  SpawnFiles files;
  files.use(socket);
  const SpawnAttributes attributes;
  if (files.error != 0) return files.error;
  if (attributes.error != 0) return attributes.error;
  return ::posix_spawn(&pid, program.c_str(), &files.actions, &attributes.attributes, argv.data(),
                       &no_environment);
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const std::string& program, std::span<const std::string> arguments) {
  int error = 0;
  const auto ends = socket_pair(error);
  if (!ends) return cannot_start(error);
  pid_t pid = -1;
  error = spawn(pid, program, arguments, (*ends)[1]);
  ::close((*ends)[1]);
  if (error == 0) return ChildProcess(pid, (*ends)[0]);
  ::close((*ends)[0]);
  return cannot_start(error);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), socket_(std::exchange(other.socket_, -1)) {}

std::string ChildProcess::end() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (pid_ < 0) return "stopped";
  ::kill(pid_, SIGKILL);  // of one that is on its way out this changes nothing
  int status = 0;
  pid_t reaped = -1;
  do {
    reaped = ::waitpid(pid_, &status, 0);
  } while (reaped < 0 && errno == EINTR);
  const bool is_known = std::exchange(pid_, -1) == reaped;
  if (is_known && WIFSIGNALED(status)) return "stopped (signal " + std::to_string(WTERMSIG(status)) + ")";
  if (is_known && WIFEXITED(status)) return "stopped (status " + std::to_string(WEXITSTATUS(status)) + ")";
  return "stopped";  // someone else has reaped it
}

}  // namespace heed
