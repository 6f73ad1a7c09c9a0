// The forms in which models write tool calls and reasoning: all that is known of each, as data.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dialects/json_calls.h"
#include "dialects/literal_calls.h"
#include "dialects/named_calls.h"
#include "dialects/tag_calls.h"

namespace heed {

// How calls are written when a grammar asks for them. A '%' stands for the tool's name.
struct WrittenCalls {
  std::string begin, between, end;  // around and between calls
  std::string before, after;        // around the arguments
  enum class Style { kJson, kTags, kLiterals, kNone } style = Style::kJson;
};

struct ToolForm {
  std::string name;
  // What its models' templates contain, for "auto": all texts of one of these lists.
  std::vector<std::vector<std::string>> signs;
  std::vector<std::string> starts;   // markers that begin calls
  char bare = 0;                     // a byte that begins calls at the beginning of an answer
  std::vector<std::string> dropped;  // markers that say nothing
  bool is_special = true;            // markers are special tokens, in some vocabularies at least
  // How calls are read. With `json` beside another: JSON where the first byte says so.
  std::optional<JsonCalls> json;
  std::optional<NamedCalls> named;
  std::optional<TagCalls> tags;
  std::optional<LiteralCalls> literals;
  WrittenCalls written;
  // JSON that is read as well, for arguments that the form's own style cannot say.
  WrittenCalls written_json;
};

struct ReasoningForm {
  std::string name;
  std::vector<std::vector<std::string>> signs;
  std::string start, end;
  std::string label;         // right behind `start`, not part of the reasoning
  bool is_anywhere = false;  // else it comes only at the beginning of an answer
  bool is_assumed = false;   // answers begin with it unless the prompt has ended it
  bool is_special = false;
  std::vector<std::string> dropped;  // markers around the content that say nothing
};

// In the order in which "auto" looks for them.
const std::vector<ToolForm>& tool_forms();
const std::vector<ReasoningForm>& reasoning_forms();
// What asks for and reads calls where there is no form: a JSON array of {"name", "parameters"}.
const ToolForm& json_array_form();

// A reader behind form.starts[start], or, for -1, in front of form.bare.
std::unique_ptr<CallReader> make_reader(const ToolForm& form, int start, const ToolTypes& tools);

}  // namespace heed
