#include "engine/memory_plan.h"

#include <algorithm>

#include "base/checked.h"
#include "model/measure.h"

namespace heed {
namespace {

// Program, tokenizer and chat template, compiled grammars, threads' stacks, connections and their buffers.
constexpr int64_t kReserve = int64_t{96} << 20;

// Block tables of a sequence.
int64_t table_bytes(const RunPlan& run) {
  int64_t stride = 0;
  for (const CacheGroup& group : run.layout.groups) {
    const int64_t blocks = div_up(run.max_len, group.block_tokens);
    stride = std::max(stride, blocks * group.block_tokens / run.layout.kernel_block);
  }
  return std::ssize(run.layout.groups) * stride * int64_t{sizeof(int32_t)};
}

int64_t sequence_bytes(const RunPlan& run) {
  const int64_t length = run.max_len;
  int64_t bytes = int64_t{4096} + length * int64_t{sizeof(int)} + table_bytes(run);
  int64_t smallest = length;
  for (const CacheGroup& group : run.layout.groups) {
    bytes += div_up(length, group.block_tokens) * int64_t{sizeof(int)};
    smallest = std::min<int64_t>(smallest, run.layout.kernel_block);
  }
  return bytes + (length / std::max<int64_t>(smallest, 1) + 1) * int64_t{sizeof(Hash128)};
}

// Linear layers that one op runs at most: experts of a layer, or heads.
int64_t most_products(const ModelSpec& spec) {
  int64_t most = 0;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.moe) most = std::max<int64_t>(most, layer.moe->experts);
    if (const auto* latent = std::get_if<LatentAttentionSpec>(&layer.mixer))
      most = std::max<int64_t>(most, latent->heads);
  }
  return most;
}

// Of a token: experts it goes through.
int64_t most_choices(const ModelSpec& spec) {
  int64_t most = 1;
  for (const LayerSpec& layer : spec.layers) most = std::max<int64_t>(most, layer.moe ? layer.moe->top_k : 1);
  return most;
}

// Elements of the last two dimensions of a state: of one head, where there are heads.
int64_t largest_head_state(const StateLayout& states) {
  int64_t most = 0;
  for (const std::vector<StateTensor>& layer : states.layers) {
    for (const StateTensor& state : layer) {
      const size_t rank = state.shape.size();
      most = std::max(most, state.shape[rank - 1] * (rank > 1 ? state.shape[rank - 2] : 1));
    }
  }
  return most;
}

// Of one call of the vision tower, with what is empty in the last blocks of pictures.
int64_t tower_patches(const ModelSpec& spec, const RunPlan& run) {
  return round_up(most_patches(*spec.vision), run.layout.kernel_block);
}

int64_t scratch_bytes(const RunPlan& run, const StepSize& size) {
  int64_t most = run.choice.kernels->scratch_bytes(size);
  for (size_t i = 0; i < run.attention.size(); ++i) {
    if (run.choice.attention[i] == nullptr) continue;
    most = std::max(most, run.choice.attention[i]->scratch_bytes(run.attention[i], size));
  }
  return most;
}

int64_t tower_scratch_bytes(const ModelSpec& spec, const RunPlan& run, StepSize size) {
  size.tokens = size.length = size.keys = tower_patches(spec, run);
  size.linear_rows = size.tokens;
  const AttentionNeeds needs = vision_attention_needs(*spec.vision, run.compute, run.layout.kernel_block);
  return std::max(run.choice.kernels->scratch_bytes(size), run.vision_attention->scratch_bytes(needs, size));
}

// Results kept by content, as much held by sequences, as much of pictures before they are encoded (the
// service's), and one call of the tower.
int64_t image_bytes(const ModelSpec& spec, const RunPlan& run, const MemoryNeeds& needs) {
  const VisionSpec& v = *spec.vision;
  const int64_t patches = tower_patches(spec, run);
  const int64_t call = patches * v.hidden + int64_t{v.prep.max_soft_tokens} * spec.hidden;
  constexpr int64_t kPatchBytes = 64;  // positions, slots, rows
  return 3 * needs.image_bytes + call * size_of(DType::kF32) + patches * kPatchBytes;
}

const ModelSpec* drafter_of(const RunPlan& run) { return run.draft ? &run.draft->checkpoint->spec : nullptr; }

// One pass of guesses; its logits may be the target's.
int64_t guess_arena_bytes(const ModelSpec& target, const RunPlan& run) {
  ModelSpec drafter = *drafter_of(run);
  drafter.vocab = std::max(drafter.vocab, target.vocab);
  const int rows = std::max(kMostDraftRows, run.draft->most_guesses + 1);
  return arena_bytes(drafter, run.compute, rows, rows);
}

int64_t feature_bytes(const RunPlan& run, const MemoryNeeds& needs) {
  if (!run.draft) return 0;
  const ModelSpec& drafter = *drafter_of(run);
  return feature_rows(drafter, run.pages, needs.sequences, needs.drafts) * drafter.hidden *
         size_of(DType::kF32);
}

