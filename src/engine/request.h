// What a caller asks of the engine, and what it hears back.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attention/mask.h"
#include "engine/sampler.h"
#include "media/image_prep.h"

namespace heed {

// Narrows each next token, such as a grammar does. Used by the engine's thread only.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Clears the bits (one per token id, least significant first) of tokens that may not come next.
  virtual void narrow(std::span<uint32_t> allowed) = 0;
  virtual void accept(int token) = 0;
};

struct Logprob {
  int id = 0;
  float logprob = 0;
  int rank = 0;  // 1: the likeliest
};

enum class Finish { kStop, kLength, kCancelled };

struct Event {
  uint64_t request = 0;               // as submit() returned it
  int id = -1;                        // the new token; -1: none (only an end, or prompt logprobs)
  bool is_stop = false;               // the new token is a stop token
  std::optional<Logprob> logprob;     // of the new token, if asked for
  std::vector<Logprob> top_logprobs;  // the likeliest, if asked for
  std::vector<std::vector<Logprob>> prompt_logprobs;  // once, with the first event: for each prompt token
                                                      // from the second on, itself and then the likeliest
  std::optional<Finish> finish;                       // set on the last event
  int cached_tokens = 0;                              // of the prompt, found in the prefix cache
  int draft_tokens = 0, accepted_tokens = 0;          // guessed so far, and among them right
  double queue_seconds = 0;    // from submit() to the first step that ran a part of it (or to its end)
  double prefill_seconds = 0;  // from then to the first token (or to the end)
};

// A picture in a prompt: which of its tokens stand for it (soft tokens only, not the marks around them).
struct RequestImage {
  Span tokens;
  std::shared_ptr<const ImagePatches> patches;  // as many soft tokens
};

struct Request {
  std::vector<int> prompt;           // at least one token, all within the vocabulary
  std::vector<RequestImage> images;  // in the prompt's order
  Sampling sampling;
  int max_tokens = 16;        // cut to what the context holds
  int min_tokens = 0;         // stop tokens are not sampled before
  std::vector<int> stop_ids;  // end the text; reported with is_stop
  int logprobs = -1;          // how many of the likeliest besides the chosen; -1: none at all
  int prompt_logprobs = -1;   // likewise; the prompt is then computed in full
  int priority = 0;           // smaller first
  std::string cache_salt;     // prompts share cached prefixes only under equal salts
  std::unique_ptr<TokenConstraint> constraint;
  bool speculate = true;  // where the engine has a proposer; answers do not depend on it

  // Hears every event, on the engine's thread: must not block and must not call the engine except cancel().
  std::function<void(const Event&)> on_event;
};

}  // namespace heed
