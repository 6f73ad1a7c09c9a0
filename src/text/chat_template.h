// A model's chat template: Jinja source, parsed once, rendered to the text of a conversation.
//
// The language is what Hugging Face transformers gives to chat templates: jinja2 3.1.6 in its immutable
// sandbox with trim_blocks and lstrip_blocks, loop controls and the `generation` block; `raise_exception`,
// `strftime_now` and a `tojson` that does not escape HTML. The text is equal to Python's byte for byte. Where
// Python would go past 64-bit integers, or print an address, this is an error. Templates are input from
// outside: they stop at the limits.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace heed {

namespace jinja {
struct Node;
}

struct TemplateLimits {
  int64_t max_steps = 10'000'000;                 // expressions and statements run, elements and text visited
  int max_depth = 200;                            // macros and recursive loops within each other
  int64_t max_output_bytes = int64_t{16} << 20;   // of the text
  int64_t max_memory_bytes = int64_t{128} << 20;  // of all values alive at one time
  std::optional<int64_t> now = {};  // the time strftime_now shows, in seconds since 1970; else the clock's
};

class ChatTemplate {
 public:
  // `what` names the template in errors; those of syntax are one line with the line number.
  static Result<ChatTemplate> parse(const std::string& source, const std::string& what);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `variables` is an object: messages, tools, documents, add_generation_prompt, bos_token, ... The message
  // of raise_exception becomes the error's message, unchanged. Any number of threads may render at once.
  Result<std::string> render(const OrderedJson& variables, const TemplateLimits& limits = {}) const;

 private:
  ChatTemplate(std::unique_ptr<const jinja::Node> root, std::string what);
  std::unique_ptr<const jinja::Node> root_;
  std::string what_;
};

}  // namespace heed
