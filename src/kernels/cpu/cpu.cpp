#include "kernels/cpu/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if !defined(HEED_SANITIZED)  // cmake/cpu_kernels.cmake says why
#define HEED_AVX512
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include <algorithm>

#include "kernels/cpu/ops.h"
#include "kernels/parts.h"

namespace heed {
namespace {

struct Isa {
  std::string_view name;
  bool (*available)();
  const cpu::LinearTable* linear;
  const cpu::AttentionTable* attention;
  const cpu::RowTable* rows;
  const cpu::RecurrentTable* recurrent;
  const cpu::BlockTable* blocks;
  const cpu::TileTable* tiles = nullptr;
};

// __builtin_cpu_supports also asks whether the operating system saves the registers.
#if defined(__x86_64__)
bool has_f16c() {  // which clang 14's __builtin_cpu_supports does not know
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}
#endif
#if defined(HEED_AVX512)
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
bool has_avx512_bf16() { return has_avx512_vnni() && __builtin_cpu_supports("avx512bf16"); }
// Matrix tiles, whose registers the system saves only for programs that have asked.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
bool has_amx() {
  constexpr unsigned kBf16 = 1U << 22U;
  constexpr unsigned kTiles = 1U << 24U;
  constexpr unsigned kInt8 = 1U << 25U;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (!has_avx512_bf16() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kBf16) == 0 || (d & kTiles) == 0 || (d & kInt8) == 0) return false;
  static const bool may = may_use_tiles();
  return may;
}
bool bf16_pays() {
  __builtin_cpu_init();
  return __builtin_cpu_is("amd");
}
#endif

cpu::RecurrentIsa recurrent_of(const Isa& isa) { return {*isa.recurrent, *isa.rows}; }
cpu::LinearIsa linear_of(const Isa& isa) { return {*isa.linear, *isa.blocks, isa.tiles}; }

template <const Isa* kIsa>
const Kernels& kernels_of() {
  static const AttentionKernel attention[] = {
      {.name = "cpu.flash",
       .why_not = cpu::flash_why_not,
       .run = [](Stream& s, const AttentionArgs& a) { cpu::flash(*kIsa->attention, s, a); },
       .scratch_bytes =
           [](const AttentionNeeds& needs, const StepSize& size) {
             return cpu::flash_scratch_bytes(*kIsa->attention, needs, size);
           }},
  };
  static const Kernels kernels = {
      .name = "cpu",
      .isa = std::string(kIsa->name),
      .attention = attention,
      .reads_blocks = true,
      .embed = [](Stream& s, const EmbedArgs& a) { cpu::embed(*kIsa->rows, s, a); },
      .rms_norm = [](Stream& s, const RmsNormArgs& a) { cpu::rms_norm(*kIsa->rows, s, a); },
      .linear = [](Stream& s, const LinearArgs& a) { cpu::linear(linear_of(*kIsa), s, a); },
      .rope_table = cpu::rope_table,
      .rope = [](Stream& s, const RopeArgs& a) { cpu::rope(*kIsa->rows, s, a); },
      .kv_write = [](Stream& s, const KvWriteArgs& a) { cpu::kv_write(*kIsa->rows, s, a); },
      .gated_act = [](Stream& s, const GatedActArgs& a) { cpu::gated_act(*kIsa->rows, s, a); },
      .add = [](Stream& s, const AddArgs& a) { cpu::add(*kIsa->rows, s, a); },
      .gather_rows = cpu::gather_rows,
      .softcap = [](Stream& s, const SoftcapArgs& a) { cpu::softcap(*kIsa->rows, s, a); },
      .copy = [](Stream& s, const CopyArgs& a) { cpu::copy(*kIsa->rows, s, a); },
      .temper = [](Stream& s, const TemperArgs& a) { cpu::temper(*kIsa->rows, s, a); },
      .scale = [](Stream& s, const ScaleArgs& a) { cpu::scale(*kIsa->rows, s, a); },
      .scale_rows = [](Stream& s, const ScaleRowsArgs& a) { cpu::scale_rows(*kIsa->rows, s, a); },
      .linears =
          [](Stream& s, const LinearsArgs& a) {
            if (!cpu::few_linears(linear_of(*kIsa), *kIsa->rows, s, a))
              linears_by_parts(kernels_of<kIsa>(), s, a);
          },
      .finish_heads = [](Stream& s,
                         const FinishHeadsArgs& a) { finish_heads_by_parts(kernels_of<kIsa>(), s, a); },
      .head_linear = [](Stream& s, const HeadLinearArgs& a) { cpu::head_linear(*kIsa->linear, s, a); },
      .moe_route = [](Stream& s, const MoeRouteArgs& a) { cpu::moe_route(*kIsa->rows, s, a); },
      .moe_sort = cpu::moe_sort,
      .expert_linear = [](Stream& s,
                          const ExpertLinearArgs& a) { cpu::expert_linear(linear_of(*kIsa), s, a); },
      .expert_sum = [](Stream& s, const ExpertSumArgs& a) { cpu::expert_sum(*kIsa->rows, s, a); },
      .short_conv = [](Stream& s, const ShortConvArgs& a) { cpu::short_conv(recurrent_of(*kIsa), s, a); },
      .linear_attention =
          [](Stream& s, const LinearAttentionArgs& a) { cpu::linear_attention(recurrent_of(*kIsa), s, a); },
      .gated_delta = [](Stream& s, const GatedDeltaArgs& a) { cpu::gated_delta(recurrent_of(*kIsa), s, a); },
      .delta_gates = [](Stream& s, const DeltaGatesArgs& a) { cpu::delta_gates(*kIsa->recurrent, s, a); },
      .layer_norm = [](Stream& s, const LayerNormArgs& a) { cpu::layer_norm(*kIsa->rows, s, a); },
      .clamp = cpu::clamp,
      .standardise = cpu::standardise,
      .average_patches = cpu::average_patches,
      .scratch_bytes =
          [](const StepSize& size) {
            return std::max({cpu::linear_scratch_bytes(linear_of(*kIsa), size), cpu::moe_scratch_bytes(size),
                             cpu::recurrent_scratch_bytes(size)});
          },
  };
  return kernels;
}

#define ISA(name, available, table, block_table)                                        \
  {                                                                                     \
    name, available, &cpu::linear_##table, &cpu::attention_##table, &cpu::rows_##table, \
        &cpu::recurrent_##table, &cpu::blocks_##block_table                             \
  }
constexpr Isa kBaseline = ISA(
    "baseline", [] { return true; }, baseline, baseline);
#if defined(__x86_64__)
constexpr Isa kAvx2 = ISA("avx2", has_avx2, avx2, avx2);
#endif
#if defined(HEED_AVX512)
constexpr Isa kAvx512 = ISA("avx512", has_avx512, avx512, avx512);
constexpr Isa kAvx512Vnni = ISA("avx512-vnni", has_avx512_vnni, avx512, avx512_vnni);
constexpr Isa kAvx512Bf16 = ISA("avx512-bf16", has_avx512_bf16, avx512_bf16, avx512_vnni);
constexpr Isa kAvx512Amx = {"avx512-amx",          has_amx,           &cpu::linear_avx512,
                            &cpu::attention_amx,   &cpu::rows_avx512, &cpu::recurrent_avx512,
                            &cpu::blocks_amx_int8, &cpu::linear_amx};
constexpr std::string_view kNames[] = {"baseline",    "avx2",        "avx512",
                                       "avx512-vnni", "avx512-bf16", "avx512-amx"};
#elif defined(__x86_64__)
constexpr std::string_view kNames[] = {"baseline", "avx2"};
#else
constexpr std::string_view kNames[] = {"baseline"};
#endif
#undef ISA

template <const Isa* kIsa>
const Kernels* if_available(std::string_view isa) {
  return isa == kIsa->name && kIsa->available() ? &kernels_of<kIsa>() : nullptr;
}

}  // namespace

