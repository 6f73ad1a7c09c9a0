// Prompts and answers as text, for the command line.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "serving/text_side.h"

namespace heed {

// Has the engine answer and hands text on as it becomes certain; stop strings and stop tokens never show.
struct Answer {
  std::vector<int> ids;  // the new tokens, a stop token included
  std::string text;
  Finish finish = Finish::kLength;  // kStop for a stop string or Ctrl-C too
  int cached_tokens = 0;            // of the prompt
  double prefill_seconds = 0;       // until the first token
  double decode_seconds = 0;        // from the first token to the last
};
struct AnswerOptions {
  std::vector<std::string> stops;
  std::function<void(const std::string&)> on_text;  // may be empty; on the engine's thread
  std::function<bool()> cancelled;                  // may be empty; likewise
};
Result<Answer> answer(Engine& engine, const TextSide& text, Request request, const AnswerOptions& options);

}  // namespace heed
