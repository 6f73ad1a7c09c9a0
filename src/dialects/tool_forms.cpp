// The tool forms. Sources: the chat templates of the models named in `signs`' comments, and for what
// templates do not show, the models' documentation.
#include "dialects/forms.h"

namespace heed {
namespace {

using Style = WrittenCalls::Style;
using Then = TailText::Then;

std::string json_before(const std::string& arguments_key) {
  return R"({"name": "%", ")" + arguments_key + "\": ";
}

// {"name": ..., "arguments": ...} objects between two markers, in an array if `begin` ends with one's
// bracket.
ToolForm json_form(std::string name, std::vector<std::vector<std::string>> signs,
                   std::vector<std::string> starts, std::vector<TailText> tails, WrittenCalls written) {
  ToolForm form;
  form.name = std::move(name);
  form.signs = std::move(signs);
  form.starts = std::move(starts);
  form.json = JsonCalls{.tails = std::move(tails)};
  if (written.before.empty()) {
    written.before = json_before("arguments");
    written.after = "}";
  }
  form.written = std::move(written);
  return form;
}

// Qwen 2.5, Qwen 3, Hermes 2 Pro and 3: each call between its own markers.
ToolForm hermes() {
  return json_form(
      "hermes", {{"<tool_call>", "arguments"}}, {"<tool_call>"}, {{"</tool_call>"}},
      {.between = "\n", .before = "<tool_call>\n" + json_before("arguments"), .after = "}\n</tool_call>"});
}

ToolForm llama3_json() {
  ToolForm form =
      json_form("llama3_json", {{R"({"name": "' + tool_call)", R"("parameters": )"}}, {"<|python_tag|>"}, {},
                {.between = "; ", .before = json_before("parameters"), .after = "}"});
  form.bare = '{';
  form.is_special = false;  // without its marker it is read all the same
  form.json->is_bare = true;
  return form;
}

// Up to Mistral Nemo and Small 3.0 an array; later ones write a marker and the name for each call.
ToolForm mistral(bool has_args) {
  ToolForm form = json_form(has_args ? "mistral_args" : "mistral", {{"[TOOL_CALLS]"}}, {"[TOOL_CALLS]"}, {},
                            {.begin = "[TOOL_CALLS][", .between = ", ", .end = "]"});
  if (has_args) form.signs[0].emplace_back("[ARGS]");
  if (has_args) form.written = {.before = "[TOOL_CALLS]%[ARGS]", .after = ""};
  form.named = NamedCalls{.tails = {{"[TOOL_CALLS]", Then::kNextCall}}, .name_in = mistral_name};
  return form;
}

ToolForm qwen3_coder() {
  ToolForm form;
  form.name = "qwen3_coder";
  form.signs = {{"<function=", "<parameter="}};
  form.starts = {"<tool_call>", "<function="};
  form.tags = TagCalls{.name_open = "<function=",
                       .name_closes = {">"},
                       .key_open = "<parameter=",
                       .key_close = ">",
                       .value_ends = {"\n</parameter>", "</parameter>"},
                       .call_close = "</function>",
                       .region_close = "</tool_call>",
                       .has_line_breaks = true};
  form.json = JsonCalls{.tails = {{"</tool_call>"}}};
  form.written = {.between = "\n",
                  .before = "<tool_call>\n<function=%>\n",
                  .after = "</function>\n</tool_call>",
                  .style = Style::kTags};
  form.written_json = hermes().written;
  return form;
}

// GLM 4.5 and later.
ToolForm glm45() {
  ToolForm form;
  form.name = "glm45";
  form.signs = {{"<tool_call>", "<arg_key>"}};
  form.starts = {"<tool_call>"};
  form.tags = TagCalls{.name_closes = {"\n"},
                       .key_open = "<arg_key>",
                       .key_close = "</arg_key>",
                       .value_open = "<arg_value>",
                       .value_ends = {"</arg_value>"},
                       .region_close = "</tool_call>"};
  form.json = JsonCalls{.tails = {{"</tool_call>"}}};
  form.written = {
      .between = "\n", .before = "<tool_call>%\n", .after = "</tool_call>", .style = Style::kTags};
  form.written_json = hermes().written;
  return form;
}

ToolForm minimax_m2() {
  ToolForm form;
  form.name = "minimax_m2";
  form.signs = {{"<minimax:tool_call>"}, {"minimax:tool_call", "<invoke name="}};
  form.starts = {"<minimax:tool_call>"};
  form.tags = TagCalls{.name_open = "<invoke name=\"",
                       .name_closes = {"\">"},
                       .key_open = "<parameter name=\"",
                       .key_close = "\">",
                       .value_ends = {"</parameter>"},
                       .call_close = "</invoke>",
                       .region_close = "</minimax:tool_call>"};
  form.json = JsonCalls{.tails = {{"</minimax:tool_call>"}}};
  form.written = {.begin = "<minimax:tool_call>\n",
                  .between = "",
                  .end = "</minimax:tool_call>",
                  .before = "<invoke name=\"%\">\n",
                  .after = "</invoke>\n",
                  .style = Style::kTags};
  form.written_json = {.begin = form.written.begin,
                       .end = form.written.end,
                       .before = json_before("arguments"),
                       .after = "}\n"};
  return form;
}

// Gemma 4.
ToolForm gemma() {
  ToolForm form;
  form.name = "gemma";
  form.signs = {{"<|tool_call>call:"}};
  form.starts = {"<|tool_call>"};
  form.dropped = {"<|tool_response>"};  // what the model writes to ask for the results
  form.literals = LiteralCalls{.before_name = "call:", .quote = "<|\"|>", .tails = {{"<tool_call|>"}}};
  form.written = {.before = "<|tool_call>call:%{", .after = "}<tool_call|>", .style = Style::kLiterals};
  form.written_json = {.before = "<|tool_call>call:%", .after = "<tool_call|>"};
  return form;
}

ToolForm functiongemma() {
  ToolForm form;
  form.name = "functiongemma";
  form.signs = {{"<start_function_call>"}};
  form.starts = {"<start_function_call>"};
  form.literals = LiteralCalls{
      .before_name = "call:", .quote = "<escape>", .is_typed = true, .tails = {{"<end_function_call>"}}};
  form.written = {
      .before = "<start_function_call>call:%{", .after = "}<end_function_call>", .style = Style::kLiterals};
  form.written_json = {.before = "<start_function_call>call:%", .after = "<end_function_call>"};
  return form;
}

// Llama 3.2 and 4, Gemma 3, ToolACE and others as their templates ask: [name(key=value), ...].
ToolForm pythonic() {
  ToolForm form;
  form.name = "pythonic";
  form.signs = {{"[func_name1(params_name1="}, {"[func_name1(param1="}};
  form.starts = {"<|python_start|>"};
  form.bare = '[';
  form.dropped = {"<|python_end|>"};
  form.is_special = false;
  form.literals =
      LiteralCalls{.open = '(', .close = ')', .separator = '=', .tails = {{"]"}}, .is_list = true};
  form.json = JsonCalls{.is_bare = true};
  form.written = {
      .begin = "[", .between = ", ", .end = "]", .before = "%(", .after = ")", .style = Style::kLiterals};
  form.written_json = {
      .begin = "[", .between = ", ", .end = "]", .before = json_before("parameters"), .after = "}"};
  return form;
}

// DeepSeek V3 and R1 (with a type in front of the name and a code block), V3.1 (without).
ToolForm deepseek(bool has_type) {
  ToolForm form;
  form.name = has_type ? "deepseek_v3" : "deepseek_v31";
  form.signs = {{"<｜tool▁call▁begin｜>"}};
  if (has_type) form.signs[0].emplace_back("```json");
  form.starts = {"<｜tool▁calls▁begin｜>"};
  form.named = NamedCalls{.begins_with_call = false,
                          .tails = {{"<｜tool▁call▁begin｜>", Then::kNextCall},
                                    {"```", Then::kGoOn},
                                    {"<｜tool▁call▁end｜>", Then::kGoOn},
                                    {"<｜tool▁calls▁end｜>"}},
                          .name_in = deepseek_name};
  const std::string begin = "<｜tool▁calls▁begin｜>";
  const std::string end = "<｜tool▁calls▁end｜>";
  if (has_type) {
    form.written = {.begin = begin,
                    .between = "\n",
                    .end = end,
                    .before = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>%\n```json\n",
                    .after = "\n```<｜tool▁call▁end｜>"};
  } else {
    form.written = {.begin = begin,
                    .end = end,
                    .before = "<｜tool▁call▁begin｜>%<｜tool▁sep｜>",
                    .after = "<｜tool▁call▁end｜>"};
  }
  return form;
}

ToolForm kimi_k2() {
  ToolForm form;
  form.name = "kimi_k2";
  form.signs = {{"<|tool_call_argument_begin|>"}};
  form.starts = {"<|tool_calls_section_begin|>"};
  form.named = NamedCalls{.begins_with_call = false,
                          .tails = {{"<|tool_call_begin|>", Then::kNextCall},
                                    {"<|tool_call_end|>", Then::kGoOn},
                                    {"<|tool_calls_section_end|>"}},
                          .name_in = kimi_name};
  // The ids' counter is not asked for: a grammar cannot count.
  form.written = {.begin = "<|tool_calls_section_begin|>",
                  .end = "<|tool_calls_section_end|>",
                  .before = "<|tool_call_begin|>functions.%:0<|tool_call_argument_begin|>",
                  .after = "<|tool_call_end|>"};
  return form;
}

// Functionary 3.1.
ToolForm functionary() {
  ToolForm form;
  form.name = "functionary";
  form.signs = {{"'<function=' + tool_call"}};
  form.starts = {"<function="};
  form.is_special = false;
  form.named = NamedCalls{.tails = {{"</function>"}}, .name_in = functionary_name};
  form.written = {.before = "<function=%>", .after = "</function>"};
  return form;
}

// gpt-oss. Its calls come behind a header that depends on what came before, which no grammar here asks for.
ToolForm harmony() {
  ToolForm form;
  form.name = "harmony";
  form.signs = {{"<|channel|>", "<|start|>assistant"}};
  form.starts = {"<|channel|>commentary to=functions."};
  form.named = NamedCalls{.tails = {{"<|call|>"}}, .name_in = harmony_name};
  form.written.style = Style::kNone;
  return form;
}

// Command R7B and later.
ToolForm command_r7b() {
  return json_form("command_r7b", {{"<|START_ACTION|>"}}, {"<|START_ACTION|>"}, {{"<|END_ACTION|>"}},
                   {.begin = "<|START_ACTION|>[\n",
                    .between = ",\n",
                    .end = "\n]<|END_ACTION|>",
                    .before = R"({"tool_call_id": "0", "tool_name": "%", "parameters": )",
                    .after = "}"});
}

// Command R and R+.
ToolForm command_r() {
  ToolForm form =
      json_form("command_r", {{"Action:\\n```json"}}, {"Action:\n```json\n", "Action: ```json\n"}, {{"```"}},
                {.begin = "Action:\n```json\n[\n",
                 .between = ",\n",
                 .end = "\n]```",
                 .before = R"({"tool_name": "%", "parameters": )",
                 .after = "}"});
  form.is_special = false;
  return form;
}

ToolForm apertus() {
  ToolForm form = json_form("apertus", {{"<|tools_prefix|>"}}, {"<|tools_prefix|>"}, {{"<|tools_suffix|>"}},
                            {.begin = "<|tools_prefix|>[",
                             .between = ", ",
                             .end = "]<|tools_suffix|>",
                             .before = R"({"%": )",
                             .after = "}"});
  form.json->name_is_key = true;
  return form;
}

// {"name", "arguments"} in an array behind a marker, as several families write it.
ToolForm array_form(std::string name, std::vector<std::vector<std::string>> signs, const std::string& start,
                    const std::string& end = "") {
  std::vector<TailText> tails;
  if (!end.empty()) tails.push_back({end});
  return json_form(std::move(name), std::move(signs), {start}, std::move(tails),
                   {.begin = start + "[", .between = ", ", .end = "]" + end});
}

ToolForm phi4_mini() {
  ToolForm form = array_form("phi4_mini", {{"functools["}}, "functools");
  form.is_special = false;
  return form;
}

ToolForm granite_20b() {
  return json_form("granite_20b_fc", {{"<function_call> "}}, {"<function_call>"}, {},
                   {.before = "<function_call> " + json_before("arguments"), .after = "}"});
}

ToolForm internlm() {
  return json_form(
      "internlm", {{"<|action_start|><|plugin|>"}}, {"<|action_start|><|plugin|>"}, {{"<|action_end|>"}},
      {.before = "<|action_start|><|plugin|>\n" + json_before("arguments"), .after = "}<|action_end|>"});
}

ToolForm minimax() {
  return json_form("minimax", {{"<tool_calls>\\n"}}, {"<tool_calls>"}, {{"</tool_calls>"}},
                   {.begin = "<tool_calls>\n",
                    .end = "</tool_calls>",
                    .before = json_before("arguments"),
                    .after = "}\n"});
}

ToolForm json_array() {
  ToolForm form = json_form(
      "json_array", {{"single JSON array"}}, {}, {},
      {.begin = "[", .between = ", ", .end = "]", .before = json_before("parameters"), .after = "}"});
  form.bare = '[';
  form.is_special = false;
  form.json->is_bare = true;
  return form;
}

}  // namespace

const std::vector<ToolForm>& tool_forms() {
  static const std::vector<ToolForm> forms = [] {
    std::vector<ToolForm> all;
    for (ToolForm (*const make)() : {gemma, functiongemma, kimi_k2, minimax_m2, qwen3_coder, glm45})
      all.push_back(make());
    all.push_back(deepseek(true));
    all.push_back(deepseek(false));
    all.push_back(mistral(true));
    all.push_back(mistral(false));
    for (ToolForm (*const make)() :
         {harmony, command_r7b, command_r, apertus, functionary, internlm, phi4_mini})
      all.push_back(make());
    all.push_back(array_form("granite", {{"<|tool_call|>"}}, "<|tool_call|>"));
    all.push_back(granite_20b());
    all.push_back(array_form("hunyuan_a13b", {{"<tool_calls>["}}, "<tool_calls>", "</tool_calls>"));
    for (ToolForm (*const make)() : {minimax, hermes, pythonic, json_array, llama3_json})
      all.push_back(make());
    return all;
  }();
  return forms;
}

const ToolForm& json_array_form() {
  static const ToolForm form = json_array();
  return form;
}

}  // namespace heed
