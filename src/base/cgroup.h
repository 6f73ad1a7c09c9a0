// The cgroups that this process is in, whose limits hold for it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace heed {

struct Cgroup {
  std::string folder;    // where its files are, with a slash at the end
  std::string name;      // for people: "/pod/container"
  bool unified = false;  // version 2, else 1: files have other names there
};

// Those that say something on a controller ("memory", "cpu"): this process's own and all above, since a limit
// holds for everything below it. `root`: where the file system is mounted.
std::vector<Cgroup> own_cgroups(const std::string& root, std::string_view controller);

}  // namespace heed