// Of the arrays of a batch, with those of a drafter's guesses beside it.
int64_t batch_bytes(const RunPlan& run, int tokens) {
  constexpr int64_t kTokenBytes = 4 * sizeof(int32_t);  // besides its groups
  constexpr int64_t kFeatureBytes = 2 * sizeof(int64_t) + sizeof(int32_t);
  int64_t groups = std::ssize(run.layout.groups);
  int64_t bytes = kTokenBytes;
  if (run.draft) {
    ++groups;  // for its own masks
    bytes += kFeatureBytes;
    tokens += kMostDraftRows;
  }
  return tokens * (bytes + groups * int64_t{sizeof(int64_t) + sizeof(RowMask)});
}

}  // namespace

std::vector<MemoryPlan::Part> MemoryPlan::parts() const {
  const bool here = !accelerated;
  std::vector<Part> all = {
      {"mapped weights", mapped_weights,
       here ? "used where their files are mapped" : "copied from where their files are mapped", here},
      {"owned weights", owned_weights, "converted to what is computed with", here},
      {"cache", cache, "pages of keys and values", here},
      {"states", states, "of recurrent layers: a slot a sequence, and snapshots", here},
      {"sequences", sequences, "tokens, hashes and block tables of those running"},
      {"features", features, "hidden states that a drafter begins with", here},
      {"images", images, "encoded pictures, and those in the vision tower", here},
      {"requests", requests, "prompts, counts and log-probabilities of all"},
      {"step", step, "activations and logits of the largest step", here},
      {"scratch", scratch, "within kernels", here},
      {"sampling", sampling, "one row a thread"},
      {"reserve", reserve, "program, tokenizer, connections"}};
  if (here) return all;
  all.push_back({"logits", logits, "as they come back from the device"});
  all.push_back({"device reserve", device_reserve, "driver and libraries of the device", false});
  return all;
}

namespace {

int64_t sum_of(const std::vector<MemoryPlan::Part>& parts, bool on_host) {
  int64_t sum = 0;
  for (const MemoryPlan::Part& part : parts) {
    if (part.on_host == on_host) sum = checked_add(sum, part.bytes).value_or(INT64_MAX);
  }
  return sum;
}

}  // namespace

int64_t MemoryPlan::total() const { return sum_of(parts(), !accelerated); }

int64_t MemoryPlan::host_total() const { return accelerated ? sum_of(parts(), true) : 0; }

int64_t step_arena_bytes(const ModelSpec& spec, const RunPlan& run, const MemoryNeeds& needs) {
  const int tokens = most_step_tokens(run, needs.sequences);
  const int64_t rows = std::min<int64_t>(tokens, needs.sequences + needs.prompt_logit_rows);
  int64_t step = arena_bytes(spec, run.compute, tokens, rows, drafter_of(run));
  if (run.draft) step = std::max(step, guess_arena_bytes(spec, run));
  return spec.vision ? std::max(step, vision_arena_bytes(spec, run.compute, tower_patches(spec, run))) : step;
}

MemoryPlan plan_memory(const ModelSpec& spec, const RunPlan& run, const MemoryNeeds& needs,
                       const MemoryLimit& limit, const MemoryLimit& host_limit) {
  const int tokens = most_step_tokens(run, needs.sequences);
  const int guessed = run.draft ? std::max(kMostDraftRows, run.draft->most_guesses + 1) : 0;
  const StepSize size = {.tokens = std::max(tokens, guessed),
                         .sequences = needs.sequences,
                         .length = run.max_len,
                         .keys = most_keys(run),
                         .width = std::max(widest_row(spec), run.draft ? widest_row(*drafter_of(run)) : 0),
                         .products = most_products(spec),
                         .linear_rows = int64_t{tokens} * most_choices(spec),
                         .has_blocks = run.block_weights,
                         .head_state = largest_head_state(run.states),
                         .threads = needs.threads};
  constexpr int64_t kCandidateBytes = 64;  // logits, weights and ids of one token, while sorted
  MemoryPlan plan;
  plan.mapped_weights = run.mapped_bytes;
  plan.owned_weights = run.owned_bytes;
  plan.cache = run.pages * run.layout.page_bytes;
  plan.states = (int64_t{needs.sequences} + needs.snapshots) * run.states.slot_bytes() +
                StatePool::index_bytes(needs.snapshots);
  plan.sequences =
      needs.sequences * sequence_bytes(run) + BlockPool::state_bytes(run.pages) + needs.proposer_bytes;
  plan.features = feature_bytes(run, needs);
  plan.images = spec.vision ? image_bytes(spec, run, needs) : 0;
  plan.requests = needs.request_bytes;
  plan.step = step_arena_bytes(spec, run, needs) + batch_bytes(run, tokens);
  plan.scratch = scratch_bytes(run, size);
  if (spec.vision) plan.scratch = std::max(plan.scratch, tower_scratch_bytes(spec, run, size));
  plan.sampling = needs.threads * int64_t{spec.vocab} * kCandidateBytes;
  plan.reserve = kReserve;
  plan.limit = limit;
  if (run.place.on_host()) return plan;
  plan.accelerated = true;
  plan.step += needs.sequences * table_bytes(run);  // the device's copy
  plan.host_limit = host_limit;
  plan.device_reserve = run.place.kernels->accelerator->reserve_bytes;
  const int64_t rows = std::min<int64_t>(tokens, needs.sequences + needs.prompt_logit_rows) + guessed;
  plan.logits = 2 * rows * spec.vocab * size_of(DType::kF32);  // as their buffer grows
  return plan;
}

}  // namespace heed
