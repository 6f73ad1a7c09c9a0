// The cpu backend: every op on vectors and threads, for the best instruction set of the machine it runs on.
//
// One binary carries kernels for the baseline of its architecture, AVX2 (with FMA and F16C), AVX-512 (F, BW,
// VL, DQ), AVX-512 with BF16 and AMX, and chooses at start. Results are deterministic within one instruction
// set: they do not depend on the number of threads, nor on what else is in the batch; between instruction
// sets they may differ.
#pragma once
#include <span>
#include <string_view>

#include "kernels/kernels.h"

namespace heed {

// For this machine: AMX where there is one. AVX-512 with BF16 is preferred to AVX-512 only where VDPBF16PS is
// faster than widening to float32, which is on AMD's cores; Intel's run it at half the rate of float32 FMAs.
const Kernels& cpu_kernels();

// For one instruction set: nullptr for an unknown name or one that this machine lacks.
const Kernels* cpu_kernels_for(std::string_view isa);

// All that this build knows: "baseline", "avx2", "avx512", "avx512-vnni", "avx512-bf16", "avx512-amx".
std::span<const std::string_view> cpu_isas();

}  // namespace heed
