#include "engine/runner.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "base/memory.h"

namespace heed {
namespace {

Result<DType> compute_dtype(const Checkpoint& checkpoint, const std::string& wanted) {
  if (wanted == "float32") return DType::kF32;
  if (wanted == "bfloat16") return DType::kBF16;
  if (wanted != "auto") return invalid("dtype \"" + wanted + "\"; auto, float32 or bfloat16 is expected");
  return checkpoint.dtype == "bfloat16" ? DType::kBF16 : DType::kF32;
}

std::vector<AttentionNeeds> needs_of(const ModelSpec& spec, DType kv_dtype, int block) {
  std::vector<AttentionNeeds> needs;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& a = layer.mixer;
    needs.push_back({.heads = a.heads,
                     .kv_heads = a.kv_heads,
                     .head_dim = a.head_dim,
                     .v_dim = a.v_dim,
                     .kv_dtype = kv_dtype,
                     .block = block,
                     .softcap = a.softcap > 0});
  }
  return needs;
}

}  // namespace

Result<RunPlan> plan_run(const Checkpoint& checkpoint, const RunnerOptions& options) {
  TRY(check_tensors(checkpoint));
  const ModelSpec& spec = checkpoint.spec;
  RunPlan plan;
  plan.compute = TRY(compute_dtype(checkpoint, options.dtype));
  // The kernel block divides the block that is allocated and hashed, whatever size that has.
  constexpr int kKernelBlock = 16;
  const int block_size = options.block_size > 0 ? options.block_size : kKernelBlock;
  const int kernel_block = std::gcd(block_size, kKernelBlock);
  plan.choice = TRY(choose(needs_of(spec, plan.compute, kernel_block), options.backend, options.attention));
  std::vector<AttentionSpec> layers;
  for (const LayerSpec& layer : spec.layers) layers.push_back(layer.mixer);
  plan.layout = TRY(plan_cache(layers, plan.compute, kernel_block, block_size));

  plan.wanted_step_tokens = std::max(options.step_tokens, 1);
  const int length = options.max_len > 0 ? options.max_len : spec.max_positions;
  if (!set_length(plan, length))
    return limit_reached("a cache for " + std::to_string(length) + " tokens does not fit memory");

  Weights shapes;
  for (const TensorNeed& need : needed_tensors(spec, shapes)) {
    const Tensor stored = TRY(checkpoint.shards[checkpoint.shard_of.at(need.name)].tensor(need.name));
    const Placement place = placement(need.kind, stored.dtype, plan.compute);
    plan.weight_bytes += stored.bytes();
    (place.in_place ? plan.mapped_bytes : plan.owned_bytes) += stored.elements() * size_of(place.dtype);
  }
  return plan;
}

bool set_length(RunPlan& plan, int max_len) {
  plan.max_len = max_len;
  plan.step_tokens = std::min(plan.wanted_step_tokens, max_len);
  plan.pages = most_pages(plan.layout, max_len, plan.step_tokens);
  const auto bytes = checked_mul(plan.pages, plan.layout.page_bytes);
  plan.cache_bytes = bytes.value_or(INT64_MAX);
  return bytes.has_value();
}

Runner::Runner(Checkpoint checkpoint, RunPlan plan, Weights weights, const Resources& resources)
    : checkpoint_(std::move(checkpoint)),
      plan_(std::move(plan)),
      model_(make_model(checkpoint_.spec, std::move(weights), plan_.compute)),
      cache_(plan_.layout, {.pages = static_cast<int>(plan_.pages),
                            .max_len = plan_.max_len,
                            .sequences = resources.sequences,
                            .prefix_caching = resources.prefix_caching}),
      layer_cache_(cache_.layers()),
      pool_(resources.threads),
      arena_(resources.arena_bytes) {}

void Runner::populate(const std::atomic<bool>& stop) const {
  const auto touch = [&](char* memory, int64_t bytes) {
    constexpr int64_t kPiece = int64_t{4} << 20;
    for (int64_t at = 0; at < bytes && !stop; at += kPiece) {
      heed::populate(memory + at, std::min(kPiece, bytes - at));
    }
  };
  touch(cache_.pool().memory(), cache_.pool().bytes());
  for (const Buffer& chunk : arena_.chunks()) touch(static_cast<char*>(chunk.data()), chunk.bytes());
}

Result<std::unique_ptr<Runner>> Runner::load(Checkpoint checkpoint, const RunnerOptions& options,
                                             const Progress& progress) {
  RunPlan plan = TRY(plan_run(checkpoint, options));
  return load(std::move(checkpoint), std::move(plan), {.threads = options.threads}, progress);
}

Result<std::unique_ptr<Runner>> Runner::load(Checkpoint checkpoint, RunPlan plan, const Resources& resources,
                                             const Progress& progress) {
  Weights weights = TRY(load_weights(checkpoint, plan.compute, progress));
  return std::unique_ptr<Runner>(
      new Runner(std::move(checkpoint), std::move(plan), std::move(weights), resources));
}

Tensor Runner::step(std::span<const Scheduled> scheduled) {
  build_batch(cache_, scheduled, batch_);
  arena_.release({});
  Stream stream{.pool = &pool_};
  const Tensor logits = forward(model_, batch_,
                                {.kernels = *plan_.choice.kernels,
                                 .attention = plan_.choice.attention,
                                 .cache = layer_cache_,
                                 .stream = stream,
                                 .arena = arena_});
  for (const Scheduled& item : scheduled) item.sequence->computed += item.count;
  return logits;
}

Status Runner::check_tokens(std::span<const int> tokens) const {
  for (const int token : tokens) {
    if (token < 0 || token >= spec().vocab) {
      return invalid("token id " + std::to_string(token) + " is outside the model's vocabulary of " +
                     std::to_string(spec().vocab));
    }
  }
  return {};
}

int Runner::next_cut(const Sequence& sequence, int budget) const {
  const int end = static_cast<int>(sequence.tokens.size());
  const auto legal = [&](int cut) {
    return std::all_of(plan_.layout.groups.begin(), plan_.layout.groups.end(),
                       [&](const CacheGroup& group) { return can_cut(group.mask, sequence.facts(), cut); });
  };
  const int furthest = std::min(sequence.computed + budget, end);
  for (int cut = furthest; cut > sequence.computed; --cut) {
    if (legal(cut)) return cut;
  }
  int cut = furthest + 1;
  while (cut < end && !legal(cut)) ++cut;
  return std::min(cut, end);
}

Result<Tensor> Runner::prefill(Sequence& sequence, int logit_count) {
  const int end = static_cast<int>(sequence.tokens.size());
  CHECK(sequence.computed < end, sequence.computed, end);
  TRY(check_tokens(std::span(sequence.tokens).subspan(sequence.computed)));
  if (end > plan_.max_len) {
    return limit_reached(std::to_string(end) + " tokens exceed the longest context of " +
                         std::to_string(plan_.max_len) + " tokens");
  }
  Tensor logits;
  while (sequence.computed < end) {
    const int cut = next_cut(sequence, plan_.step_tokens);
    if (!cache_.extend(sequence, cut))
      return limit_reached("no free cache pages for " + std::to_string(cut) + " tokens");
    const int count = cut - sequence.computed;
    CHECK(cut < end || logit_count <= count, logit_count, count);
    const Scheduled item{.sequence = &sequence, .count = count, .logit_count = cut == end ? logit_count : 0};
    logits = step({&item, 1});
  }
  return logits;
}

}  // namespace heed
