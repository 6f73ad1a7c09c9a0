// A program started as a child, with a socket to it as its standard input and output and nothing else of
// ours: no other descriptor, no environment, no signal blocked or ignored, a process group of its own.
#pragma once
#include <sys/types.h>

#include <span>
#include <string>

#include "base/result.h"

namespace heed {

class ChildProcess {
 public:
  // From any thread, whatever other threads do. kBusy where processes or descriptors have run out.
  static Result<ChildProcess> start(const std::string& program, std::span<const std::string> arguments);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) = delete;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() { end(); }

  int socket() const { return socket_; }
  pid_t pid() const { return pid_; }
  // Kills it, unless it has ended, and reaps it. How it ended: "stopped (signal 31)", "stopped (status 3)".
  std::string end();

 private:
  ChildProcess(pid_t pid, int socket) : pid_(pid), socket_(socket) {}
  pid_t pid_ = -1;
  int socket_ = -1;
};

}  // namespace heed
