// Who guesses the next tokens of a sequence, so that one step of the model can confirm several at once.
//
// Guesses cost time when they are wrong and nothing else: the engine samples each of their positions as it
// would have without them, and keeps what is equal. Answers are thus the same, token for token, greedy or
// sampled, whatever was guessed.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace heed {

// A request's text as a proposer sees it.
struct TextSoFar {
  std::span<const int> tokens;  // the prompt's and then the answer's, all of which stand
  int prompt = 0;               // tokens of the prompt
  uint64_t request = 0;         // tells requests apart
  bool is_private = false;  // nothing of it may show in the guesses for another request, nor the other way
};

class Proposer {
 public:
  virtual ~Proposer() = default;
  virtual std::string_view name() const = 0;
  // At most `most` tokens that may follow, best guess first, into `drafts`, which is empty. On the engine's
  // thread, as all of it.
  virtual void propose(const TextSoFar& text, int most, std::vector<int>& drafts) = 0;
  // The request has ended, with this text; nothing is asked for it again.
  virtual void finished(const TextSoFar& /*text*/) {}
  // What it may come to hold beside so many running requests: part of the memory plan.
  virtual int64_t most_bytes(int /*sequences*/) const { return 0; }
};

// Makes a proposer of a plug-in, for one engine each, from the keys of --speculative-config that are not the
// engine's own (method, num_speculative_tokens, adaptive): a JSON object. Errors name the key and what is
// accepted.
using MakeProposer = std::function<Result<std::unique_ptr<Proposer>>(const Json& options)>;
// Adds it as a method, or takes the place of one that was added under this name. Not while an engine runs.
void register_proposer(std::string_view method, MakeProposer make);
bool is_plugin_proposer(std::string_view method);

// --speculative-config: who guesses, and how that is set. The keys are vLLM's. Models that guess are not
// proposers but drafters (engine/drafter.h).
inline constexpr int kMostDrafts = 64;  // guesses at a time
inline constexpr int kUsualDrafts = 5;
struct SuffixOptions {
  int depth = 24;        // suffix_decoding_max_tree_depth: tokens that agree and guesses, together
  int requests = 10000;  // suffix_decoding_max_cached_requests: answers that are remembered; 0: none
  float factor = 1;      // suffix_decoding_max_spec_factor: guesses for each token that agrees
  float least_probability = 0.1F;  // suffix_decoding_min_token_prob: by the counts
};
struct SpeculativeOptions {
  std::string method;  // "": none; one of draft_methods() or of those that plug-ins added
  int tokens = 0;      // num_speculative_tokens: most guesses at a time, 1 to 64; 0: as the method has it
  std::string model;   // the folder of the model that guesses; mtp: "" for that of the model itself
  bool adaptive =
      true;  // guesses fewer, or nothing, where that is faster (draft_policy.h); else always `tokens`
  // ngram: a suffix of so many tokens that occurred before is continued as it was then.
  int lookup_max = 4, lookup_min = 2;  // prompt_lookup_max, prompt_lookup_min
  SuffixOptions suffix;
  Json custom = Json::object();  // what a plug-in's proposer is made from
};
Result<SpeculativeOptions> read_speculative_config(const std::string& text);

// Null where there is none.
Result<std::unique_ptr<Proposer>> make_proposer(const SpeculativeOptions& options);

// Continues the longest suffix of at most `longest` and at least `shortest` tokens that has occurred before,
// as its last occurrence went on.
std::unique_ptr<Proposer> ngram_proposer(int shortest, int longest);

}  // namespace heed
