#include "api/chat_response.h"

#include "api/ids.h"
#include "api/sse.h"

namespace heed {
namespace {

OrderedJson token_object(const TokenLogprob& token, bool as_ids) {
  OrderedJson bytes = OrderedJson::array();
  for (const char c : token.bytes) bytes.push_back(static_cast<unsigned char>(c));
  return {
      {"token", token_text(token, as_ids)}, {"logprob", finite(token.logprob)}, {"bytes", std::move(bytes)}};
}

OrderedJson logprobs_object(OrderedJson content) {
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

// Clients differ in how they call it: vLLM's former and present name.
void put_reasoning(OrderedJson& message, const std::string& reasoning) {
  message["reasoning_content"] = reasoning;
  message["reasoning"] = reasoning;
}

}  // namespace

OrderedJson chat_logprobs(const std::vector<TokenLogprob>& tokens, int num_top, bool as_ids) {
  OrderedJson all = OrderedJson::array();
  for (const TokenLogprob& token : tokens) {
    OrderedJson object = token_object(token, as_ids);
    OrderedJson top = OrderedJson::array();
    for (size_t i = 0; i < token.top.size() && static_cast<int>(i) < num_top; ++i)
      top.push_back(token_object(token.top[i], as_ids));
    object["top_logprobs"] = std::move(top);
    all.push_back(std::move(object));
  }
  return all;
}

std::string new_call_id(bool is_short) {
  constexpr size_t kShortBytes = 9;
  return is_short ? random_id("").substr(0, kShortBytes) : random_id("call_");
}

ChatStream::ChatStream(ChatForm form)
    : form_(std::move(form)),
      choices_(static_cast<size_t>(form_.n)),
      prompt_tokens_(static_cast<int>(form_.prompt_ids.size())) {}

std::string ChatStream::event(const Choice* choice, OrderedJson choices, bool tells_prompt) const {
  OrderedJson object = head_object(form_.head);
  object["choices"] = std::move(choices);
  if (form_.include_usage) object["usage"] = nullptr;
  if (form_.continuous_usage && choice != nullptr) {
    object["usage"] = usage_object({.prompt_tokens = prompt_tokens_, .generated_tokens = choice->generated},
                                   UsageDetails::kNone);
  }
  if (tells_prompt) object["prompt_token_ids"] = form_.prompt_ids;
  return sse_data(object);
}

// The delta of one chunk; empty where there is nothing to tell.
OrderedJson ChatStream::delta_object(Choice& choice, const MessageDelta& message) const {
  OrderedJson delta = OrderedJson::object();
  if (!message.reasoning.empty() && form_.include_reasoning) put_reasoning(delta, message.reasoning);
  if (!message.content.empty()) delta["content"] = message.content;
  for (const ToolCallDelta& call : message.tool_calls) {
    OrderedJson object{{"index", call.index}};
    if (call.index >= choice.calls) {
      choice.calls = call.index + 1;
      object["id"] = new_call_id(form_.short_call_ids);
      object["type"] = "function";
      object["function"]["name"] = call.name;
    }
    object["function"]["arguments"] = call.arguments;
    delta["tool_calls"].push_back(std::move(object));
  }
  return delta;
}

std::string ChatStream::push(const ChatDelta& delta) {
  const AnswerDelta& answer = delta.answer;
  Choice& choice = choices_[static_cast<size_t>(answer.choice)];
  choice.generated += static_cast<int>(answer.ids.size());
  if (answer.end == EndReason::kCancelled) was_cancelled_ = true;
  const auto chunk = [&](OrderedJson what, bool is_last, bool with_tokens) {
    OrderedJson object{{"index", answer.choice}, {"delta", std::move(what)}, {"logprobs", nullptr}};
    if (form_.logprobs && with_tokens && !answer.logprobs.empty()) {
      object["logprobs"] =
          logprobs_object(chat_logprobs(answer.logprobs, form_.top_logprobs, form_.tokens_as_ids));
    }
    object["finish_reason"] = is_last ? finish_reason(answer.end) : OrderedJson(nullptr);
    if (is_last) object["stop_reason"] = stop_reason(answer);
    if (form_.return_token_ids && with_tokens) object["token_ids"] = answer.ids;
    return OrderedJson::array({std::move(object)});
  };
  std::string events;
  if (!std::exchange(choice.begun, true)) {
    const OrderedJson role{{"role", "assistant"}, {"content", ""}};
    events += event(&choice, chunk(role, false, false), form_.return_token_ids);
  }
  OrderedJson said = delta_object(choice, delta.message);
  const bool has_tokens =
      (form_.logprobs && !answer.logprobs.empty()) || (form_.return_token_ids && !answer.ids.empty());
  const bool says = !said.empty();
  if (says || (has_tokens && !answer.end)) events += event(&choice, chunk(std::move(said), false, true));
  if (answer.end) events += event(&choice, chunk(OrderedJson::object(), true, !says));
  return events;
}

std::string ChatStream::end(const Usage& usage) {
  std::string events;
  if (was_cancelled_) {
    events += sse_data(error_object(stopped_error()));
  } else if (form_.include_usage) {
    OrderedJson object = head_object(form_.head);
    object["choices"] = OrderedJson::array();
    object["usage"] = usage_object(usage, usage_details(form_.predictions));
    events += sse_data(object);
  }
  return events.append(kSseDone);
}

ChatWhole::ChatWhole(ChatForm form) : form_(std::move(form)), choices_(static_cast<size_t>(form_.n)) {}

void ChatWhole::push(ChatDelta delta) {
  AnswerDelta& answer = delta.answer;
  Choice& choice = choices_[static_cast<size_t>(answer.choice)];
  choice.reasoning += delta.message.reasoning;
  choice.content += delta.message.content;
  for (ToolCallDelta& call : delta.message.tool_calls) {
    if (call.index >= std::ssize(choice.calls))
      choice.calls.push_back({.id = new_call_id(form_.short_call_ids), .name = std::move(call.name)});
    choice.calls[static_cast<size_t>(call.index)].arguments += call.arguments;
  }
  if (form_.logprobs) {
    for (OrderedJson& token : chat_logprobs(answer.logprobs, form_.top_logprobs, form_.tokens_as_ids))
      choice.logprobs.push_back(std::move(token));
  }
  if (form_.return_token_ids) choice.ids.insert(choice.ids.end(), answer.ids.begin(), answer.ids.end());
  if (!answer.prompt_logprobs.empty()) prompt_logprobs_ = std::move(answer.prompt_logprobs);
  if (!answer.end) return;
  if (answer.end == EndReason::kCancelled) was_cancelled_ = true;
  choice.finish_reason = finish_reason(answer.end);
  choice.stop_reason = stop_reason(answer);
}

OrderedJson ChatWhole::message_of(const Choice& choice) const {
  OrderedJson message{{"role", "assistant"}, {"content", choice.content}, {"refusal", nullptr}};
  // No content is none, where there is something else.
  const bool says_else = !choice.calls.empty() || !choice.reasoning.empty();
  if (choice.content.empty() && says_else) message["content"] = nullptr;
  if (!choice.reasoning.empty() && form_.include_reasoning) put_reasoning(message, choice.reasoning);
  for (const ToolCall& call : choice.calls) {
    message["tool_calls"].push_back({{"id", call.id},
                                     {"type", "function"},
                                     {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return message;
}

OrderedJson ChatWhole::body(const Usage& usage) const {
  OrderedJson object = head_object(form_.head);
  OrderedJson choices = OrderedJson::array();
  for (const Choice& choice : choices_) {
    OrderedJson told{{"index", choices.size()},
                     {"message", message_of(choice)},
                     {"logprobs", form_.logprobs ? logprobs_object(choice.logprobs) : OrderedJson(nullptr)},
                     {"finish_reason", choice.finish_reason},
                     {"stop_reason", choice.stop_reason}};
    if (form_.return_token_ids) told["token_ids"] = choice.ids;
    choices.push_back(std::move(told));
  }
  object["choices"] = std::move(choices);
  object["usage"] = usage_object(usage, usage_details(form_.predictions));
  if (form_.prompt_logprobs >= 0)
    object["prompt_logprobs"] = prompt_logprobs_object(prompt_logprobs_, form_.prompt_logprobs);
  if (form_.return_token_ids) object["prompt_token_ids"] = form_.prompt_ids;
  return object;
}

}  // namespace heed
