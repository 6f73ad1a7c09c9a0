// Text on both sides of a model: its tokenizer and its chat template.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace heed {

// What a checkpoint folder, or a GGUF file, holds for text. A folder without a tokenizer is driven by token
// ids.
struct TextSide {
  std::string folder;  // named in errors
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::string chat_template_source;                        // empty: none
  OrderedJson template_variables = OrderedJson::object();  // bos_token, eos_token, ...
};
Result<TextSide> load_text_side(const std::string& folder);

// `variables` besides the side's own: messages, tools, add_generation_prompt, ...
Result<std::string> render_chat(const TextSide& side, const OrderedJson& variables);
// The tokens of a rendered conversation; the template writes special tokens itself.
Result<std::vector<int>> encode_chat(const TextSide& side, const std::string& rendered);

}  // namespace heed
