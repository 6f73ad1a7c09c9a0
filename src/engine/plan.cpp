// plan_engine: how long, how many and how much of the memory, or why not.
#include <algorithm>

#include "base/checked.h"
#include "engine/draft_features.h"
#include "engine/engine.h"

namespace heed {
namespace {

constexpr int64_t kLeastRequestBytes = int64_t{128} << 20;

bool speculates(const EngineOptions& options) {
  return options.make_proposer || !options.speculative.method.empty();
}

// Guesses at a time, or why not so many.
Result<int> most_drafts(const EngineOptions& options, const RunPlan& run) {
  if (!speculates(options)) return 0;
  const int most = run.draft && run.draft->most_guesses > 0 ? run.draft->most_guesses : kMostDrafts;
  const int wanted = options.speculative.tokens;
  if (wanted > most) {
    return invalid("--speculative-config: num_speculative_tokens is " + std::to_string(wanted) + "; " +
                   options.speculative.model + " guesses at most " + std::to_string(most));
  }
  if (wanted > 0) return wanted;
  if (options.speculative.method == "suffix") return std::min(options.speculative.suffix.depth, kMostDrafts);
  return run.draft && run.draft->most_guesses > 0 ? std::min(most, kMostDrafts) : kUsualDrafts;
}

// Methods that name a kind of drafter get no other.
Status check_kind(const std::string& method, const RunPlan& run) {
  using Kind = DraftSpec::Kind;
  if (method != "dflash" && method != "eagle3") return {};
  const Checkpoint& drafter = *run.draft->checkpoint;
  const Kind wanted = method == "dflash" ? Kind::kBlock : Kind::kEagle;
  if (drafter.spec.draft && drafter.spec.draft->kind == wanted) return {};
  return unsupported("--speculative-config: " + drafter.folder + " holds a " + drafter.architecture +
                     ", which is no " + (method == "dflash" ? "DFlash" : "EAGLE-3") +
                     " drafter; method \"draft_model\" takes it");
}

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const EngineOptions& options, const Proposer* proposer, RunPlan run,
          int drafts)
      : spec_(checkpoint.spec),
        options_(options),
        proposer_(proposer),
        run_(std::move(run)),
        drafts_(drafts),
        limit_(memory_limit()) {
    if (!on_host()) {
      host_limit_ = limit_;
      limit_ = {.bytes = run_.place.kernels->accelerator->free_bytes(run_.place.index),
                .source = "free on " + run_.place.name()};
    }
    if (options.memory_bytes > 0) limit_ = {.bytes = options.memory_bytes, .source = "as told"};
  }

  Result<EnginePlan> plan() {
    const bool longest = options_.runner.max_len == kLongestThatFits;
    const int wanted = longest ? spec_.max_positions : run_.max_len;
    if (!fits(wanted)) {
      const int most = longest_that_fits(wanted);
      if (!longest || most == 0) return does_not_fit(wanted, most);
      set_length(run_, most);
    }
    return with_cache();
  }

 private:
  // A plan with pages for one sequence of `length`, or for as many bytes as were asked for.
  EnginePlan at(int length) {
    EnginePlan plan{.run = run_};
    set_length(plan.run, length);
    const int64_t one = std::max<int64_t>(plan.run.pages, 1);  // without softmax attention none is needed
    plan.run.pages = one;
    if (options_.cache_bytes > 0) plan.run.pages = options_.cache_bytes / plan.run.layout.page_bytes;
    return sized(std::move(plan), one);
  }

