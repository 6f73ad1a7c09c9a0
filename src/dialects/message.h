// An assistant's message in parts, as they become certain.
#pragma once
#include <string>
#include <vector>

namespace heed {

struct ToolCallDelta {
  int index = 0;          // of the call within the message, from 0
  std::string name;       // whole, in the first delta of a call only
  std::string arguments;  // more of the arguments' JSON text
};

struct MessageDelta {
  std::string reasoning;  // more of what the model thinks before it answers
  std::string content;    // more of the answer
  std::vector<ToolCallDelta> tool_calls;

  bool empty() const { return reasoning.empty() && content.empty() && tool_calls.empty(); }
};

}  // namespace heed
