// The answers of /v1/chat/completions, put together from what a ChatListener hears: as events, or whole.
// Source: OpenAI's API reference ("Chat completions"), vLLM's chat_completion/serving.py.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "api/openai_form.h"

namespace heed {

// What rendering must know of the request.
struct ChatForm {
  AnswerHead head;
  int n = 1;
  bool logprobs = false;
  int top_logprobs = 0;
  int prompt_logprobs = -1;  // how many of the likeliest; -1: not told
  bool include_reasoning = true;
  bool tokens_as_ids = false, return_token_ids = false;
  std::vector<int> prompt_ids;  // told with return_token_ids
  bool short_call_ids = false;  // 9 letters and digits, as Mistral's templates want them
  bool include_usage = false, continuous_usage = false;
  bool predictions = false;  // told in the usage
};

// {"token", "logprob", "bytes", "top_logprobs": [...]} for each.
OrderedJson chat_logprobs(const std::vector<TokenLogprob>& tokens, int num_top, bool as_ids);
std::string new_call_id(bool is_short);

class ChatStream {
 public:
  explicit ChatStream(ChatForm form);
  // The bytes to be written, often none.
  std::string push(const ChatDelta& delta);
  std::string end(const Usage& usage);

 private:
  struct Choice {
    bool begun = false;
    int calls = 0;
    int generated = 0;
  };
  std::string event(const Choice* choice, OrderedJson choices, bool tells_prompt = false) const;
  OrderedJson delta_object(Choice& choice, const MessageDelta& message) const;

  ChatForm form_;
  std::vector<Choice> choices_;
  int prompt_tokens_ = 0;
  bool was_cancelled_ = false;
};

class ChatWhole {
 public:
  explicit ChatWhole(ChatForm form);
  void push(ChatDelta delta);
  bool was_cancelled() const { return was_cancelled_; }
  OrderedJson body(const Usage& usage) const;

 private:
  struct ToolCall {
    std::string id, name, arguments;
  };
  struct Choice {
    std::string reasoning, content;
    std::vector<ToolCall> calls;
    OrderedJson logprobs = OrderedJson::array();
    std::vector<int> ids;
    OrderedJson finish_reason = nullptr, stop_reason = nullptr;
  };
  OrderedJson message_of(const Choice& choice) const;

  ChatForm form_;
  std::vector<Choice> choices_;
  std::vector<TokenLogprob> prompt_logprobs_;
  bool was_cancelled_ = false;
};

}  // namespace heed
