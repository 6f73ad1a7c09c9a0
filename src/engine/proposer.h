// Who guesses the next tokens of a sequence, so that one step of the model can confirm several at once.
//
// Guesses cost time when they are wrong and nothing else: the engine samples each of their positions as it
// would have without them, and keeps what is equal. Answers are thus the same, token for token, greedy or
// sampled, whatever was guessed.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace heed {

class Proposer {
 public:
  virtual ~Proposer() = default;
  virtual std::string_view name() const = 0;
  // At most `most` tokens that may follow `tokens`, best guess first, into `drafts`, which is empty. On the
  // engine's thread.
  virtual void propose(std::span<const int> tokens, int most, std::vector<int>& drafts) = 0;
};

// --speculative-config: who guesses, and how that is set. The keys are vLLM's. Models that guess are not
// proposers but drafters (engine/drafter.h).
inline constexpr int kMostDrafts = 64;  // guesses at a time
inline constexpr int kUsualDrafts = 5;
struct SpeculativeOptions {
  std::string method;  // "" : none; "ngram", "draft_model", "dflash"
  int tokens = 0;      // num_speculative_tokens: most guesses at a time, 1 to 64; 0: as the method has it
  std::string model;   // draft_model, dflash: the folder of the model that guesses
  bool adaptive =
      true;  // guesses fewer, or nothing, where that is faster (draft_policy.h); else always `tokens`
  // ngram: a suffix of so many tokens that occurred before is continued as it was then.
  int lookup_max = 4, lookup_min = 2;  // prompt_lookup_max, prompt_lookup_min
};
Result<SpeculativeOptions> read_speculative_config(const std::string& text);

// Null where there is none.
std::unique_ptr<Proposer> make_proposer(const SpeculativeOptions& options);

// Continues the longest suffix of at most `longest` and at least `shortest` tokens that has occurred before,
// as its last occurrence went on.
std::unique_ptr<Proposer> ngram_proposer(int shortest, int longest);

}  // namespace heed
