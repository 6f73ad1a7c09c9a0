// A model that guesses for another one, its target. Its layers' keys and values lie in the target's pages,
// as more layers of them: they are shared, freed, found again and taken back with the target's own.
//
// A block drafter (DraftSpec, model/spec.h) reads the target's hidden states and guesses a whole block in one
// pass. MTP heads and EAGLE-3 guess token by token, each from a token and the feature of the one before it.
// Any other model of the same vocabulary guesses token by token, and reads what the target reads.
//
// A row of (feature of token p - 1, token p) lies at place p of the cache: so it depends on no token behind
// p, and a cached prefix is good for whatever follows it. The first token has no feature before it, and no
// row: place 0 is never seen. The feature that the first row behind a found prefix needs lies beside its last
// page.
//
// On an accelerator all of this stays there, and the likeliest tokens or the logits come back.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/batch.h"
#include "engine/cache.h"
#include "engine/device_run.h"
#include "engine/feature_store.h"
#include "engine/sampler.h"
#include "model/forward.h"

namespace heed {

struct DraftAsk {
  Sequence* sequence = nullptr;        // whose last token alone has not run yet
  int guesses = 0;                     // wanted; at least 1
  const Sampling* sampling = nullptr;  // takes_logits(), so that draw() need not be asked; or null
  std::vector<int> drafts = {};        // the answer: at most so many
};

class Drafter {
 public:
  // Kernels and memory; they outlive the drafter.
  struct Tools {
    const Kernels& kernels;
    std::vector<const AttentionKernel*> attention;  // per layer of the drafter
    std::vector<LayerCache> cache;                  // likewise
    Cache& pages;
    Stream stream;
    Arena& arena;
    Device& device;
    int first_layer;     // of the run
    int most_guesses;    // at a time
    DeviceRun* targets;  // on an accelerator: the steps in which it observes
    DeviceRun* guesses;  // and its own
  };
  // `model`, with the weights that its checkpoint has: it takes the others from the target, which outlives
  // it.
  Drafter(Model model, const Model& target, const Tools& tools);

  // The target's hidden states that observe() wants.
  Taps taps() const { return {.after = taps_, .normed = takes_normed()}; }
  // Before a step of the target: what observe() will need besides in the batch.
  void prepare(std::span<const Scheduled> scheduled, Batch& batch);
  // Ops behind those of the target's step, which may be recorded together: everything that is kept of the
  // batch's tokens is written.
  void observe(const Batch& batch, const Tensor& taps);

  // Draws a token from the logits of one guess: asks[ask].drafts holds those before it. Called from several
  // threads, but for one ask from one at a time.
  using Draw = std::function<int(int ask, std::span<float> logits)>;
  // Guesses for all. Where pages are lacking there are no guesses.
  void propose(std::span<DraftAsk> asks, const Draw& draw);

 private:
  struct Row {  // rows of one sequence in a batch of guesses
    int ask;
    int first;  // position
    int count;
  };
  bool is_block() const { return model_.spec.draft && model_.spec.draft->is_block(); }
  bool takes_features() const { return model_.spec.draft && !model_.spec.draft->is_block(); }
  bool takes_normed() const { return model_.spec.draft && model_.spec.draft->kind == DraftSpec::Kind::kMtp; }
  Step step(const std::vector<LayerCache>& cache, DeviceRun* run);
  int32_t feature_at(const Sequence& sequence, int place) const;
  int page_at(const Sequence& sequence, int place) const;
  int page_tokens() const;
  int most_rows(const DraftAsk& ask) const;
  void build(std::span<const DraftAsk> asks, std::span<const Row> rows);
  void add_features(const Sequence& sequence, int place);
  Tensor run(std::span<const DraftAsk> asks, std::span<const Row> rows);
  void plan_draws(std::span<const DraftAsk> asks, std::span<const Row> rows);
  void run_block(std::span<DraftAsk> asks, std::span<const Row> rows, const Draw& draw);
  void run_by_token(std::span<DraftAsk> asks, std::vector<Row> rows, const Draw& draw);
  void for_rows(const Tensor& logits, int64_t count, const std::function<void(int64_t)>& body) const;
  int guess(int ask, const Tensor& logits, int64_t row, const Draw& draw) const;
  int drawn(int ask, std::span<float> logits, const Draw& draw) const;

  Model model_;
  std::vector<int> taps_;
  int target_vocab_;
  Tools tools_;
  std::vector<LayerCache> observing_cache_;  // of each layer, as rows of observe() see it
  std::vector<Tensors> states_;              // none, for each layer
  std::vector<Mask> group_masks_;            // what a guessed row sees, for each cache group
  std::vector<int32_t> id_offsets_;          // kDraftIds; empty: its head has the target's tokens
  FeatureStore features_;
  Batch batch_, seen_;          // of guesses, and of observe(): kept for their memory
  std::vector<DrawRow> draws_;  // likewise
};

// Rows of its store of features, of so many guesses at a time.
int64_t feature_rows(const ModelSpec& drafter, int64_t pages, int64_t sequences, int guesses);

// For each layer of the drafter the group of the target's batch in which its attention finds its rows during
// observe(), -1: it runs none. `groups`: those of its layers in the cache, which has `count` of them.
std::vector<int> observing_groups(const ModelSpec& drafter, std::span<const int> groups, int count);

// Rows of one pass of guesses at most, or else those of one sequence: their logits are wide.
inline constexpr int kMostDraftRows = 128;

}  // namespace heed
