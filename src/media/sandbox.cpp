#include "media/sandbox.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace heed {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the architecture's AUDIT_ARCH_ value is wanted here (linux/audit.h)"
#endif
constexpr uint32_t kX32 = 0x40000000;  // calls of the x32 ABI have numbers from here, and are not on the list

#ifdef HEED_SANITIZED
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

// Arguments are compared by their lower halves, where they come first.
static_assert(std::endian::native == std::endian::little);

// A program of the kernel's packet filter, which looks at each system call: its number and arguments.
class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    unless(BPF_JEQ, kArchitecture, SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
    when(BPF_JGE, kX32, SECCOMP_RET_KILL_PROCESS);
  }
  void allow(int call) { when(BPF_JEQ, static_cast<uint32_t>(call), SECCOMP_RET_ALLOW); }

  // With this value of an argument; with no such bit in it; with any.
  void allow_equal(int call, int argument, uint32_t value) {
    begin(call, 3);
    load_argument(argument);
    when(BPF_JEQ, value, SECCOMP_RET_ALLOW);
    load(offsetof(seccomp_data, nr));
  }
  void allow_without(int call, int argument, uint32_t bits) {
    begin(call, 3);
    load_argument(argument);
    unless(BPF_JSET, bits, SECCOMP_RET_ALLOW);
    load(offsetof(seccomp_data, nr));
  }
  void kill_without(int call, int argument, uint32_t bits) {
    begin(call, 3);
    load_argument(argument);
    unless(BPF_JSET, bits, SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
  }

  // All else kills. For all threads, should a library have started one.
  bool install() {
    give(SECCOMP_RET_KILL_PROCESS);
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    const unsigned long flags = kIsSanitized ? 0 : SECCOMP_FILTER_FLAG_TSYNC;  // sanitizers have threads
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0) return true;
    // Services may be kept from that call by a filter of their own; the older one is for this thread only.
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
  }

 private:
  // A test and what follows it are one: skipped unless this is the call. `more`: instructions after the next.
  void begin(int call, int more) {
    code_.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, static_cast<uint8_t>(more + 1)));
  }
  void load(size_t offset) {
    code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)));
  }
  void load_argument(int i) {
    load(offsetof(seccomp_data, args) + sizeof(uint64_t) * static_cast<size_t>(i));
  }
  void give(uint32_t verdict) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, verdict)); }
  void when(uint16_t test, uint32_t value, uint32_t verdict) {
    code_.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | BPF_K | test), value, 0, 1));
    give(verdict);
  }
  void unless(uint16_t test, uint32_t value, uint32_t verdict) {
    code_.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | BPF_K | test), value, 1, 0));
    give(verdict);
  }

  std::vector<sock_filter> code_;
};

bool install_filter() {
  Filter filter;
  filter.allow_equal(SYS_read, 0, STDIN_FILENO);
  filter.allow_equal(SYS_write, 0, STDOUT_FILENO);
  filter.kill_without(SYS_mmap, 3, MAP_ANONYMOUS);
  filter.allow_without(SYS_mmap, 2, PROT_EXEC);
  filter.allow_without(SYS_mprotect, 2, PROT_EXEC);
  for (const int call : {SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise, SYS_futex, SYS_rt_sigreturn,
                         SYS_restart_syscall, SYS_exit, SYS_exit_group}) {
    filter.allow(call);
  }
  if (kIsSanitized) {
    filter.allow_equal(SYS_write, 0, STDERR_FILENO);
    for (const int call : {SYS_sched_yield, SYS_sigaltstack, SYS_rt_sigprocmask, SYS_getpid, SYS_gettid,
                           SYS_clock_gettime, SYS_getrandom}) {
      filter.allow(call);
    }
  }
  return filter.install();
}

bool limit(decltype(RLIMIT_AS) what, rlim_t value) {
  const rlimit both{value, value};
  return ::setrlimit(what, &both) == 0;
}

// Bytes of address space that are mapped; negative where that cannot be told.
int64_t mapped_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = -1;
  file >> pages;
  return pages < 0 ? -1 : pages * ::sysconf(_SC_PAGESIZE);
}

bool limit_memory(int64_t more) {
  if (kIsSanitized) return true;  // their shadows take terabytes of addresses
  const int64_t mapped = mapped_bytes();
  return mapped >= 0 && limit(RLIMIT_AS, static_cast<rlim_t>(mapped + more));
}

// Where memory runs out after all, this process is to go and not the server.
void offer_to_be_killed() { std::ofstream("/proc/self/oom_score_adj") << 1000; }

}  // namespace

Status enter_sandbox(const SandboxLimits& limits) {
  const auto failed = [](const char* what) {
    return unsupported(std::string("the decoder's sandbox cannot be set up: ") + what + ": " +
                       std::strerror(errno));
  };
  offer_to_be_killed();
  if (!limit_memory(limits.memory)) return failed("memory");
  const auto seconds = static_cast<rlim_t>(limits.seconds);
  const bool limited = limit(RLIMIT_CPU, seconds) && limit(RLIMIT_CORE, 0) && limit(RLIMIT_FSIZE, 0) &&
                       limit(RLIMIT_NOFILE, 0) && limit(RLIMIT_NPROC, 0);
  if (!limited) return failed("resource limits");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return failed("PR_SET_DUMPABLE");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("PR_SET_NO_NEW_PRIVS");
  if (!install_filter()) return failed("seccomp");
  return {};
}

}  // namespace heed