std::span<const std::string_view> cpu_isas() { return kNames; }

const Kernels* cpu_kernels_for(std::string_view isa) {
  const Kernels* kernels = if_available<&kBaseline>(isa);
#if defined(__x86_64__)
  if (kernels == nullptr) kernels = if_available<&kAvx2>(isa);
#endif
#if defined(HEED_AVX512)
  if (kernels == nullptr) kernels = if_available<&kAvx512>(isa);
  if (kernels == nullptr) kernels = if_available<&kAvx512Vnni>(isa);
  if (kernels == nullptr) kernels = if_available<&kAvx512Bf16>(isa);
  if (kernels == nullptr) kernels = if_available<&kAvx512Amx>(isa);
#endif
  return kernels;
}

const Kernels& cpu_kernels() {
#if defined(HEED_AVX512)
  if (has_amx()) return kernels_of<&kAvx512Amx>();
  if (has_avx512_bf16() && bf16_pays()) return kernels_of<&kAvx512Bf16>();
  if (has_avx512_vnni()) return kernels_of<&kAvx512Vnni>();
  if (has_avx512()) return kernels_of<&kAvx512>();
#endif
#if defined(__x86_64__)
  if (has_avx2()) return kernels_of<&kAvx2>();
#endif
  return kernels_of<&kBaseline>();
}

}  // namespace heed
