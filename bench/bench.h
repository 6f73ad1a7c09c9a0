// What the benchmarks of ops share: the machine, measured, and a timer that prints a JSON line for each op.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/peak.h"

namespace heed::bench {

constexpr int64_t kColdBytes = int64_t{512} << 20;  // read in turn, so that no cache holds the next

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Options {
  std::string isa, filter;
  int threads = 0, repeats = 25;
};

struct Work {
  std::string name;
  double bytes = 0, flops = 0;
  Peak peak = Peak::kFloat32;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        pool_(options.threads),
        kernels_(options.isa.empty() ? &cpu_kernels() : cpu_kernels_for(options.isa)) {}

  bool usable() const { return kernels_ != nullptr; }
  const Kernels& kernels() const { return *kernels_; }
  Stream stream() { return {&pool_}; }
  bool wants(const std::string& name) const { return name.find(options_.filter) != std::string::npos; }

  void measure_machine() {
    bandwidth_ = read_bandwidth(pool_);
    for (const Peak peak : {Peak::kFloat32, Peak::kBfloat16, Peak::kInt8})
      peaks_[static_cast<int>(peak)] = peak_rate(pool_, kernels_->isa, peak);
    print({{"machine", processor()},
           {"isa", kernels_->isa},
           {"threads", pool_.size()},
           {"read_gb_s", bandwidth_ / 1e9},
           {"f32_gflop_s", peaks_[0] / 1e9},
           {"bf16_gflop_s", peaks_[1] / 1e9},
           {"int8_gop_s", peaks_[2] / 1e9}});
  }

  // body(i) runs the op once; i counts the calls.
  void time(const Work& work, const std::function<void(int)>& body) {
    for (int i = 0; i < 3; ++i) body(i);
    std::vector<double> times;
    for (int i = 0; i < options_.repeats; ++i) {
      const double start = seconds();
      body(i + 3);
      times.push_back(seconds() - start);
    }
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    const double floor = std::max(work.bytes / bandwidth_, work.flops / peaks_[static_cast<int>(work.peak)]);
    print({{"op", work.name},
           {"ms", median * 1e3},
           {"ms_p10", times[times.size() / 10] * 1e3},
           {"ms_p90", times[times.size() * 9 / 10] * 1e3},
           {"gb_s", work.bytes / median / 1e9},
           {"gflop_s", work.flops / median / 1e9},
           {"share_of_floor", floor / median}});
  }

 private:
  static void print(const OrderedJson& line) {
    std::printf("%s\n", to_text(line).c_str());
    std::fflush(stdout);
  }
  static std::string processor() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    }
    return "unknown";
  }

  Options options_;
  ThreadPool pool_;
  const Kernels* kernels_;
  double bandwidth_ = 0;
  std::array<double, 3> peaks_ = {};  // by Peak
};

// `copies` of the same bytes in a row, that take turns so that no cache holds the next.
class Cold {
 public:
  Cold(const void* bytes, int64_t size)
      : size_(size), copies_(std::max<int64_t>(kColdBytes / size, 1)), memory_(copies_ * size) {
    for (int64_t i = 0; i < copies_; ++i) std::memcpy((*this)[i], bytes, static_cast<size_t>(size));
  }
  char* operator[](int64_t i) const { return static_cast<char*>(memory_.data()) + i % copies_ * size_; }

 private:
  int64_t size_, copies_;
  Buffer memory_;
};

void bench_blocks(Bench& bench);
void bench_moe(Bench& bench);
void bench_recurrent(Bench& bench);

}  // namespace heed::bench
