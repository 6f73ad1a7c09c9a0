// Processes that tests kill, and a disk that they fill.
#pragma once
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "base/check.h"
#include "tests/batches/fake_handler.h"

namespace heed {

// The exit status of a child that runs `body`, or minus the signal that killed it.
inline int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// A file system of our own at `path`, seen by this process alone; false where that is not allowed.
inline bool mount_small_disk(const std::string& path) {
  const std::string user = "0 " + std::to_string(::getuid()) + " 1";
  const std::string group = "0 " + std::to_string(::getgid()) + " 1";
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  write_bytes("/proc/self/setgroups", "deny");
  write_bytes("/proc/self/uid_map", user);
  write_bytes("/proc/self/gid_map", group);
  return ::mount("none", path.c_str(), "tmpfs", 0, "size=128k") == 0;
}

}  // namespace heed
