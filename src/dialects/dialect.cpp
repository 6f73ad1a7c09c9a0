#include "dialects/dialect.h"
namespace heed {

// No form is known yet: all text is content.
struct MessageParser::State {};
std::vector<std::string> tool_form_names() { return {}; }
std::vector<std::string> reasoning_form_names() { return {}; }
Result<Dialect> choose_dialect(std::string_view, const std::string& tools, const std::string& reasoning) {
  for (const std::string& name : {tools, reasoning}) {
    if (name != "auto" && name != "none")
      return invalid("parser " + name + " is unknown; accepted: auto, none");
  }
  return Dialect{};
}
std::string_view name_of(const ToolForm*) { return "none"; }
std::string_view name_of(const ReasoningForm*) { return "none"; }
bool needs_special_tokens(const Dialect&) { return false; }
bool begins_in_reasoning(const Dialect&, std::string_view) { return false; }
std::string_view reasoning_end(const Dialect&) { return ""; }
MessageParser::MessageParser(const Dialect&, const MessageParserOptions&)
    : state_(std::make_unique<State>()) {}
MessageParser::MessageParser(MessageParser&&) noexcept = default;
MessageParser::~MessageParser() = default;
MessageDelta MessageParser::push(std::string_view text) { return {"", std::string(text), {}}; }
MessageDelta MessageParser::finish() { return {}; }
bool MessageParser::in_reasoning() const { return false; }
int MessageParser::num_tool_calls() const { return 0; }
Result<Grammar> tool_grammar(const Dialect&, const OrderedJson&, ToolChoice, const std::string&, bool,
                             const GrammarLimits&) {
  return unsupported("this model's form of tool calls is not known");
}

}  // namespace heed
