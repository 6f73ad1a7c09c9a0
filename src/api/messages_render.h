// The answer of Anthropic's POST /v1/messages: its events while it is made, its object in the end.
//
// Both come from one state, so the pieces a client puts together are the object that it would have got whole.
//   message_start, ping
//   for each content block: content_block_start, content_block_delta ..., content_block_stop
//   message_delta (why it stopped, usage), message_stop
// Input tokens found in the prefix cache are counted as cache_read_input_tokens, the others as input_tokens;
// which of them were found is known in the end only.
#pragma once
#include <string>

#include "api/answer_parts.h"
#include "api/errors.h"
#include "base/json.h"

namespace heed {

// {"type": "error", "error": {"type", "message"}}, with the type that Anthropic gives to the status.
std::string anthropic_error_form(const ApiError& error);
// With Anthropic's status: 529 where the queue is full.
ApiError anthropic_error(ApiError error);

// The events before all others, as their bytes on the wire; those of the renderer come behind them.
std::string begin_message(const std::string& model, const std::string& stem, int prompt_tokens);

class MessagesRenderer {
 public:
  // `stem` tells this answer's ids from all others': 32 hexadecimal digits. `short_call_ids`: tool_call_id().
  MessagesRenderer(std::string model, std::string stem, bool short_call_ids);

  std::string push(ChatDelta delta);
  std::string finish(const Usage& usage);

  // After finish(). Nothing stands for an answer that was cut off.
  bool cut_off() const { return parts_.end() == EndReason::kCancelled; }
  OrderedJson message() const;

 private:
  void show(const AnswerStep& step, std::string& out) const;
  std::string signature(int part) const;
  OrderedJson block(int part, bool whole) const;
  const char* stop_reason() const;
  OrderedJson stop_sequence() const;

  std::string model_;
  std::string stem_;
  bool short_call_ids_;
  AnswerParts parts_;
  OrderedJson usage_;
};

// The event that ends a stream that was cut off.
std::string messages_error_event(const ApiError& error);

}  // namespace heed
