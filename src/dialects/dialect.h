// How a family of models writes tool calls and reasoning into its text, and how to read them out again while
// they are written.
//
//   what may be part of a marker   is held back until it is certain; markers are never content
//   what is no call after all      becomes content unchanged: unknown syntax, no name, limits (call_reader.h)
//   a call, once its name and the  is one for good: its arguments go on as they come, and end where the text
//   arguments' beginning are there does, or with the first byte that cannot belong to it; the rest is content
//   arguments                      JSON text: in forms that write JSON the model's own, else translated
//
// Line breaks at both ends of the reasoning, and between it and the content, belong to neither. Whitespace at
// the end of the content counts if more text follows, or if the answer has no calls; content that follows
// calls loses its leading line breaks where there was none before.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "dialects/message.h"
#include "grammar/grammar.h"

namespace heed {

struct ToolForm;       // "hermes", "llama3_json", "mistral", "gemma", ...
struct ReasoningForm;  // "think", "gemma_channel", ...

struct Dialect {
  // Null: none is known. Requests with tools then read calls as tool_grammar() asks for them: an answer that
  // begins with a JSON array of calls of tools that there are. Other text stays as it is.
  const ToolForm* tools = nullptr;
  const ReasoningForm* reasoning = nullptr;  // null: none is known; the text stays as it is
};

std::vector<std::string> tool_form_names();
std::vector<std::string> reasoning_form_names();

// By the names (those of --tool-call-parser and --reasoning-parser); "auto": by what the chat template's
// source writes; "none". An unknown name is an error that lists the known ones.
Result<Dialect> choose_dialect(std::string_view chat_template, const std::string& tool_form,
                               const std::string& reasoning_form);
std::string_view name_of(const ToolForm* form);  // "none" for null
std::string_view name_of(const ReasoningForm* form);

// Whether special tokens must stay in the decoded text for this form to be read.
bool needs_special_tokens(const Dialect& dialect);

// Whether an answer to this prompt begins inside the reasoning (templates may open it themselves).
bool begins_in_reasoning(const Dialect& dialect, std::string_view prompt);
// The text that ends the reasoning; empty where there is no form. A grammar on the answer begins behind it.
std::string_view reasoning_end(const Dialect& dialect);

struct MessageParserOptions {
  bool tools = false;                // the request offers tools; else tool calls stay text
  bool begins_in_reasoning = false;  // see begins_in_reasoning()
  // OpenAI's "tools" array: the types of arguments in forms that write them as bare text, and the names that
  // calls without any marker may have. Null: nothing is known of them.
  OrderedJson tool_list = nullptr;
};

// Reads one answer. What all deltas say, put together, does not depend on how the text was cut into pushes.
class MessageParser {
 public:
  MessageParser(const Dialect& dialect, const MessageParserOptions& options);
  MessageParser(MessageParser&&) noexcept;
  ~MessageParser();

  MessageDelta push(std::string_view text);  // UTF-8, never half a character
  MessageDelta finish();                     // what was held back; a call cut short stays as far as it got
  bool in_reasoning() const;
  int num_tool_calls() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

enum class ToolChoice { kNone, kAuto, kRequired, kNamed };

// Texts that call one of the tools (OpenAI's "tools" array), in the dialect's own form, without one as a JSON
// array of {"name", "parameters"}: exactly one call for kNamed or where `parallel` is false, else one or
// more. Arguments satisfy the tool's "parameters" schema; where the form's own notation cannot say what a
// schema asks for, they are written as JSON, which the parser reads as well. Texts begin behind the
// reasoning.
Result<Grammar> tool_grammar(const Dialect& dialect, const OrderedJson& tools, ToolChoice choice,
                             const std::string& name, bool parallel, const GrammarLimits& limits = {});

}  // namespace heed
