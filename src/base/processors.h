// The processors that this process may run on, nodes of memory, and which workers run where.
//
// `root` is where the file system is mounted: tests have trees of their own.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed {

// "0-3,8" or "0-15:2" (every second one), as taskset -c and the kernel write them: ascending, each once. An
// error says what is accepted.
Result<std::vector<int>> parse_cpu_list(std::string_view text);
// "0-3,8".
std::string cpu_list_text(const std::vector<int>& ascending);

// Those in this process's affinity mask, ascending.
std::vector<int> allowed_processors();

// As many threads as can run at a time: the allowed processors, or fewer where a cgroup's quota gives less
// time than theirs.
int available_processors(const std::string& root = "");

// A node of memory, with the processors that are near it.
struct NumaNode {
  int number = 0;
  std::vector<int> cpus;
};
// Those with processors, ascending; none where the machine does not tell. An error names the file that is not
// as expected.
Result<std::vector<NumaNode>> numa_nodes(const std::string& root = "");

// Who runs loops: how many, and where.
struct Workers {
  int count = 0;                       // 0: available_processors()
  std::vector<std::vector<int>> cpus;  // that each may run on; empty: wherever the process may
  std::vector<int> nodes;              // that each is on; empty: the machine has one, or is taken so
};

// threads: 0: one for each of `cpus`, or available_processors(). `cpus`: each worker runs on one of them, in
// order (no more threads than these); empty: anywhere, or, where allowed processors are on several nodes, on
// one of them, in proportion.
Workers place_workers(int threads, const std::vector<int>& cpus, const std::vector<int>& allowed,
                      const std::vector<NumaNode>& nodes);
// The same on this machine; nodes that it does not tell properly count as one. An error names a processor
// that this process may not use, or says that there are too few for the threads.
Result<Workers> plan_workers(int threads, const std::vector<int>& cpus);

// Lets this thread run on these processors only, where there are any; nothing happens where the system
// refuses.
void run_on_cpus(const std::vector<int>& cpus);

// Has the rows of a matrix that a worker reads lie on its node: part i of as many equal parts as there are
// workers, which is how parallel_for cuts. Pages that are elsewhere move, unless other processes have them
// too. Nothing happens where there is one node, or the system refuses.
void place_parts(void* data, int64_t bytes, const Workers& workers);
// Page by page in turn on the workers' nodes: for what any worker may read.
void interleave(void* data, int64_t bytes, const Workers& workers);

}  // namespace heed
