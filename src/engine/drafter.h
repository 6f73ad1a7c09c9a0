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
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/batch.h"
#include "engine/cache.h"
#include "model/forward.h"

namespace heed {

struct DraftAsk {
  Sequence* sequence = nullptr;  // whose last token alone has not run yet
  int guesses = 0;               // wanted; at least 1
  std::vector<int> drafts = {};  // the answer: at most so many
};

class Drafter {
 public:
  // Kernels and memory; they outlive the drafter.
  struct Tools {
    const Kernels& kernels;
    std::vector<const AttentionKernel*> attention;  // per layer of the drafter
    std::vector<LayerCache> cache;                  // likewise
    Cache& pages;
    ThreadPool& pool;
    Arena& arena;
  };
  // `model`, with the weights that its checkpoint has: it takes the others from the target, which outlives
  // it.
  Drafter(Model model, const Model& target, Tools tools);

  // The target's hidden states that observe() wants.
  Taps taps() const { return {.after = taps_, .normed = takes_normed()}; }
  // The target has run this batch of these. Everything that is kept of its tokens is written.
  void observe(std::span<const Scheduled> scheduled, const Batch& batch, const Tensor& taps);

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
  int64_t width() const { return model_.spec.hidden; }
  Step step();
  Tensor shifted(std::span<const Scheduled> scheduled, const Batch& batch, const Tensor& features);
  void remember(const Scheduled& item, const Tensor& features);
  const float* feature_of(const Sequence& sequence, int place) const;
  float* page_feature(const Sequence& sequence, int place) const;
  int page_tokens() const;
  void hide_first_place();
  int most_rows(const DraftAsk& ask) const;
  void build(std::span<const DraftAsk> asks, std::span<const Row> rows);
  void run_block(std::span<DraftAsk> asks, std::span<const Row> rows, const Draw& draw);
  void first_features(std::span<const DraftAsk> asks, std::span<const Row> rows);
  void run_by_token(std::span<DraftAsk> asks, std::vector<Row> rows, const Draw& draw);
  int drawn(int ask, std::span<float> logits, const Draw& draw) const;

  Model model_;
  std::vector<int> taps_;
  int target_vocab_;
  Tools tools_;
  std::vector<Tensors> states_;    // none, for each layer
  std::vector<Mask> group_masks_;  // what a guessed row sees, for each cache group
  Buffer page_features_;           // [pages, hidden] f32: of each page's last token
  Stream stream_;
  Batch batch_;                  // kept for its memory
  std::vector<float> features_;  // likewise: before each row of a pass of guesses
};

// What it holds beside the cache's pages.
int64_t page_feature_bytes(const ModelSpec& drafter, int64_t pages);

// Rows of one pass of guesses at most, or else those of one sequence: their logits are wide.
inline constexpr int kMostDraftRows = 128;

}  // namespace heed
