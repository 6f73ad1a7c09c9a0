// Answers of models in the several forms, and how they read: what the tests of the parser share.
#pragma once
#include <gtest/gtest.h>

#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "dialects/dialect.h"

namespace heed {

struct Call {
  std::string name, arguments;
  bool operator==(const Call&) const = default;
};

struct Answer {
  std::string reasoning, content;
  std::vector<Call> calls;
  bool operator==(const Answer&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Answer& answer) {
  out << "reasoning: " << answer.reasoning << "\ncontent: " << answer.content;
  for (const Call& call : answer.calls) out << "\ncall: " << call.name << " " << call.arguments;
  return out;
}

// Adds a delta as a client would.
inline void add(Answer& answer, const MessageDelta& delta) {
  answer.reasoning += delta.reasoning;
  answer.content += delta.content;
  for (const ToolCallDelta& call : delta.tool_calls) {
    const bool is_new = !call.name.empty();
    EXPECT_EQ(call.index, static_cast<int>(answer.calls.size()) - (is_new ? 0 : 1));
    if (is_new) answer.calls.emplace_back().name = call.name;
    if (!answer.calls.empty()) answer.calls.back().arguments += call.arguments;
  }
}

inline Dialect dialect_of(const std::string& tools, const std::string& reasoning = "none") {
  return choose_dialect("", tools, reasoning).value();
}

// Cut at these places, ascending.
inline Answer read_cut(const Dialect& dialect, const MessageParserOptions& options, std::string_view text,
                       const std::vector<size_t>& cuts) {
  MessageParser parser(dialect, options);
  Answer answer;
  size_t start = 0;
  for (const size_t cut : cuts) {
    add(answer, parser.push(text.substr(start, cut - start)));
    start = cut;
  }
  add(answer, parser.push(text.substr(start)));
  add(answer, parser.finish());
  EXPECT_EQ(parser.num_tool_calls(), static_cast<int>(answer.calls.size()));
  return answer;
}

inline Answer read(const Dialect& dialect, const MessageParserOptions& options, std::string_view text) {
  return read_cut(dialect, options, text, {});
}

inline bool is_character_start(std::string_view text, size_t at) {
  return at >= text.size() || (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
}

inline const OrderedJson& weather_tools() {
  static const OrderedJson tools = OrderedJson::parse(R"([
    {"type": "function", "function": {"name": "get_weather", "description": "The weather",
      "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "Where"}, "days": {"type": "integer", "description": "How many"},
        "exact": {"type": "boolean", "description": "Whether"}, "tags": {"type": "array", "description": "Which",
          "items": {"type": "string"}}}}}},
    {"type": "function", "function": {"name": "now", "description": "The time",
      "parameters": {"type": "object", "properties": {}, "additionalProperties": false}}}])");
  return tools;
}

}  // namespace heed
