// The answers of /v1/completions, put together from what AnswerListeners hear: as events, or whole. The whole
// is the events' pieces joined, so both say the same.
// Source: OpenAI's API reference ("Completions"), vLLM's completion/serving.py.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "api/openai_form.h"

namespace heed {

// What rendering must know of the request.
struct CompletionForm {
  struct Prompt {
    std::string text;         // told with echo
    std::vector<int> ids;     // told with return_token_ids; the first with echo and logprobs
    std::string first_bytes;  // of the first token
  };
  AnswerHead head;
  std::vector<Prompt> prompts;
  int n = 1;
  bool echo = false;
  bool echo_only = false;      // max_tokens 0: the one token that the model generates is not told
  int logprobs = -1;           // how many of the likeliest; -1: no logprobs
  int prompt_logprobs = -1;    // likewise, told by themselves
  bool awaits_prompt = false;  // deltas bring logprobs of the prompt
  bool tokens_as_ids = false, return_token_ids = false;
  bool include_usage = false, continuous_usage = false;
  bool predictions = false;  // told in the usage
};

// The legacy logprobs object, piece by piece. Offsets count the characters of all tokens before.
class CompletionLogprobs {
 public:
  CompletionLogprobs(int num_top, bool as_ids) : num_top_(num_top), as_ids_(as_ids) {}
  void add_first(const TokenLogprob& token);  // of a prompt: it has no probability
  void add(const TokenLogprob& token);
  // What was added since the last call.
  OrderedJson take();

 private:
  void add(const TokenLogprob& token, OrderedJson logprob, OrderedJson top);
  int num_top_;
  bool as_ids_;
  int64_t offset_ = 0;
  OrderedJson object_;
};

// Deltas to the choice objects of chunks: {"index", "text", "logprobs", "finish_reason", "stop_reason", ...}.
class CompletionPieces {
 public:
  explicit CompletionPieces(const CompletionForm& form);  // which it borrows
  CompletionPieces(const CompletionPieces&) = delete;
  CompletionPieces& operator=(const CompletionPieces&) = delete;
  std::vector<OrderedJson> push(int prompt, AnswerDelta delta);
  int generated(int64_t index) const { return choices_[static_cast<size_t>(index)].generated; }
  bool was_cancelled() const { return was_cancelled_; }

 private:
  struct Choice {
    CompletionLogprobs logprobs;
    bool begun = false;
    int generated = 0;
  };
  void piece(int prompt, AnswerDelta& delta, std::vector<OrderedJson>& pieces);
  void begin(int prompt, Choice& choice, OrderedJson& object);

  const CompletionForm& form_;
  std::vector<Choice> choices_;  // n for each prompt
  struct Prompt {
    bool known = false;  // its logprobs have come
    std::vector<TokenLogprob> logprobs;
    std::vector<AnswerDelta> waiting;  // of other choices, until then
  };
  std::vector<Prompt> prompts_;
  bool was_cancelled_ = false;
};

// Server-sent events. Each call gives the bytes to be written, often none.
class CompletionStream {
 public:
  explicit CompletionStream(CompletionForm form);
  std::string push(int prompt, AnswerDelta delta);
  std::string end(int prompt, const Usage& usage);  // of a prompt; with the last one, of the stream
  bool is_complete() const { return open_prompts_ == 0; }

 private:
  OrderedJson chunk(OrderedJson choices) const;
  CompletionForm form_;
  CompletionPieces pieces_;
  Usage usage_;
  int open_prompts_;
};

class CompletionWhole {
 public:
  explicit CompletionWhole(CompletionForm form);
  void push(int prompt, AnswerDelta delta);
  void end(int prompt, const Usage& usage);
  bool is_complete() const { return open_prompts_ == 0; }
  bool was_cancelled() const { return pieces_.was_cancelled(); }
  OrderedJson body() const;

 private:
  CompletionForm form_;
  CompletionPieces pieces_;
  std::vector<OrderedJson> choices_;
  Usage usage_;
  int open_prompts_;
};

}  // namespace heed
