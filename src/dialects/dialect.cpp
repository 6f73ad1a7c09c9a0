#include "dialects/dialect.h"

#include <algorithm>
#include <array>
#include <utility>

#include "dialects/forms.h"

namespace heed {
namespace {

// Names that others give to the same forms.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kToolAliases = {
    {{"gemma4", "gemma"},
     {"qwen3_xml", "qwen3_coder"},
     {"llama4_json", "llama3_json"},
     {"llama4_pythonic", "pythonic"},
     {"olmo3", "pythonic"},
     {"xlam", "json_array"},
     {"phi4_mini_json", "phi4_mini"},
     {"granite-20b-fc", "granite_20b_fc"},
     {"qwen", "hermes"},
     {"qwen25", "hermes"},
     {"glm47", "glm45"},
     {"cohere_command3", "command_r7b"},
     {"openai", "harmony"},
     {"gpt_oss", "harmony"}}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kReasoningAliases = {
    {{"qwen3", "think"},
     {"glm45", "think"},
     {"gemma4", "gemma_channel"},
     {"openai_gptoss", "harmony"},
     {"gpt_oss", "harmony"},
     {"deepseek-r1", "deepseek_r1"}}};

template <class Form>
std::vector<std::string> names_of(const std::vector<Form>& forms) {
  std::vector<std::string> names;
  for (const Form& form : forms) names.push_back(form.name);
  return names;
}

template <class Form>
const Form* form_for(const std::vector<Form>& forms, std::string_view chat_template) {
  const auto shows = [&](const std::vector<std::string>& signs) {
    return std::all_of(signs.begin(), signs.end(), [&](const std::string& sign) {
      return chat_template.find(sign) != std::string_view::npos;
    });
  };
  for (const Form& form : forms) {
    if (std::any_of(form.signs.begin(), form.signs.end(), shows)) return &form;
  }
  return nullptr;
}

template <class Form, class Aliases>
Result<const Form*> choose(const std::vector<Form>& forms, const Aliases& aliases,
                           std::string_view chat_template, const std::string& name, const char* what) {
  if (name == "none") return static_cast<const Form*>(nullptr);
  if (name == "auto") return form_for(forms, chat_template);
  std::string_view wanted = name;
  for (const auto& [alias, meant] : aliases) {
    if (alias == name) wanted = meant;
  }
  for (const Form& form : forms) {
    if (form.name == wanted) return &form;
  }
  std::string known = "auto, none";
  for (const Form& form : forms) known += ", " + form.name;
  return invalid(std::string(what) + ": unknown \"" + name + "\"; known are " + known);
}

}  // namespace

std::vector<std::string> tool_form_names() { return names_of(tool_forms()); }
std::vector<std::string> reasoning_form_names() { return names_of(reasoning_forms()); }

Result<Dialect> choose_dialect(std::string_view chat_template, const std::string& tool_form,
                               const std::string& reasoning_form) {
  Dialect dialect;
  dialect.tools = TRY(choose(tool_forms(), kToolAliases, chat_template, tool_form, "tool call parser"));
  dialect.reasoning =
      TRY(choose(reasoning_forms(), kReasoningAliases, chat_template, reasoning_form, "reasoning parser"));
  return dialect;
}

std::string_view name_of(const ToolForm* form) {
  return form == nullptr ? std::string_view("none") : form->name;
}
std::string_view name_of(const ReasoningForm* form) {
  return form == nullptr ? std::string_view("none") : form->name;
}

bool needs_special_tokens(const Dialect& dialect) {
  return (dialect.tools != nullptr && dialect.tools->is_special) ||
         (dialect.reasoning != nullptr && dialect.reasoning->is_special);
}

bool begins_in_reasoning(const Dialect& dialect, std::string_view prompt) {
  if (dialect.reasoning == nullptr) return false;
  const ReasoningForm& form = *dialect.reasoning;
  const std::string_view text = trimmed(prompt);
  if (text.ends_with(form.start) || text.ends_with(trimmed(form.start + form.label))) return true;
  return form.is_assumed && !text.ends_with(form.end);
}

std::string_view reasoning_end(const Dialect& dialect) {
  return dialect.reasoning == nullptr ? std::string_view() : dialect.reasoning->end;
}

const std::vector<ReasoningForm>& reasoning_forms() {
  static const std::vector<ReasoningForm> forms = {
      {.name = "gemma_channel",
       .signs = {{"<|channel>thought"}},
       .start = "<|channel>",
       .end = "<channel|>",
       .label = "thought\n",
       .is_anywhere = true,
       .is_special = true},
      {.name = "harmony",
       .signs = {{"<|channel|>", "<|start|>assistant"}},
       .start = "<|channel|>analysis<|message|>",
       .end = "<|end|>",
       .is_anywhere = true,
       .is_special = true,
       .dropped = {"<|start|>assistant", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>",
                   "<|return|>"}},
      {.name = "command_r7b",
       .signs = {{"<|START_THINKING|>"}},
       .start = "<|START_THINKING|>",
       .end = "<|END_THINKING|>",
       .is_special = true,
       .dropped = {"<|START_RESPONSE|>", "<|END_RESPONSE|>"}},
      {.name = "mistral", .signs = {{"[THINK]"}}, .start = "[THINK]", .end = "[/THINK]", .is_special = true},
      {.name = "think", .signs = {{"<think>"}}, .start = "<think>", .end = "</think>"},
      // The model thinks first, whether it writes the marker or not.
      {.name = "deepseek_r1",
       .signs = {{"</think>"}},
       .start = "<think>",
       .end = "</think>",
       .is_assumed = true}};
  return forms;
}

}  // namespace heed
