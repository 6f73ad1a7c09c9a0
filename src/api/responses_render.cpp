#include "api/responses_render.h"

#include <utility>

#include "api/chat_response.h"
#include "api/sse.h"

namespace heed {
namespace {

using Kind = AnswerPart::Kind;

OrderedJson usage_of(const Usage& usage) {
  OrderedJson details = {{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", 0}};
  if (usage.image_tokens > 0) details["image_tokens"] = usage.image_tokens;
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", std::move(details)},
          {"output_tokens", usage.generated_tokens},
          {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
          {"total_tokens", usage.prompt_tokens + usage.generated_tokens}};
}

}  // namespace

ResponsesRenderer::ResponsesRenderer(OrderedJson blank, ResponsesForm form)
    : form_(std::move(form)), id_("resp_" + form_.stem), response_(std::move(blank)) {
  response_["id"] = id_;
}

std::string ResponsesRenderer::begin() {
  std::string out;
  emit_response("response.created", out);
  emit_response("response.in_progress", out);
  return out;
}

std::string ResponsesRenderer::push(ChatDelta delta) {
  std::string out;
  for (const AnswerStep& step : parts_.push(std::move(delta))) show(step, out);
  return out;
}

std::string ResponsesRenderer::finish(const Usage& usage, Interruption interruption, int64_t now) {
  std::string out;
  const bool whole = parts_.end() == EndReason::kStop || parts_.end() == EndReason::kToolCalls;
  for (const AnswerStep& step : parts_.finish(whole)) {
    if (step.what == AnswerStep::What::kOpen) open(step.part, out);
    if (step.what == AnswerStep::What::kClose) close(step.part, whole ? "completed" : "incomplete", out);
  }
  settle(usage, interruption, now);
  const std::string status = response_["status"].get<std::string>();
  // There is no event of its own for a cancelled response.
  const char* type = status == "completed" ? "response.completed"
                     : status == "failed"  ? "response.failed"
                                           : "response.incomplete";
  emit_response(type, out);
  return out;
}

void ResponsesRenderer::settle(const Usage& usage, Interruption interruption, int64_t now) {
  response_["usage"] = usage_of(usage);
  switch (parts_.end()) {
    case EndReason::kStop:
    case EndReason::kToolCalls:
      response_["status"] = "completed";
      response_["completed_at"] = now;
      return;
    case EndReason::kLength:
      response_["status"] = "incomplete";
      response_["incomplete_details"] = {{"reason", "max_output_tokens"}};
      return;
    case EndReason::kCancelled:
      break;
  }
  if (interruption == Interruption::kCancelled) {
    response_["status"] = "cancelled";
    return;
  }
  response_["status"] = "failed";
  response_["error"] = {{"code", "server_error"}, {"message", "the server stopped this request"}};
}

void ResponsesRenderer::emit(const char* type, const OrderedJson& fields, std::string& out) {
  OrderedJson event = {{"type", type}, {"sequence_number", sequence_++}};
  event.update(fields);
  out += sse_event(type, event);
}

void ResponsesRenderer::emit_response(const char* type, std::string& out) {
  if (form_.events) emit(type, {{"response", response_}}, out);
}

void ResponsesRenderer::show(const AnswerStep& step, std::string& out) {
  switch (step.what) {
    case AnswerStep::What::kOpen:
      open(step.part, out);
      break;
    case AnswerStep::What::kMore:
      more(step, out);
      break;
    case AnswerStep::What::kClose:
      close(step.part, "completed", out);
      break;
  }
}

void ResponsesRenderer::open(int part, std::string& out) {
  if (!form_.events) return;
  const AnswerPart& opened = parts_.parts()[part];
  // The delta that opens a part may already have grown it: events begin with an empty one.
  const AnswerPart empty = {.kind = opened.kind, .name = opened.name};
  OrderedJson added = item(part, "in_progress");
  if (empty.kind == Kind::kToolCall) {
    added["arguments"] = "";
  } else {
    added["content"] = OrderedJson::array();
  }
  emit("response.output_item.added", {{"output_index", part}, {"item", std::move(added)}}, out);
  if (empty.kind == Kind::kToolCall) return;
  emit(
      "response.content_part.added",
      {{"item_id", item_id(part)}, {"output_index", part}, {"content_index", 0}, {"part", content_of(empty)}},
      out);
}

void ResponsesRenderer::more(const AnswerStep& step, std::string& out) {
  if (!form_.events) return;
  OrderedJson fields = {{"item_id", item_id(step.part)}, {"output_index", step.part}};
  switch (parts_.parts()[step.part].kind) {
    case Kind::kToolCall:
      fields["delta"] = step.piece;
      return emit("response.function_call_arguments.delta", fields, out);
    case Kind::kReasoning:
      fields["content_index"] = 0;
      fields["delta"] = step.piece;
      return emit("response.reasoning_text.delta", fields, out);
    case Kind::kText:
      fields["content_index"] = 0;
      fields["delta"] = step.piece;
      fields["logprobs"] = logprobs_of(step.logprobs);
      return emit("response.output_text.delta", fields, out);
  }
}

void ResponsesRenderer::close(int part, const char* status, std::string& out) {
  OrderedJson closed = item(part, status);
  if (form_.events) {
    const AnswerPart& content = parts_.parts()[part];
    OrderedJson fields = {{"item_id", item_id(part)}, {"output_index", part}};
    if (content.kind == Kind::kToolCall) {
      fields["name"] = content.name;
      fields["arguments"] = content.text;
      emit("response.function_call_arguments.done", fields, out);
    } else {
      fields["content_index"] = 0;
      OrderedJson with_part = fields;
      with_part["part"] = content_of(content);
      fields["text"] = content.text;
      if (content.kind == Kind::kText) fields["logprobs"] = logprobs_of(content.logprobs);
      emit(content.kind == Kind::kText ? "response.output_text.done" : "response.reasoning_text.done", fields,
           out);
      emit("response.content_part.done", with_part, out);
    }
    emit("response.output_item.done", {{"output_index", part}, {"item", closed}}, out);
  }
  response_["output"].push_back(std::move(closed));
}

std::string ResponsesRenderer::item_id(int part) const {
  const Kind kind = parts_.parts()[part].kind;
  const char* prefix = kind == Kind::kReasoning ? "rs_" : kind == Kind::kText ? "msg_" : "fc_";
  return prefix + form_.stem + std::to_string(part);
}

OrderedJson ResponsesRenderer::content_of(const AnswerPart& part) const {
  if (part.kind == Kind::kReasoning) return {{"type", "reasoning_text"}, {"text", part.text}};
  OrderedJson content = {{"type", "output_text"}, {"annotations", OrderedJson::array()}, {"text", part.text}};
  content["logprobs"] = logprobs_of(part.logprobs);
  return content;
}

OrderedJson ResponsesRenderer::item(int part, const char* status) const {
  const AnswerPart& held = parts_.parts()[part];
  OrderedJson item = {{"id", item_id(part)}};
  switch (held.kind) {
    case Kind::kReasoning:
      item["type"] = "reasoning";
      item["status"] = status;
      item["summary"] = OrderedJson::array();
      item["content"] = OrderedJson::array({content_of(held)});
      break;
    case Kind::kText:
      item["type"] = "message";
      item["status"] = status;
      item["role"] = "assistant";
      item["content"] = OrderedJson::array({content_of(held)});
      break;
    case Kind::kToolCall:
      item["type"] = "function_call";
      item["status"] = status;
      item["call_id"] = tool_call_id("call_", form_.stem, part, form_.short_call_ids);
      item["name"] = held.name;
      item["arguments"] = held.text;
      break;
  }
  return item;
}

OrderedJson ResponsesRenderer::logprobs_of(const std::vector<TokenLogprob>& logprobs) const {
  if (form_.logprobs < 0) return OrderedJson::array();
  return chat_logprobs(logprobs, form_.logprobs, false);
}

}  // namespace heed
