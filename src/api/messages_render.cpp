#include "api/messages_render.h"

#include <utility>

#include "api/sse.h"

namespace heed {
namespace {

using Kind = AnswerPart::Kind;

const char* type_of_status(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

OrderedJson error_object_of(const ApiError& error) {
  return {{"type", "error"}, {"error", {{"type", type_of_status(error.status)}, {"message", error.message}}}};
}

OrderedJson usage_of(int input, int cached, int output) {
  return {{"input_tokens", input - cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", cached},
          {"output_tokens", output}};
}

std::string event(const char* type, const OrderedJson& fields) {
  OrderedJson data = {{"type", type}};
  data.update(fields);
  return sse_event(type, data);
}

// The arguments as an object. A call that was cut short has none.
OrderedJson input_of(const std::string& arguments) {
  Result<OrderedJson> input = parse_ordered_json(arguments, "arguments");
  return input.ok() && input->is_object() ? std::move(input).value() : OrderedJson::object();
}

}  // namespace

std::string anthropic_error_form(const ApiError& error) { return to_text(error_object_of(error)); }

ApiError anthropic_error(ApiError error) {
  constexpr int kOverloaded = 529;
  if (error.status == 429) error.status = kOverloaded;
  return error;
}

std::string messages_error_event(const ApiError& error) { return sse_event("error", error_object_of(error)); }

std::string begin_message(const std::string& model, const std::string& stem, int prompt_tokens) {
  const OrderedJson message = {{"id", "msg_" + stem},
                               {"type", "message"},
                               {"role", "assistant"},
                               {"model", model},
                               {"content", OrderedJson::array()},
                               {"stop_reason", nullptr},
                               {"stop_sequence", nullptr},
                               {"usage", usage_of(prompt_tokens, 0, 0)}};
  return event("message_start", {{"message", message}}) + event("ping", OrderedJson::object());
}

MessagesRenderer::MessagesRenderer(std::string model, std::string stem, bool short_call_ids)
    : model_(std::move(model)), stem_(std::move(stem)), short_call_ids_(short_call_ids) {}

std::string MessagesRenderer::push(ChatDelta delta) {
  std::string out;
  for (const AnswerStep& step : parts_.push(std::move(delta))) show(step, out);
  return out;
}

std::string MessagesRenderer::finish(const Usage& usage) {
  std::string out;
  for (const AnswerStep& step : parts_.finish(false)) show(step, out);
  usage_ = usage_of(usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens);
  if (usage.reasoning_tokens > 0)
    usage_["output_tokens_details"] = {{"thinking_tokens", usage.reasoning_tokens}};
  out += event(
      "message_delta",
      {{"delta", {{"stop_reason", stop_reason()}, {"stop_sequence", stop_sequence()}}}, {"usage", usage_}});
  return out + event("message_stop", OrderedJson::object());
}

OrderedJson MessagesRenderer::message() const {
  OrderedJson content = OrderedJson::array();
  for (int part = 0; part < std::ssize(parts_.parts()); ++part) content.push_back(block(part, true));
  return {{"id", "msg_" + stem_},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model_},
          {"content", std::move(content)},
          {"stop_reason", stop_reason()},
          {"stop_sequence", stop_sequence()},
          {"usage", usage_}};
}

void MessagesRenderer::show(const AnswerStep& step, std::string& out) const {
  const AnswerPart& part = parts_.parts()[step.part];
  const auto delta = [&](const char* type, const char* name, const std::string& piece) {
    out += event("content_block_delta", {{"index", step.part}, {"delta", {{"type", type}, {name, piece}}}});
  };
  switch (step.what) {
    case AnswerStep::What::kOpen:
      out += event("content_block_start", {{"index", step.part}, {"content_block", block(step.part, false)}});
      return;
    case AnswerStep::What::kMore:
      if (part.kind == Kind::kReasoning) return delta("thinking_delta", "thinking", step.piece);
      if (part.kind == Kind::kText) return delta("text_delta", "text", step.piece);
      return delta("input_json_delta", "partial_json", step.piece);
    case AnswerStep::What::kClose:
      if (part.kind == Kind::kReasoning) delta("signature_delta", "signature", signature(step.part));
      out += event("content_block_stop", {{"index", step.part}});
      return;
  }
}

// Clients keep thinking that is signed. Nothing is made of it when it comes back.
std::string MessagesRenderer::signature(int part) const { return "unsigned_" + stem_ + std::to_string(part); }

OrderedJson MessagesRenderer::block(int part, bool whole) const {
  const AnswerPart& held = parts_.parts()[part];
  switch (held.kind) {
    case Kind::kReasoning:
      return {{"type", "thinking"},
              {"thinking", whole ? held.text : ""},
              {"signature", whole ? signature(part) : ""}};
    case Kind::kText:
      return {{"type", "text"}, {"text", whole ? held.text : ""}};
    case Kind::kToolCall:
      break;
  }
  return {{"type", "tool_use"},
          {"id", tool_call_id("toolu_", stem_, part, short_call_ids_)},
          {"name", held.name},
          {"input", whole ? input_of(held.text) : OrderedJson::object()}};
}

const char* MessagesRenderer::stop_reason() const {
  if (parts_.end() == EndReason::kLength) return "max_tokens";
  if (!parts_.stop_string().empty()) return "stop_sequence";
  return parts_.has_tool_call() ? "tool_use" : "end_turn";
}

OrderedJson MessagesRenderer::stop_sequence() const {
  return parts_.stop_string().empty() ? OrderedJson(nullptr) : OrderedJson(parts_.stop_string());
}

}  // namespace heed
