#include "api/chat_turns.h"

#include <iterator>
#include <utility>

namespace heed {

ChatTurns::Message& ChatTurns::turn_of(const std::string& role) {
  if (speaker_ != role) messages_.emplace_back().role = role;
  speaker_ = role;
  return messages_.back();
}

void ChatTurns::say(const std::string& role, std::vector<MessagePart> parts) {
  Message& message = turn_of(role);
  message.parts.insert(message.parts.end(), std::make_move_iterator(parts.begin()),
                       std::make_move_iterator(parts.end()));
}

void ChatTurns::reasoning(const std::string& text) { turn_of("assistant").reasoning += text; }

void ChatTurns::assistant(const std::string& text) { turn_of("assistant").parts.push_back({text}); }

void ChatTurns::tool_call(const std::string& id, const std::string& name, OrderedJson arguments) {
  call_names_[id] = name;
  turn_of("assistant")
      .tool_calls.push_back({{"id", id},
                             {"type", "function"},
                             {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
}

bool ChatTurns::tool_result(const std::string& id, std::vector<MessagePart> parts) {
  if (!call_names_.contains(id)) return false;
  break_turn();
  Message& message = turn_of("tool");
  message.parts = std::move(parts);
  message.tool_call_id = id;
  break_turn();
  return true;
}

bool ChatTurns::ends_with_assistant() const {
  return !messages_.empty() && messages_.back().role == "assistant";
}

bool ChatTurns::ends_with_tool_call() const {
  return ends_with_assistant() && !messages_.back().tool_calls.empty();
}

OrderedJson ChatTurns::take() {
  OrderedJson list = OrderedJson::array();
  for (Message& message : messages_) {
    OrderedJson out = {{"role", message.role}};
    out["content"] = content_of(std::move(message.parts), message.role == "assistant" ? "" : "\n");
    // Templates know it by either name.
    if (!message.reasoning.empty()) out["reasoning"] = out["reasoning_content"] = message.reasoning;
    if (!message.tool_calls.empty()) out["tool_calls"] = std::move(message.tool_calls);
    if (message.role == "tool") {
      out["tool_call_id"] = message.tool_call_id;
      out["name"] = call_names_[message.tool_call_id];
    }
    list.push_back(std::move(out));
  }
  messages_.clear();
  speaker_.clear();
  return list;
}

}  // namespace heed
