// What a process gives up before it looks at a stranger's file. Nothing of it can be taken back.
#pragma once
#include <cstdint>

#include "base/result.h"

namespace heed {

struct SandboxLimits {
  int64_t memory = 0;   // bytes that may be allocated from now on
  int64_t seconds = 0;  // of processor time, in all
};

// From here on this process can read descriptor 0, write descriptor 1, allocate memory that is not
// executable, and end; any other system call kills it (SIGSYS). No privileges by execution, no core dump, no
// one of the same user looks in. With sanitizers memory is not limited and they may report on descriptor 2.
// To be called while there is one thread. An error: some of it is in force, and nothing is to be decoded.
Status enter_sandbox(const SandboxLimits& limits);

}  // namespace heed
