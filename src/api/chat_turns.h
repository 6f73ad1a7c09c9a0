// A conversation as the API's own forms tell it, item by item, put into messages of the chat form.
//
// What one speaker says in a row is one message; an assistant's reasoning, text and tool calls are one, too.
// Contents become strings, which every template takes: parts of a user's or the system's joined by line
// breaks, those of the assistant's as they are. Contents with pictures are lists. Arguments of tool calls are
// objects, as templates expect.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "api/message_parts.h"
#include "base/json.h"

namespace heed {

class ChatTurns {
 public:
  void system(std::vector<MessagePart> parts) { say("system", std::move(parts)); }
  void user(std::vector<MessagePart> parts) { say("user", std::move(parts)); }

  void reasoning(const std::string& text);
  void assistant(const std::string& text);
  void tool_call(const std::string& id, const std::string& name, OrderedJson arguments);  // an object
  // False: no call before has this id.
  bool tool_result(const std::string& id, std::vector<MessagePart> parts);
  // What comes next is a message of its own, whoever says it.
  void break_turn() { speaker_.clear(); }

  bool empty() const { return messages_.empty(); }
  bool ends_with_assistant() const;
  bool ends_with_tool_call() const;
  OrderedJson take();

 private:
  struct Message {
    std::string role;
    std::vector<MessagePart> parts;
    std::string reasoning;
    OrderedJson tool_calls = OrderedJson::array();
    std::string tool_call_id;
  };
  void say(const std::string& role, std::vector<MessagePart> parts);
  Message& turn_of(const std::string& role);

  std::vector<Message> messages_;
  std::string speaker_;                            // of the last message, while it may grow
  std::map<std::string, std::string> call_names_;  // by the calls' ids
};

}  // namespace heed
