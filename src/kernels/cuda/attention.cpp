// cuda.flash: from an op's arguments to the launches of its two kernels.
#include "kernels/cuda/attention.h"

#include <algorithm>

#include "kernels/checks.h"
#include "kernels/cuda/attention_launch.h"
#include "kernels/cuda/runtime.h"

namespace heed {

AttentionPlanShape cuda_plan_shape(const AttentionNeeds& needs, const CudaStream& stream) {
  const bool fp8 = needs.kv_dtype == DType::kE4M3;
  const int blocks =
      stream.sms() * (fp8 ? cuda::short_blocks_fp8 : cuda::short_blocks)(needs.head_dim, needs.v_dim);
  return {.group = needs.heads / needs.kv_heads,
          .prefill_tile = stream.hopper() ? cuda::prefill_tile(needs.head_dim, needs.v_dim) : 0,
          .bins = std::clamp(blocks / needs.kv_heads, 1, kMostBins)};
}

namespace cuda {
namespace {

constexpr int kMostK = 576, kMostV = 512;

int chunk_of(DType dtype) { return static_cast<int>(16 / size_of(dtype)); }  // elements in 16 bytes

bool in_chunks(const Tensor& cache) {
  const int chunk = chunk_of(cache.dtype);
  return reinterpret_cast<uintptr_t>(cache.data) % 16 == 0 && cache.stride[0] % chunk == 0 &&
         cache.stride[1] % chunk == 0 && cache.stride[2] % chunk == 0;
}
bool in_fours(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % static_cast<uintptr_t>(4 * size_of(t.dtype)) == 0 &&
         t.stride[0] % 4 == 0 && t.stride[1] % 4 == 0;
}

// Partial results of `slots` slots: sums, then stats.
int64_t sums_bytes(int64_t slots, int64_t kv_heads, int64_t v_dim) {
  return slots * kv_heads * kShortTile * v_dim * int64_t{sizeof(float)};
}
int64_t stats_bytes(int64_t slots, int64_t kv_heads) {
  return slots * kv_heads * kShortTile * int64_t{sizeof(float2)};
}

AttentionParams params_of(const AttentionArgs& args, const Shapes& n) {
  const Tensor& k = args.kv.k;
  const Tensor& v = args.kv.v;
  const bool capped = args.softcap > 0;
  const bool fp8 = k.dtype == DType::kE4M3;
  const float scale = capped ? args.scale / args.softcap : args.scale * kLog2E;
  return {.q = args.q.f32(),
          .q_token = args.q.stride[0],
          .q_head = args.q.stride[1],
          .k = k.data,
          .v = v.data,
          .k_block = k.stride[0],
          .k_head = k.stride[1],
          .k_row = k.stride[2],
          .v_block = v.stride[0],
          .v_head = v.stride[1],
          .v_row = v.stride[2],
          .block = static_cast<int>(n["block"]),
          .blocks = n["blocks"],
          .table = args.kv.table,
          .table_rows = args.kv.table_rows,
          .table_stride = args.kv.table_stride,
          .rows = args.rows,
          .plan = static_cast<const AttentionPlanHeader*>(args.plan->device),
          .group = static_cast<int>(n["heads"] / n["kv_heads"]),
          .kv_heads = static_cast<int>(n["kv_heads"]),
          .head_dim = static_cast<int>(n["head_dim"]),
          .v_dim = static_cast<int>(n["v_dim"]),
          .of_group = Quotient(n["heads"] / n["kv_heads"]),
          .of_kv_heads = Quotient(n["kv_heads"]),
          .of_block = Quotient(n["block"] / kSlice),
          .scale_log2 = fp8 ? 1 : scale,
          .query_scale = scale,
          .k_scale = args.kv.k_scale.as<const float>(),
          .v_scale = args.kv.v_scale.as<const float>(),
          .cap_log2 = capped ? args.softcap * kLog2E : 0,
          .sink_logits = args.sink_logits,
          .out = args.out.data,
          .out_token = args.out.stride[0],
          .out_head = args.out.stride[1],
          .out_bf16 = args.out.dtype == DType::kBF16,
          .reads_ahead = args.plan->recorded_slots > 0 && args.plan->reads_ahead,
          .partial = nullptr,
          .stats = nullptr,
          .arrivals = nullptr};
}

}  // namespace

void flash_attention(Stream& stream, const AttentionArgs& args) {
  const Shapes n = check(args);
  if (n["tokens"] == 0) return;
  CHECK(args.plan != nullptr && args.plan->device != nullptr, "cuda.flash wants a plan on the device");
  CHECK(args.plan->shape.group * n["kv_heads"] == n["heads"], args.plan->shape.group, n["heads"],
        n["kv_heads"]);
  CHECK(in_chunks(args.kv.k) && in_chunks(args.kv.v) && in_fours(args.q) && in_fours(args.out),
        "cuda.flash wants rows at multiples of 16 bytes");
  CHECK(std::max(args.kv.k.stride[2], args.kv.v.stride[2]) <= INT32_MAX, args.kv.k.stride[2]);
  CHECK(n["tokens"] * (n["heads"] / n["kv_heads"]) < kMostDividend, n["tokens"]);
  CHECK(args.scale > 0, args.scale);  // the largest product is then the largest score
  CudaStream& device = device_of(stream);
  AttentionParams params = params_of(args, n);
  const bool fp8 = args.kv.k.dtype == DType::kE4M3;
  const bool recorded = args.plan->recorded_slots > 0;
  const int slots = recorded ? args.plan->recorded_slots : args.plan->slots;
  CHECK(args.plan->slots <= slots, args.plan->slots, slots);
  CHECK(std::ssize(args.plan->merges) * n["kv_heads"] <= CudaStream::kCounters, args.plan->merges.size());
  const int64_t sums = sums_bytes(slots, n["kv_heads"], n["v_dim"]);
  char* scratch = static_cast<char*>(device.scratch(sums + stats_bytes(slots, n["kv_heads"])));
  params.partial = reinterpret_cast<float*>(scratch);
  params.stats = reinterpret_cast<float2*>(scratch + sums);
  params.arrivals = device.counters();
  const AttentionLaunch launch = {.stream = stream,
                                  .sms = device.sms(),
                                  .narrow = args.plan->most_rows <= kNarrowTile,
                                  .sparse = args.plan->is_sparse()};
  if (!args.plan->prefill_units.empty()) {
    CHECK(!recorded && args.plan->shape.prefill_tile == prefill_tile(params.head_dim, params.v_dim),
          params.head_dim);
    (fp8 ? run_prefill_fp8 : run_prefill)(launch, params);
  }
  if (!recorded && args.plan->short_units.empty()) return;
  (fp8 ? run_short_fp8 : run_short)(launch, params);
}

AttentionPlanShape flash_plan_shape(const AttentionNeeds& needs, const Stream& stream) {
  return cuda_plan_shape(needs, device_of(stream));
}

namespace {

// Whether the calling thread's device has the instructions of sm_90a.
bool on_hopper() {
  int device = 0;
  int major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major == 9;
}

}  // namespace

std::string flash_why_not(const AttentionNeeds& needs) {
  if (needs.kv_dtype != DType::kBF16 && needs.kv_dtype != DType::kE4M3) {
    return "cache of " + std::string(name_of(needs.kv_dtype)) + ": takes bfloat16 and fp8";
  }
  const int chunk = chunk_of(needs.kv_dtype);
  if (needs.head_dim % chunk != 0 || needs.v_dim % chunk != 0 || needs.head_dim < chunk ||
      needs.v_dim < chunk || needs.head_dim > kMostK || needs.v_dim > kMostV) {
    return "head_dim " + std::to_string(needs.head_dim) + ", v_dim " + std::to_string(needs.v_dim) +
           ": takes multiples of " + std::to_string(chunk) + " up to " + std::to_string(kMostK) + " and " +
           std::to_string(kMostV);
  }
  if (needs.block % 16 != 0) return "block of " + std::to_string(needs.block) + ": takes multiples of 16";
  if (needs.kv_heads < 1 || needs.heads % needs.kv_heads != 0) {
    return std::to_string(needs.heads) + " heads with " + std::to_string(needs.kv_heads) +
           " kv heads: takes kv heads that divide the heads";
  }
  return "";
}

int64_t flash_scratch_bytes(const AttentionNeeds& needs, const StepSize& size) {
  constexpr int64_t kPadding = 8;  // sequences that a recorded step may have besides
  const bool tiles = on_hopper() && prefill_tile(needs.head_dim, needs.v_dim) > 0;
  const AttentionPlanShape shape = {.group = needs.heads / needs.kv_heads,
                                    .prefill_tile = tiles ? prefill_tile(needs.head_dim, needs.v_dim) : 0};
  const int64_t slots = std::max(most_slots(size.tokens, size.sequences, size.length, shape, size.keys),
                                 most_decode_slots(size.sequences + kPadding, size.length, shape, size.keys));
  return sums_bytes(slots, needs.kv_heads, needs.v_dim) + stats_bytes(slots, needs.kv_heads);
}

}  // namespace cuda
}  // namespace heed
