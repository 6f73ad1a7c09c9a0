// A loaded model with its cache, ready to run steps. Owns the checkpoint's maps, weights, pages and scratch
// memory.
//
// Not thread-safe: one caller at a time.
#pragma once
#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/select.h"
#include "engine/batch.h"
#include "engine/cache.h"
#include "engine/device_run.h"
#include "engine/drafter.h"
#include "engine/proposer.h"
#include "model/checkpoint.h"
#include "model/forward.h"

namespace heed {

inline constexpr int kLongestThatFits = -1;  // for plan_engine; else the model's max_positions

struct RunnerOptions {
  std::string dtype = "auto";     // "auto": the checkpoint's; "float32" or "bfloat16"
  std::string device;             // "cpu", "cuda:0"; "": the backend's
  std::string backend;            // "": the best that can run here; else a name
  std::string attention;          // "": the backend's first that can; else a kernel's name
  std::string quantize = "none";  // plain matrices are rounded when loaded: "int8" (Q8_0), "int4" (Q4_0)
  std::string kv_cache_dtype = "auto";  // "auto": as dtype; "float32", "bfloat16", "int8" or "fp8"
  int threads = 0;                      // 0: one for each of `cpus`, or all processors
  std::vector<int> cpus;                // that they run on, one each; empty: anywhere (base/processors.h)
  std::string state_dtype = "float32";  // of recurrent states: or "bfloat16"
  int snapshot_stride = 512;            // tokens between snapshots of recurrent states
  int block_size = 0;                   // tokens in a cache block; 0: the backend's kernel block
  int max_len = 0;                      // longest sequence; 0: the model's max_positions; or kLongestThatFits
  int step_tokens = 0;                  // most tokens of a prefill step; 0: 256, on an accelerator 8192
  bool recordings = true;               // steps of an accelerator may be recorded and replayed
  std::string drafter;                  // folder of a model that guesses for this one; "": none
  bool draft_heads = false;             // it is the heads (ModelSpec::heads) that lie in that folder
};

// The model that guesses. Its layers stand behind the target's in RunPlan's lists.
struct DraftPlan {
  std::shared_ptr<const Checkpoint> checkpoint;
  int first_layer = 0;
  int most_guesses = 0;  // at a time; 0: any number
};

// All that follows from a checkpoint's headers and the options, before a weight is read.
struct RunPlan {
  DType compute = DType::kF32;
  DeviceChoice place;
  Workers workers;
  bool recordings = true;
  bool block_weights = false;  // some weights are in blocks
  DType narrow = DType::kF32;  // WeightOptions::narrow
  Choice choice;
  std::optional<DraftPlan> draft;
  std::vector<AttentionNeeds> attention;  // of every layer
  CacheLayout layout;
  StateLayout states;
  int snapshot_stride = 0;
  int max_len = 0;
  int step_tokens = 0;
  int wanted_step_tokens = 0;  // before it was cut to max_len
  int image_tokens = 0;        // most that run together since a picture cannot be cut; 0: all can
  const AttentionKernel* vision_attention = nullptr;  // of the tower, where there is one
  int64_t pages = 0;                                  // for one sequence of max_len
  int64_t cache_bytes = 0;                            // of those pages
  int64_t weight_bytes = 0;                           // in the checkpoint's files
  int64_t owned_bytes = 0;                            // converted ones, in memory
  int64_t mapped_bytes = 0;                           // those used where their file is mapped
};
// Most tokens of a step beside which `others` have one each: a picture may be longer than the usual step.
inline int most_step_tokens(const RunPlan& plan, int others) {
  const int longest = std::min(plan.image_tokens, plan.max_len);
  return longest > 0 ? std::max(plan.step_tokens, longest + others) : plan.step_tokens;
}
// Tokens that a cache of its pages holds, of one group alone.
int64_t most_keys(const RunPlan& plan);
// The attention kernel that the layers have, for people; "none" where no layer needs one.
std::string attention_name(const RunPlan& plan);
Result<RunPlan> plan_run(const Checkpoint& checkpoint, const RunnerOptions& options);
// Plans for one sequence of another length. False if its cache has no size.
bool set_length(RunPlan& plan, int max_len);

class Runner {
 public:
  // One sequence of plan.max_len fits the cache.
  static Result<std::unique_ptr<Runner>> load(Checkpoint checkpoint, const RunnerOptions& options,
                                              const Progress& progress = nullptr);
  // With the pages that the plan says.
  struct Resources {
    int sequences = 1;  // at a time; more are possible at the price of memory taken later
    bool prefix_caching = false;
    int snapshots = 0;          // of recurrent states, at most
    int drafts = kMostDrafts;   // by the plan's drafter, of a sequence at a time
    int64_t arena_bytes = 0;    // 0: grows as it must
    int64_t scratch_bytes = 0;  // of an accelerator's ops; 0: grows as it must
  };
  static Result<std::unique_ptr<Runner>> load(Checkpoint checkpoint, RunPlan plan, const Resources& resources,
                                              const Progress& progress = nullptr);

