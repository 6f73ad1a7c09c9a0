// The answer of POST /v1/responses: its events while it is made, its object in the end.
//
// Both come from one state, so the pieces a client puts together are the object that it would have got whole.
// The events are those of OpenAI's Responses API: created, in_progress, then for each output item
//   output_item.added
//     reasoning, message   content_part.added, reasoning_text / output_text .delta ... .done,
//     content_part.done function_call        function_call_arguments .delta ... .done
//   output_item.done
// and completed, incomplete or failed, numbered by sequence_number from 0.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "api/answer_parts.h"
#include "base/json.h"

namespace heed {

// What ended an answer that did not come to its own end.
enum class Interruption { kNone, kCancelled, kServer };

struct ResponsesForm {
  std::string stem;             // tells this answer's ids from all others': 32 hexadecimal digits
  int logprobs = -1;            // how many of the likeliest are told of besides each token; -1: no tokens
  bool short_call_ids = false;  // tool_call_id()
  bool events = true;           // else the object alone is wanted
};

class ResponsesRenderer {
 public:
  // `blank`: the object with all that the request settles, and every other field in its place
  // (responses_request.h).
  ResponsesRenderer(OrderedJson blank, ResponsesForm form);

  // Server-sent events, each as its bytes on the wire. In this order:
  std::string begin();
  std::string push(ChatDelta delta);
  // `interruption` counts where the answer was cut off. `now`: seconds since 1970.
  std::string finish(const Usage& usage, Interruption interruption, int64_t now);

  // As it stands: the items finished so far.
  const OrderedJson& response() const { return response_; }
  const std::string& id() const { return id_; }

 private:
  void emit(const char* type, const OrderedJson& fields, std::string& out);
  void emit_response(const char* type, std::string& out);
  void show(const AnswerStep& step, std::string& out);
  void open(int part, std::string& out);
  void more(const AnswerStep& step, std::string& out);
  void close(int part, const char* status, std::string& out);
  std::string item_id(int part) const;
  OrderedJson item(int part, const char* status) const;  // with all that it holds
  OrderedJson logprobs_of(const std::vector<TokenLogprob>& logprobs) const;
  OrderedJson content_of(const AnswerPart& part) const;
  void settle(const Usage& usage, Interruption interruption, int64_t now);

  ResponsesForm form_;
  std::string id_;
  int64_t sequence_ = 0;
  AnswerParts parts_;
  OrderedJson response_;
};

}  // namespace heed
