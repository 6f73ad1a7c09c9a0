// Ops at sizes of real models, for `heed bench ops`: what each has to read and to compute, and how it is run.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/work.h"
#include "kernels/cpu/peak.h"

namespace heed {

// One with its tensors, which it owns. What it reads most (weights, a cache, states) lies in memory several
// times, and each call takes the next copy: no cache of the processor holds it.
struct ReadyOp {
  StepWork work;                                   // of a call
  std::function<void(Stream&, int64_t call)> run;  // calls count from 0
};

struct OpCase {
  std::string name;  // "linear bfloat16 16 x 1024 x 4096": tokens, in, out
  Peak peak;         // that its products are compared with
  std::function<ReadyOp()> prepare;
};

// Those that a backend of the host has. It outlives them.
std::vector<OpCase> op_cases(const Kernels& kernels);

}  // namespace heed