  // Runs the tokens and counts them as computed. Returns logits [sum of logit_count, vocab] f32, valid until
  // the next step. The cache must have been extended for them.
  // `draws`: one for each row, where only the tokens are wanted; where they are known without the logits
  // coming to the host, drawn() has them and the tensor is undefined.
  Tensor step(std::span<const Scheduled> scheduled, std::span<const DrawRow> draws = {}) {
    return finish(begin(scheduled, draws));
  }
  // The same in halves: begin() counts the tokens as computed, finish() waits for what they came to. Between
  // the two the next step may be begun where the device draws (SentStep::draws) or no logits are wanted;
  // see DeviceRun::read().
  SentStep begin(std::span<const Scheduled> scheduled, std::span<const DrawRow> draws);
  Tensor finish(const SentStep& sent) { return device_run_ ? device_run_->read(sent) : sent.logits; }
  std::span<const int32_t> drawn() const {
    return device_run_ ? device_run_->drawn() : std::span<const int32_t>();
  }

  // Runs all tokens of the sequence not yet computed, in steps of at most plan().step_tokens cut where its
  // masks allow. Returns the logits of the last `logit_count` tokens, which must fit the last step. An error
  // if the tokens do not fit the model's vocabulary or the cache.
  Result<Tensor> prefill(Sequence& sequence, int logit_count);

  // The position that the next step of at most `budget` tokens may go to, as the masks of all groups allow;
  // beyond the budget only where there is no legal cut within it.
  int next_cut(const Sequence& sequence, int budget) const;

  // Takes the cache's and the arena's memory now, so that no step waits for it or finds it gone. Steps may
  // run meanwhile. Ends early when `stop` is set.
  void populate(const std::atomic<bool>& stop) const;
  // The calling thread, which is going to call step(), runs where the plan's first worker does.
  void place_caller() const { pool_.place_caller(); }

  // Pictures on their way through the tower; encode() goes on by so many layers.
  ImageEncoding begin_encoding(std::vector<std::shared_ptr<const ImagePatches>> pictures) const;
  void encode(ImageEncoding& encoding, int layers);
  // Those that the sequence needs and has not, at once.
  void encode_all(Sequence& sequence);
  // What one layer of the tower costs for these pictures, as tokens of the text model.
  int layer_cost(const ImageEncoding& encoding) const;

  // Guesses by the plan's drafter, which must be there.
  void propose(std::span<DraftAsk> asks, const Drafter::Draw& draw);

  // Token ids that the vocabulary holds; an error names the first that it does not.
  Status check_tokens(std::span<const int> tokens) const;

  Cache& cache() { return cache_; }
  const ModelSpec& spec() const { return model_.spec; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const RunPlan& plan() const { return plan_; }
  const Weights& weights() const { return model_.weights; }
  const Narrowed& narrowed() const { return model_.weights.narrowed; }
  ThreadPool& pool() { return pool_; }
  // From now on it is noted when each step runs on an accelerator; and what was noted since, from any thread.
  void trace_steps() {
    if (device_run_) device_run_->trace();
  }
  std::vector<TracedStep> take_traced() {
    return device_run_ ? device_run_->take_traced() : std::vector<TracedStep>();
  }
  DeviceTimes device_times() const { return device_run_ ? device_run_->times() : DeviceTimes{}; }

 private:
  Runner(std::unique_ptr<Device> accelerator, Checkpoint checkpoint, RunPlan plan, Weights weights,
         const Resources& resources);
  Status load_drafter(int most_guesses);
  void use_accelerator(int64_t scratch_bytes);
  Stream stream() { return {.pool = &pool_, .device = device_.stream()}; }
  Tensor run_forward(Stream& stream);

  std::unique_ptr<Device> accelerator_;  // null: all is done on the host
  Device& device_;
  Checkpoint checkpoint_;
  RunPlan plan_;
  Model model_;
  Cache cache_;
  std::vector<LayerCache> layer_cache_;
  std::vector<Tensors> states_;
  ThreadPool pool_;
  Arena arena_;
  // Of the accelerator: the model's steps, and its drafter's guesses.
  std::unique_ptr<DeviceTables> device_tables_;
  std::unique_ptr<DeviceRun> device_run_, guess_run_;
  std::unique_ptr<Drafter> drafter_;
  Batch batch_;             // of the last step; kept for its memory
  double token_flops_ = 1;  // of the text model, about
};

}  // namespace heed
