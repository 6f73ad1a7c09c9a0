// Server-sent events: the lines of a streamed answer. Source: WHATWG HTML, "Server-sent events".
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"

namespace heed {

inline constexpr const char* kSseType = "text/event-stream; charset=utf-8";
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";

// An event without a name, as OpenAI's completions send it. The JSON text has no line breaks.
inline std::string sse_data(const OrderedJson& data) { return "data: " + to_text(data) + "\n\n"; }

// A named event, as OpenAI's responses and Anthropic's messages send it.
inline std::string sse_event(std::string_view name, const OrderedJson& data) {
  return "event: " + std::string(name) + "\ndata: " + to_text(data) + "\n\n";
}

}  // namespace heed
