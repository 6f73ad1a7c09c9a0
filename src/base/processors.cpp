#include "base/processors.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <thread>

#include "base/cgroup.h"
#include "base/file.h"

namespace heed {
namespace {

// linux/mempolicy.h; the functions are in libnuma, the calls in the kernel.
constexpr int kPreferred = 1;
constexpr int kInterleave = 3;
constexpr unsigned kMove = 1U << 1;
constexpr int kMostNodes = 1024;
constexpr int kMostCpus = CPU_SETSIZE;

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// "3", "0-3" or "0-15:2".
bool add_range(std::string_view text, std::vector<int>& cpus) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view ends = text.substr(0, colon);
  const size_t dash = std::min(ends.find('-'), ends.size());
  const auto first = number(ends.substr(0, dash));
  const auto last = dash < ends.size() ? number(ends.substr(dash + 1)) : first;
  const auto step = colon < text.size() ? number(text.substr(colon + 1)) : std::optional<int>(1);
  if (!first || !last || !step || *step == 0 || *last < *first || *last >= kMostCpus) return false;
  for (int cpu = *first; cpu <= *last; cpu += *step) cpus.push_back(cpu);
  return true;
}

// Processors' worth of time that a cgroup gives; nullopt: as much as there is.
std::optional<double> quota_of(const Cgroup& cgroup) {
  double quota = 0;
  double period = 0;
  if (cgroup.unified) {
    std::ifstream file(cgroup.folder + "cpu.max");  // "max 100000" is no number
    if (!(file >> quota >> period)) return std::nullopt;
  } else if (!(std::ifstream(cgroup.folder + "cpu.cfs_quota_us") >> quota) ||
             !(std::ifstream(cgroup.folder + "cpu.cfs_period_us") >> period)) {
    return std::nullopt;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;  // -1: none
  return quota / period;
}

Result<std::vector<int>> read_list(const std::string& path) {
  std::string text = TRY(read_file(path, 1 << 16));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.empty()) return std::vector<int>{};  // a node without processors
  const auto list = parse_cpu_list(text);
  if (!list.ok()) return invalid(path + ": " + list.error().message);
  return *list;
}

int node_of(int cpu, const std::vector<NumaNode>& nodes) {
  for (const NumaNode& node : nodes) {
    if (std::binary_search(node.cpus.begin(), node.cpus.end(), cpu)) return node.number;
  }
  return nodes.front().number;
}

// Whole pages of the range.
void bind_pages(char* data, int64_t bytes, int mode, const std::vector<int>& nodes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / page * page;
  if (bytes <= 0 || begin >= end) return;
  constexpr int kBits = 8 * sizeof(unsigned long);
  unsigned long mask[kMostNodes / kBits] = {};
  for (const int node : nodes) mask[node / kBits] |= 1UL << (node % kBits);
  // The kernel takes one bit less than it is told.
  syscall(SYS_mbind, begin, end - begin, mode, mask, kMostNodes + 1, kMove);
}

}  // namespace

Result<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    if (!add_range(text.substr(at, comma - at), cpus)) {
      return invalid("\"" + std::string(text) + "\" is no list of processors; numbers and ranges below " +
                     std::to_string(kMostCpus) + " with commas are expected, such as 0-3,8 or 0-15:2");
    }
    at = comma + 1;
  }
  std::sort(cpus.begin(), cpus.end());
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  return cpus;
}

std::string cpu_list_text(const std::vector<int>& ascending) {
  std::string text;
  for (size_t i = 0; i < ascending.size(); ++i) {
    const size_t first = i;
    while (i + 1 < ascending.size() && ascending[i + 1] == ascending[i] + 1) ++i;
    text += (text.empty() ? "" : ",") + std::to_string(ascending[first]);
    if (i > first) text += "-" + std::to_string(ascending[i]);
  }
  return text;
}

std::vector<int> allowed_processors() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < kMostCpus; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (int cpu = 0; cpus.empty() || (cpus.size() < static_cast<size_t>(all) && cpus.back() < cpu); ++cpu)
    cpus.push_back(cpu);
  return cpus;
}