  EnginePlan sized(EnginePlan plan, int64_t one) {
    RunPlan& run = plan.run;
    run.pages = std::min<int64_t>(run.pages, INT32_MAX);
    run.cache_bytes = run.pages * run.layout.page_bytes;
    plan.sequences = std::min(options_.max_sequences, run.step_tokens);
    plan.drafts = drafts_;
    share_states(plan);
    plan.sequence_pages = one;
    plan.full_sequences = std::min<int64_t>(run.pages / one, plan.sequences);
    plan.cache_tokens =
        static_cast<int64_t>(static_cast<double>(run.pages) / static_cast<double>(one) * run.max_len);
    const int64_t most = pictures_bytes() + request_bytes({.prompt = run.max_len,
                                                           .tokens = run.max_len,
                                                           .prompt_logprobs = options_.max_logprobs,
                                                           .penalises = true,
                                                           .masks = true,
                                                           .vocab = spec_.vocab});
    plan.needs = {.sequences = plan.sequences,
                  .snapshots = plan.snapshots,
                  .drafts = drafts_,
                  .prompt_logit_rows = prompt_logit_tokens(run) + plan.sequences * drafts_,
                  .threads = run.workers.count,
                  .request_bytes = options_.request_bytes > 0 ? options_.request_bytes
                                                              : std::max(kLeastRequestBytes, 2 * most),
                  .image_bytes = spec_.vision ? image_bytes() : 0,
                  .proposer_bytes = proposer_bytes(plan.sequences)};
    plan.memory = plan_memory(spec_, run, plan.needs, limit_, host_limit_);
    return plan;
  }

  int64_t proposer_bytes(int sequences) const {
    constexpr int64_t kMost = int64_t{1} << 60;  // so that sums stay in range whatever a plug-in says
    return proposer_ == nullptr ? 0 : std::clamp<int64_t>(proposer_->most_bytes(sequences), 0, kMost);
  }

  // Of the pixels that a request with many pictures brings.
  int64_t pictures_bytes() const {
    if (!spec_.vision) return 0;
    constexpr int64_t kMany = 16;
    const int64_t patch = int64_t{3} * spec_.vision->prep.patch * spec_.vision->prep.patch;
    return kMany * most_patches(*spec_.vision) * patch;
  }

  // Of encoded pictures that are kept: a few dozen, but at most a thirty-second of the memory.
  int64_t image_bytes() const {
    if (options_.image_bytes >= 0) return options_.image_bytes;
    constexpr int64_t kPictures = 32;
    const int64_t one = int64_t{spec_.vision->prep.max_soft_tokens} * spec_.hidden * size_of(DType::kF32);
    return std::min(kPictures * one, limit_.bytes / 32);
  }

  // Of recurrent layers: states of running sequences take at most an eighth of the memory, snapshots a
  // sixteenth unless they are told otherwise.
  void share_states(EnginePlan& plan) const {
    const int64_t slot = plan.run.states.slot_bytes();
    if (slot == 0) return;
    plan.sequences = static_cast<int>(std::clamp<int64_t>(limit_.bytes / 8 / slot, 1, plan.sequences));
    if (!options_.prefix_caching) return;
    constexpr int64_t kFew = 64;
    constexpr int64_t kOfEach = 4;  // snapshots a sequence
    const int64_t asked = options_.snapshot_bytes / slot;
    const int64_t usual = std::min(std::max(kFew, kOfEach * plan.sequences), limit_.bytes / 16 / slot);
    plan.snapshots =
        static_cast<int>(std::min<int64_t>(options_.snapshot_bytes >= 0 ? asked : usual, 1 << 24));
  }

  bool fits(int length) {
    const EnginePlan plan = at(length);
    return plan.run.pages >= plan.sequence_pages && plan.memory.fits();
  }

  int longest_that_fits(int most) {
    int lo = 0;
    int hi = most;
    while (lo < hi) {
      const int middle = lo + (hi - lo + 1) / 2;
      if (fits(middle)) {
        lo = middle;
      } else {
        hi = middle - 1;
      }
    }
    return lo;
  }

  Result<EnginePlan> with_cache() {
    EnginePlan plan = at(run_.max_len);
    if (options_.cache_bytes > 0) return plan;
    // As much as all sequences could ever hold, up to a quarter of what there is; an accelerator's memory is
    // there for nothing else.
    const int64_t one = plan.sequence_pages;
    const int64_t page = plan.run.layout.page_bytes + BlockPool::state_bytes(1);
    const int64_t room = one + (limit_.bytes - plan.memory.total()) / page;
    const int64_t share = on_host() ? std::max(limit_.bytes / 4 / page, one) : room;
    plan.run.pages = std::min({checked_mul(one, plan.sequences).value_or(INT64_MAX), share, room});
    plan = sized(std::move(plan), one);
    while (!plan.memory.fits() && plan.run.pages > one) {  // what kernels take grows with the cache
      const int64_t over = std::max<int64_t>(plan.memory.total() - limit_.bytes, 0);
      plan.run.pages = std::max(plan.run.pages - over / page - 1, one);
      plan = sized(std::move(plan), one);
    }
    return plan;
  }

