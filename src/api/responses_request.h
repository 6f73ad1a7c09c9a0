// The body of POST /v1/responses, as a ChatRequest.
//
// What is not done here is refused by name. Notes on what is taken:
//   store, previous_response_id   answers are kept in memory, within limits (responses_store.h)
//   reasoning.effort              shown to the chat template; "none" switches its thinking off
//   include                       reasoning.encrypted_content adds nothing: the reasoning itself is not
//   hidden truncation                    "auto" drops the oldest messages of a conversation that is too long
// Further fields, as in chat completions: the other fields about sampling and stopping, cache_salt,
// priority, chat_template_kwargs, mm_processor_kwargs.
// Source: the types of the openai Python package, 3.52.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "api/fields.h"
#include "api/image_parts.h"
#include "api/sampling_fields.h"
#include "serving/answer.h"

namespace heed {

struct ResponsesRequest {
  std::string model;
  bool stream = false;
  bool store = true;
  bool truncate = false;
  std::string previous_response_id;
  std::string instructions;
  OrderedJson input = OrderedJson::array();  // items
  ImageParts images;                         // that they show; made with the rules for them
  SamplingFields sampling;                   // of it, those about sampling and stopping
  ChatRequest chat;                          // but for messages (messages_of_items()) and sampling
  OrderedJson blank;  // the response object, before there is an answer; id and created_at are still to come
};

class ResponsesParser {
 public:
  explicit ResponsesParser(const ModelBounds& bounds);
  void read(const OrderedJson& body, ResponsesRequest& request, const Place& place) const;

 private:
  struct Rows;
  std::shared_ptr<const Rows> rows_;
};

// `generate` is what `request.sampling` comes to with the model's defaults; the blank response shows it.
void set_sampling(ResponsesRequest& request, GenerateRequest generate);

// Drops the oldest messages behind the system's, whole turns at a time, until `fits`. At least the last turn
// of the user's stays. False: that does not fit either.
bool drop_oldest(OrderedJson& messages, const std::function<bool(const OrderedJson&)>& fits);

}  // namespace heed
