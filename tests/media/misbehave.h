// Children that do what a decoder must not do. They exist in these tests' main() only.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "media/decode_image.h"
#include "media/decoder_child.h"

extern char** environ;  // NOLINT(readability-identifier-naming): the C library's

namespace heed {

// A file of these bytes makes the decoder do what its name says.
inline std::string misdeed(const std::string& name) { return "misdeed:" + name; }

inline void spin() {
  const std::atomic<bool> is_over{false};
  while (!is_over) {
  }
}

inline void swell() {
  std::vector<std::string> all;
  for (;;) all.emplace_back(size_t{1} << 20, 'x');
}

inline const std::map<std::string, std::function<void()>>& misdeeds() {
  static const std::map<std::string, std::function<void()>> all = {
      {"crash", [] { *static_cast<volatile int*>(nullptr) = 1; }},
      {"abort", [] { CHECK(false); }},
      {"spin", spin},
      {"swell", swell},
      {"swell at once", [] { std::string(size_t{1} << 40, 'x')[7] = 'y'; }},
      {"open", [] { ::open("/etc/passwd", O_RDONLY); }},
      {"create", [] { ::open("/tmp/heed_was_here", O_WRONLY | O_CREAT, 0600); }},
      {"socket", [] { ::socket(AF_INET, SOCK_STREAM, 0); }},
      {"socketpair",
       [] {
         int ends[2];
         ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
       }},
      {"read another", [] { (void)!::syscall(SYS_read, 3, nullptr, 0); }},
      {"write another", [] { (void)!::syscall(SYS_write, 3, nullptr, 0); }},
      {"read what is written", [] { (void)!::syscall(SYS_read, 1, nullptr, 0); }},
      {"send a descriptor", [] { ::syscall(SYS_sendmsg, 1, nullptr, 0); }},
      {"fork", [] { ::fork(); }},
      {"execute",
       [] {
         char* none[] = {nullptr};
         ::execve("/bin/true", none, none);
       }},
      {"kill", [] { ::kill(::getppid(), SIGKILL); }},
      {"ptrace", [] { ::syscall(SYS_ptrace, 0, 0, 0, 0); }},
      {"executable memory",
       [] { ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }},
      {"memory made executable",
       [] {
         void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         ::mprotect(page, 4096, PROT_READ | PROT_EXEC);
       }},
      {"memory of a file", [] { ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, 0, 0); }},
      {"raise its limits", [] { ::syscall(SYS_prlimit64, 0, 0, nullptr, nullptr); }},
      {"another filter", [] { ::syscall(SYS_seccomp, 0, 0, nullptr); }},
      {"sleep", [] { ::syscall(SYS_nanosleep, nullptr, nullptr); }},
#ifdef __x86_64__
      {"the x32 ABI", [] { ::syscall(0x40000000 + SYS_getuid); }},
#endif
  };
  return all;
}

inline Result<Image> decode_or_misbehave(std::string_view bytes, const ImageLimits& limits) {
  const std::string prefix = misdeed("");
  if (!bytes.starts_with(prefix)) return decode_image(bytes, limits);
  misdeeds().at(std::string(bytes.substr(prefix.size())))();
  return invalid("nobody minded");
}

// Children that do not begin as decoders do; ImageLimits::bytes chooses this, ::pixels which.
inline constexpr int64_t kOddChild = 424242;

inline void say(const void* data, size_t size) { (void)!::write(STDOUT_FILENO, data, size); }
inline void say_hello() { say(kDecoderHello.data(), kDecoderHello.size()); }
inline void answer(const DecoderAnswer& answer) { say(&answer, sizeof answer); }
inline void answer_with(const std::string& text) {
  answer({.error = 0, .message_bytes = static_cast<uint32_t>(text.size())});
  say(text.data(), text.size());
}

// What it was born with: descriptors, environment, blocked signals.
inline std::string possessions() {
  std::string text;
  for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
    const std::string number = file.path().filename();
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(file.path(), gone);
    if (!gone && target.find("/fd") == std::string::npos) text += number + "=" + target.substr(0, 6) + " ";
  }
  sigset_t blocked;
  ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
  for (int i = 1; i < 32; ++i) {
    struct sigaction action {};
    ::sigaction(i, nullptr, &action);
    if (sigismember(&blocked, i) == 1 || action.sa_handler == SIG_IGN) text += "signal " + std::to_string(i);
  }
  for (char** variable = environ; *variable; ++variable) text += *variable;
  return text + (::getpgrp() == ::getpid() ? "own group" : "same group");
}

enum OddChild : int64_t {
  kList = 1,
  kLeave,
  kNoHello,
  kSilent,
  kHuge,
  kNegative,
  kBadCode,
  kLongMessage,
  kControls,
  kShortPixels,
  kFlood,
  kDeaf,
  kDeafAndGone
};

inline void be_odd(int64_t kind) {
  static const std::string flood(1 << 16, '\0');
  if (kind == kLeave) ::_exit(7);
  if (kind == kNoHello) say("[==========] Running 3 tests", 28);
  if (kind == kSilent || kind == kNoHello) spin();
  say_hello();
  if (kind == kList) answer_with(possessions());
  if (kind == kHuge) answer({.width = 1 << 30, .height = 1 << 30});
  if (kind == kNegative) answer({.width = -1, .height = -1});
  if (kind == kBadCode) answer({.error = 77});
  if (kind == kLongMessage) answer({.error = 0, .message_bytes = 0xffffffffU});
  if (kind == kControls) answer_with("\x1b[2J\nroot: \xff");
  if (kind == kShortPixels) answer({.width = 2, .height = 2}), say("abc", 3);
  if (kind == kFlood) answer({.width = 1, .height = 1});
  while (kind == kFlood) say(flood.data(), flood.size());
  if (kind == kDeaf) spin();
  ::_exit(0);
}

}  // namespace heed