  bool on_host() const { return run_.place.on_host(); }

  Error does_not_fit(int wanted, int most) {
    const EnginePlan plan = at(wanted);
    const int64_t page = plan.run.layout.page_bytes;
    const bool small_cache = plan.run.pages < plan.sequence_pages;
    std::string text;
    if (small_cache) {
      text = "a cache of " + size_text(options_.cache_bytes) + " cannot hold one sequence of " +
             std::to_string(wanted) + " tokens, which takes " + size_text(plan.sequence_pages * page);
    } else {
      text = std::to_string(wanted) + " tokens take " + size_text(plan.memory.total()) + " of memory (";
      const char* separator = "";
      for (const MemoryPlan::Part& part : plan.memory.parts()) {
        text += separator + std::string(part.name) + " " + size_text(part.bytes);
        separator = ", ";
      }
      text += "), and there are " + size_text(limit_.bytes) + " (" + limit_.source + ")";
      if (!on_host()) text += " and " + size_text(host_limit_.bytes) + " (" + host_limit_.source + ")";
    }
    if (most > 0)
      return limit_reached(text + "; --max-model-len " + std::to_string(most) + " or auto would fit");
    if (small_cache) return limit_reached(text + "; raise --kv-cache-memory");
    return limit_reached(text + "; lower --kv-cache-memory, --max-num-seqs or --max-num-batched-tokens");
  }

  const ModelSpec& spec_;
  const EngineOptions& options_;
  const Proposer* proposer_;
  RunPlan run_;
  int drafts_;
  MemoryLimit limit_, host_limit_;
};

}  // namespace

int prompt_logit_tokens(const RunPlan& run) {
  return std::max(SchedulerLimits{}.prompt_logit_tokens, run.image_tokens);
}

int64_t request_bytes(const RequestSize& size) {
  constexpr int64_t kOfEach = 4096;
  constexpr int64_t kCount = 64;     // of a token seen, in a hash map
  constexpr int64_t kPosition = 64;  // of a prompt position with log-probabilities, besides them
  int64_t bytes = kOfEach + int64_t{size.prompt} * int64_t{sizeof(int)};
  if (size.penalises) bytes += std::min<int64_t>(size.tokens, size.vocab) * kCount;
  if (size.masks) bytes += size.vocab / 8;
  if (size.prompt_logprobs >= 0) {
    const int64_t entries = 2 * (int64_t{size.prompt_logprobs} + 1);  // as vectors grow
    bytes += size.prompt * (kPosition + entries * int64_t{sizeof(Logprob)});
  }
  return bytes;
}

Result<std::unique_ptr<Proposer>> make_proposer(const EngineOptions& options) {
  if (options.make_proposer) return options.make_proposer();
  return make_proposer(options.speculative);
}

Result<EnginePlan> plan_engine(const Checkpoint& checkpoint, const EngineOptions& options) {
  const auto proposer = TRY(make_proposer(options));
  return plan_engine(checkpoint, options, proposer.get());
}

Result<EnginePlan> plan_engine(const Checkpoint& checkpoint, const EngineOptions& options,
                               const Proposer* proposer) {
  RunnerOptions runner = options.runner;
  if (!options.speculative.model.empty()) runner.drafter = options.speculative.model;
  runner.draft_heads = options.speculative.method == "mtp";
  if (runner.draft_heads && runner.drafter.empty()) runner.drafter = checkpoint.folder;
  RunPlan run = TRY(plan_run(checkpoint, runner));
  const int drafts = TRY(most_drafts(options, run));
  TRY(check_kind(options.speculative.method, run));
  if (speculates(options) && !run.states.empty() && run.states.dtype != DType::kF32) {
    // It is the same for all of them, and for proposers of somebody else's.
    const std::string reason = why_not(draft_methods().front(), DraftFeature::kRoundedStates);
    return unsupported("speculation needs recurrent states of float32: " + reason +
                       "; leave --state-dtype or --speculative-config away");
  }
  return Planner(checkpoint, options, proposer, std::move(run), drafts).plan();
}

}  // namespace heed
