// The body of POST /v1/responses, as a ChatRequest.
//
// What is not done here is refused by name. Notes on what is taken:
//   store, previous_response_id   answers are kept in memory, within limits (responses_store.h)
//   reasoning.effort              shown to the chat template; "none" switches its thinking off
//   include                       reasoning.encrypted_content adds nothing: the reasoning itself is not
//   hidden truncation                    "auto" drops the oldest messages of a conversation that is too long
// Further fields, as in chat completions: the other sampling fields, cache_salt, priority,
// chat_template_kwargs.
// Source: the types of the openai Python package, 3.52.
#pragma once
#include <functional>
#include <string>

#include "api/fields.h"
#include "serving/answer.h"

namespace heed {

struct ResponsesRequest {
  std::string model;
  bool stream = false;
  bool store = true;
  bool truncate = false;
  bool logprobs = false;
  std::string previous_response_id;
  std::string instructions;
  OrderedJson input = OrderedJson::array();  // items
  ChatRequest chat;                          // but for the messages: messages_of_items()
  OrderedJson blank;  // the response object, before there is an answer; id and created_at are still to come
};

// `request` comes with the model's own defaults for sampling.
void read_responses_request(const OrderedJson& body, ResponsesRequest& request, const Place& place);

// Drops the oldest messages behind the system's, whole turns at a time, until `fits`. At least the last turn
// of the user's stays. False: that does not fit either.
bool drop_oldest(OrderedJson& messages, const std::function<bool(const OrderedJson&)>& fits);

}  // namespace heed