int available_processors(const std::string& root) {
  auto most = static_cast<double>(allowed_processors().size());
  for (const Cgroup& cgroup : own_cgroups(root, "cpu"))
    most = std::min(most, quota_of(cgroup).value_or(most));
  return std::max(1, static_cast<int>(most));
}

Result<std::vector<NumaNode>> numa_nodes(const std::string& root) {
  const std::string folder = root + "/sys/devices/system/node/";
  std::vector<NumaNode> nodes;
  if (!file_exists(folder + "online")) return nodes;
  for (const int node : TRY(read_list(folder + "online"))) {
    std::vector<int> cpus = TRY(read_list(folder + "node" + std::to_string(node) + "/cpulist"));
    if (!cpus.empty()) nodes.push_back({node, std::move(cpus)});
  }
  return nodes;
}

Workers place_workers(int threads, const std::vector<int>& cpus, const std::vector<int>& allowed,
                      const std::vector<NumaNode>& nodes) {
  Workers workers;
  workers.count = threads > 0 ? threads : static_cast<int>(cpus.empty() ? allowed.size() : cpus.size());
  const auto runs_there = [&](const NumaNode& node) {
    const std::vector<int>& used = cpus.empty() ? allowed : cpus;
    return std::any_of(used.begin(), used.end(),
                       [&](int cpu) { return std::binary_search(node.cpus.begin(), node.cpus.end(), cpu); });
  };
  const bool several = std::count_if(nodes.begin(), nodes.end(), runs_there) > 1 && workers.count > 1;
  if (!cpus.empty()) {
    for (int i = 0; i < workers.count; ++i) {
      workers.cpus.push_back({cpus[static_cast<size_t>(i)]});
      if (several) workers.nodes.push_back(node_of(workers.cpus.back().front(), nodes));
    }
    return workers;
  }
  if (!several) return workers;
  std::vector<int> by_node;  // the allowed processors, those of a node together
  for (const NumaNode& node : nodes)
    std::set_intersection(node.cpus.begin(), node.cpus.end(), allowed.begin(), allowed.end(),
                          std::back_inserter(by_node));
  for (int i = 0; i < workers.count; ++i) {
    const int cpu = by_node[by_node.size() * static_cast<size_t>(i) / static_cast<size_t>(workers.count)];
    workers.nodes.push_back(node_of(cpu, nodes));
    std::vector<int>& own = workers.cpus.emplace_back();
    for (const int other : by_node) {
      if (node_of(other, nodes) == workers.nodes.back()) own.push_back(other);
    }
  }
  return workers;
}

Result<Workers> plan_workers(int threads, const std::vector<int>& cpus) {
  const std::vector<int> allowed = allowed_processors();
  for (const int cpu : cpus) {
    if (!std::binary_search(allowed.begin(), allowed.end(), cpu))
      return invalid("--cpu-affinity: this process may not run on processor " + std::to_string(cpu) +
                     ", only on " + cpu_list_text(allowed));
  }
  if (!cpus.empty() && threads > std::ssize(cpus))
    return invalid("--threads " + std::to_string(threads) + ": --cpu-affinity names " +
                   std::to_string(cpus.size()) + " processors, and each runs one thread");
  if (threads == 0 && cpus.empty()) threads = available_processors();
  const auto nodes = numa_nodes();
  return place_workers(threads, cpus, allowed, nodes.ok() ? *nodes : std::vector<NumaNode>());
}

void run_on_cpus(const std::vector<int>& cpus) {
  if (cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

void place_parts(void* data, int64_t bytes, const Workers& workers) {
  const auto count = static_cast<int64_t>(workers.nodes.size());
  for (int64_t i = 0, end = 0; i < count; i = end) {  // workers of a node lie together
    while (end < count && workers.nodes[end] == workers.nodes[i]) ++end;
    const int64_t from = bytes / count * i;
    const int64_t to = end == count ? bytes : bytes / count * end;
    bind_pages(static_cast<char*>(data) + from, to - from, kPreferred, {workers.nodes[i]});
  }
}

void interleave(void* data, int64_t bytes, const Workers& workers) {
  if (!workers.nodes.empty()) bind_pages(static_cast<char*>(data), bytes, kInterleave, workers.nodes);
}

}  // namespace heed
