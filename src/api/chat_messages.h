// The messages and tools of a chat request: checked, and put into the form that chat templates read.
//
// Contents become strings, text parts joined by line breaks (as vLLM does), or lists where there are pictures
// in them, which users and tools may show; arguments of tool calls become objects; "developer" becomes
// "system" where the template does not know it. All else is refused.
#pragma once
#include <string>

#include "api/fields.h"
#include "api/image_parts.h"
#include "base/json.h"
#include "dialects/dialect.h"

namespace heed {

OrderedJson read_messages(const OrderedJson& value, bool knows_developer, ImageParts& images,
                          const Place& place);

// A list of {"type": "function", "function": {"name", "description", "parameters", "strict"}}.
void check_tools(const OrderedJson& value, const Place& place);

// Whether one of such tools has the name.
bool offers(const OrderedJson& tools, const std::string& name);

struct ChosenTool {
  ToolChoice choice = ToolChoice::kAuto;
  std::string name;  // kNamed
};
// `tools` null: none are offered.
ChosenTool read_tool_choice(const OrderedJson& value, const OrderedJson* tools, const Place& place);

}  // namespace heed
