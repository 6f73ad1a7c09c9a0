// A model that guesses for another one, its target. Its layers' keys and values lie in the target's pages,
// as more layers of them: they are shared, freed, found again and taken back with the target's own.
//
// Two kinds. A block drafter (ModelSpec::draft) reads the target's hidden states and guesses a whole block in
// one pass. Any other model of the same vocabulary guesses token by token, and reads what the target reads.
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

  // The target's hidden states that observe() wants, as Taps::after.
  std::span<const int> taps() const { return taps_; }
  // The target has run this batch. Everything that is kept of its tokens is written.
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
  Step step();
  int most_rows(const DraftAsk& ask) const;
  void build(std::span<const DraftAsk> asks, std::span<const Row> rows);
  void run_block(std::span<DraftAsk> asks, std::span<const Row> rows, const Draw& draw);
  void run_by_token(std::span<DraftAsk> asks, std::vector<Row> rows, const Draw& draw);
  int drawn(int ask, std::span<float> logits, const Draw& draw) const;

  Model model_;
  std::vector<int> taps_;
  int target_vocab_;
  Tools tools_;
  std::vector<Tensors> states_;    // none, for each layer
  std::vector<Mask> group_masks_;  // what a guessed row sees, for each cache group
  Stream stream_;
  Batch batch_;  // kept for its memory
};

// Rows of one pass of guesses at most, or else those of one sequence: their logits are wide.
inline constexpr int kMostDraftRows = 128;

}  // namespace heed
