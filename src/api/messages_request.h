// The body of Anthropic's POST /v1/messages and /v1/messages/count_tokens, as a ChatRequest.
//
// What is not done here is refused by name. Notes on what is taken:
//   cache_control        taken everywhere: every prefix is cached anyway
//   thinking             enabled and adaptive switch a template's thinking on, disabled off; without it the
//                        template decides. The budget is a target that nothing holds the model to
//   tool_result          one with is_error begins with "Error: "; chat templates know no other way to say it
//   last message         if it is the assistant's, the answer continues it
// Further fields, for sharing a cache and a queue: cache_salt, priority.
// Source: the types of the anthropic Python package, 2.11.
#pragma once
#include <string>

#include "api/fields.h"
#include "api/image_parts.h"
#include "serving/answer.h"

namespace heed {

struct MessagesRequest {
  std::string model;
  bool stream = false;
  ChatRequest chat;
  ImageParts images;  // that its messages show; made with the rules for them
};

// `counting`: of count_tokens, which has no max_tokens and no fields about sampling. `request` comes with the
// model's own defaults for sampling.
void read_messages_request(const OrderedJson& body, bool counting, MessagesRequest& request,
                           const Place& place);

}  // namespace heed
