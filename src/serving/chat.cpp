#include "serving/chat.h"

namespace heed {
namespace {

// A prompt that ends within the last message, for the model to go on from there.
Result<std::string> cut_behind_final_message(std::string rendered, const OrderedJson& messages) {
  const auto content = messages.back().find("content");
  if (content == messages.back().end() || !content->is_string() || content->get<std::string>().empty())
    return invalid("continue_final_message needs a last message whose content is a text");
  std::string text = content->get<std::string>();
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  const size_t at = rendered.rfind(text);
  if (at == std::string::npos)
    return invalid("continue_final_message: the chat template does not show the last message's content");
  rendered.erase(at + text.size());
  return rendered;
}

Result<std::string> render(const TextSide& text, const ChatRequest& request, const OrderedJson& messages) {
  if (!request.messages.is_array() || request.messages.empty())
    return invalid("messages must be a list of at least one message");
  if (request.continue_final_message && request.add_generation_prompt)
    return invalid("continue_final_message and add_generation_prompt exclude each other");
  OrderedJson variables = request.template_variables;
  variables["messages"] = messages;
  variables["add_generation_prompt"] = request.add_generation_prompt;
  const bool offers_tools = request.tools.is_array() && !request.tools.empty();
  if (offers_tools && request.tool_choice != ToolChoice::kNone) variables["tools"] = request.tools;
  std::string rendered = TRY(render_chat(text, variables));
  if (!request.continue_final_message) return rendered;
  return cut_behind_final_message(std::move(rendered), messages);
}

}  // namespace

Result<ChatPrompt> make_chat_prompt(const TextSide& text, const Dialect& dialect, const ImageText* images,
                                    const ChatRequest& request) {
  ChatPrompt prompt;
  std::string rendered;
  if (!has_images(request.messages)) {
    rendered = TRY(render(text, request, request.messages));
  } else {
    if (images == nullptr) return unsupported(kReadsTextOnly);
    ShownMessages shown = TRY(show_images(*images, request.messages, request.generate.images));
    rendered = TRY(render(text, request, shown.messages));
    rendered = spaced(*images, rendered);
    prompt.images = std::move(shown.images);
  }
  prompt.tokens = TRY(encode_chat(text, rendered));
  const Dialect used{.tools = dialect.tools,
                     .reasoning = request.parse_reasoning ? dialect.reasoning : nullptr};
  prompt.parser.tools =
      request.tools.is_array() && !request.tools.empty() && request.tool_choice != ToolChoice::kNone;
  if (prompt.parser.tools) prompt.parser.tool_list = request.tools;
  prompt.parser.begins_in_reasoning = begins_in_reasoning(used, rendered);
  // Whether a model that may think does so is known only where the prompt has opened its thoughts.
  if (begins_in_reasoning(dialect, rendered)) prompt.grammar_begins_behind = reasoning_end(dialect);
  prompt.keeps_special_tokens =
      (prompt.parser.tools || used.reasoning != nullptr) && needs_special_tokens(used);
  return prompt;
}

std::string tool_grammar_key(const ChatRequest& request) {
  return "tools " + std::to_string(static_cast<int>(request.tool_choice)) + " " +
         std::to_string(static_cast<int>(request.parallel_tool_calls)) + " " +
         to_text(Json(request.tool_name)) + " " + to_text(request.tools);
}

ChatAnswers::ChatAnswers(const Dialect& dialect, const MessageParserOptions& options, int n,
                         std::unique_ptr<ChatListener> listener)
    : listener_(std::move(listener)) {
  for (int i = 0; i < n; ++i) parsers_.emplace_back(dialect, options);
}

void ChatAnswers::on_delta(AnswerDelta delta) {
  MessageParser& parser = parsers_[static_cast<size_t>(delta.choice)];
  if (parser.in_reasoning()) reasoning_tokens_ += static_cast<int>(delta.ids.size());
  MessageDelta message = parser.push(delta.text);
  if (delta.end) {
    MessageDelta rest = parser.finish();
    message.reasoning += rest.reasoning;
    message.content += rest.content;
    std::move(rest.tool_calls.begin(), rest.tool_calls.end(), std::back_inserter(message.tool_calls));
    if (delta.end == EndReason::kStop && parser.num_tool_calls() > 0) delta.end = EndReason::kToolCalls;
  }
  listener_->on_delta({.message = std::move(message), .answer = std::move(delta)});
}

void ChatAnswers::on_end(const Usage& usage) {
  Usage all = usage;
  all.reasoning_tokens = reasoning_tokens_;
  listener_->on_end(all);
}

}  // namespace heed
