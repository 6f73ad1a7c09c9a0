// A table of answers: the form, the raw text, and what it says.
#pragma once
#include "tests/dialects/answers.h"

namespace heed {

struct Case {
  const char* tools;
  const char* reasoning;
  std::string text;
  Answer expected;
  bool begins_in_reasoning = false;
};

inline MessageParserOptions options_of(const Case& one) {
  return {.tools = true, .begins_in_reasoning = one.begins_in_reasoning, .tool_list = weather_tools()};
}

const std::vector<Case>& corpus();

}  // namespace heed
