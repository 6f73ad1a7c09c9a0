#include "base/cgroup.h"

#include <fstream>

namespace heed {
namespace {

void add_with_those_above(const std::string& mount, std::string path, bool unified,
                          std::vector<Cgroup>& all) {
  if (path == "/") path.clear();
  for (;;) {
    all.push_back({mount + path + "/", path.empty() ? "/" : path, unified});
    if (path.empty()) return;
    path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
  }
}

}  // namespace

std::vector<Cgroup> own_cgroups(const std::string& root, std::string_view controller) {
  const std::string name(controller);
  std::vector<Cgroup> all;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      add_with_those_above(root + "/sys/fs/cgroup", path, true, all);
    } else if (controllers.find("," + name + ",") != std::string::npos) {
      add_with_those_above(root + "/sys/fs/cgroup/" + name, path, false, all);
    }
  }
  return all;
}

}  // namespace heed
