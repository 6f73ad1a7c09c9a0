// Text on both sides of a model: its tokenizer, its chat template, and answers as they are written.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/generate.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace heed {

// What a checkpoint folder holds for text. A folder without a tokenizer is driven by token ids.
struct TextSide {
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  OrderedJson template_variables = OrderedJson::object();  // bos_token, eos_token, ...
};
Result<TextSide> load_text_side(const std::string& folder);

// The prompt of a conversation: `messages` rendered with a generation prompt, then tokenized.
Result<std::vector<int>> chat_prompt(const TextSide& text, const std::string& folder,
                                     const OrderedJson& messages);

// Generates and hands text on as it becomes certain; stop strings and stop tokens never show.
struct Answer {
  Generated generated;
  std::string text;
  bool stopped_by_text = false;
};
struct AnswerOptions {
  GenerateOptions generate;
  std::vector<std::string> stops;
  std::function<void(const std::string&)> on_text;  // may be empty
  std::function<bool()> cancelled;                  // may be empty
};
Result<Answer> answer(Runner& runner, const TextSide& text, Sequence& sequence, int prompt,
                      const AnswerOptions& options);

}  // namespace heed
