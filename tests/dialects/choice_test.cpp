// Which form is chosen for a template, and whether what a template renders reads as the call that went in.
#include <filesystem>

#include "base/file.h"
#include "dialects/forms.h"
#include "tests/dialects/answers.h"
#include "text/chat_template.h"

namespace heed {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(HEED_SHARED_DIR) / "chat_templates";

struct Chosen {
  const char* file;
  const char* tools;
  const char* reasoning;
  // What stands in front of the assistant's message and behind it; null: it renders no calls that can be cut
  // out.
  const char* before = nullptr;
  const char* behind = nullptr;
  bool is_single = false;           // the template refuses more than one call, or loses the third
  bool has_text_arguments = false;  // it wants the arguments as JSON text
  bool is_lossy = false;            // only single strings come out as they went in
};

constexpr const char* kImStart = "<|im_start|>assistant";
constexpr const char* kImEnd = "<|im_end|>";
constexpr const char* kLlama = "<|start_header_id|>assistant<|end_header_id|>\n\n";
constexpr const char* kEot = "<|eot_id|>";
constexpr const char* kDeepSeekEnd = "<｜end▁of▁sentence｜>";

const std::vector<Chosen>& choices() {
  static const std::vector<Chosen> all = {
      {"CohereForAI-c4ai-command-r-plus-tool_use.jinja", "command_r", "none", "<|CHATBOT_TOKEN|>", "<|START"},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", "command_r7b", "command_r7b",
       "<|CHATBOT_TOKEN|>", "<|END_OF"},
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja", "hermes", "none", kImStart, kImEnd},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", "hermes", "none", kImStart, kImEnd},
      {"Qwen-Qwen2.5-7B-Instruct.jinja", "hermes", "none", kImStart, kImEnd},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", "deepseek_v3", "think", "<｜Assistant｜>", "", true,
       true},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", "deepseek_v3", "think", "<｜Assistant｜>", "", true,
       true},
      {"fireworks-ai-llama-3-firefunction-v2.jinja", "phi4_mini", "none", kLlama, kEot, false, true},
      {"google-gemma-2-2b-it.jinja", "none", "none"},
      {"llama-cpp-deepseek-r1.jinja", "deepseek_v3", "think", "<｜Assistant｜>", kDeepSeekEnd, false, true},
      {"meetkai-functionary-medium-v3.1.jinja", "functionary", "none", kLlama, "<|eom_id|>", false, true},
      {"meetkai-functionary-medium-v3.2.jinja", "none", "none"},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", "llama3_json", "none", kLlama, kEot, true},
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", "llama3_json", "none", kLlama, kEot, true},
      {"meta-llama-Llama-3.3-70B-Instruct.jinja", "llama3_json", "none", kLlama, kEot, true},
      {"microsoft-Phi-3.5-mini-instruct.jinja", "none", "none"},
      {"mistralai-Mistral-Nemo-Instruct-2407.jinja", "mistral", "none", "[/INST]", "</s>"},
      {"template_alpaca.jinja", "none", "none"},
      {"template_baichuan.jinja", "none", "none"},
      {"template_chatglm.jinja", "none", "none"},
      {"template_chatglm2.jinja", "none", "none"},
      {"template_chatml.jinja", "none", "none"},
      {"template_falcon.jinja", "none", "none"},
      {"template_falcon_180b.jinja", "none", "none"},
      {"template_inkbot.jinja", "none", "none"},
      {"template_teleflm.jinja", "none", "none"},
      {"tool_chat_template_apertus.jinja", "apertus", "none", "<|assistant_start|>", ""},
      {"tool_chat_template_deepseekr1.jinja", "deepseek_v3", "deepseek_r1", "<｜Assistant｜>", kDeepSeekEnd},
      {"tool_chat_template_deepseekv3.jinja", "deepseek_v3", "none", "<｜Assistant｜>", kDeepSeekEnd},
      {"tool_chat_template_deepseekv31.jinja", "deepseek_v31", "think", "<｜Assistant｜>", kDeepSeekEnd},
      {"tool_chat_template_functiongemma.jinja", "functiongemma", "none", "<start_of_turn>model",
       "<end_of_turn>", false, false, true},
      {"tool_chat_template_gemma3_pythonic.jinja", "pythonic", "none", "<start_of_turn>model\n",
       "<end_of_turn>", false, false, true},
      {"tool_chat_template_gemma4.jinja", "gemma", "gemma_channel", "<|turn>model\n", ""},
      {"tool_chat_template_glm4.jinja", "glm45", "none"},
      {"tool_chat_template_granite.jinja", "granite", "none", "assistant<|end_of_role|>", "<|end_of_text|>"},
      {"tool_chat_template_granite_20b_fc.jinja", "granite_20b_fc", "none", "ASSISTANT:", "<|endoftext|>"},
      {"tool_chat_template_hermes.jinja", "hermes", "none", kImStart, kImEnd},
      {"tool_chat_template_hunyuan_a13b.jinja", "hunyuan_a13b", "think", "<|extra_0|>", "<|eos|>"},
      {"tool_chat_template_internlm2_tool.jinja", "internlm", "none", kImStart, kImEnd},
      {"tool_chat_template_llama3.1_json.jinja", "llama3_json", "none", kLlama, kEot, true},
      {"tool_chat_template_llama3.2_json.jinja", "llama3_json", "none", kLlama, kEot, true},
      {"tool_chat_template_llama3.2_pythonic.jinja", "pythonic", "none", kLlama, kEot, false, false, true},
      {"tool_chat_template_llama4_json.jinja", "llama3_json", "none", "assistant<|header_end|>\n\n",
       "<|eot|>"},
      {"tool_chat_template_llama4_pythonic.jinja", "pythonic", "none", "assistant<|header_end|>\n\n",
       "<|eot|>", false, false, true},
      {"tool_chat_template_minimax_m1.jinja", "minimax", "none", "ai name=assistant\n", "<end_of_sentence>"},
      {"tool_chat_template_mistral.jinja", "mistral", "none", "[/INST]", "</s>"},
      {"tool_chat_template_mistral3.jinja", "mistral", "none", "[/INST]", "</s>"},
      {"tool_chat_template_mistral_parallel.jinja", "mistral", "none", "[/INST]", "</s>"},
      {"tool_chat_template_phi4_mini.jinja", "phi4_mini", "none"},
      {"tool_chat_template_qwen3coder.jinja", "qwen3_coder", "none", kImStart, kImEnd},
      {"tool_chat_template_toolace.jinja", "pythonic", "none", kLlama, kEot, false, false, true},
      {"tool_chat_template_xlam_llama.jinja", "json_array", "none", kLlama, kEot},
      {"tool_chat_template_xlam_qwen.jinja", "json_array", "none", kImStart, kImEnd}};
  return all;
}

std::string template_source(const std::string& file) { return read_file((kFolder / file).string()).value(); }

OrderedJson conversation(const std::vector<Call>& calls, bool has_text_arguments) {
  OrderedJson tool_calls = OrderedJson::array();
  int id = 123456789;
  for (const Call& call : calls) {
    OrderedJson arguments = OrderedJson::parse(call.arguments);
    if (has_text_arguments) arguments = call.arguments;
    tool_calls.push_back({{"id", std::to_string(id++)},
                          {"type", "function"},
                          {"function", {{"name", call.name}, {"arguments", arguments}}}});
  }
  return {{{"role", "user"}, {"content", "Weather?"}},
          {{"role", "assistant"}, {"content", ""}, {"tool_plan", ""}, {"tool_calls", tool_calls}}};
}

// What the template renders for an assistant's message with these calls; the error's message where it cannot.
std::string rendered_answer(const Chosen& chosen, const std::vector<Call>& calls) {
  const Result<ChatTemplate> parsed = ChatTemplate::parse(template_source(chosen.file), chosen.file);
  EXPECT_TRUE(parsed.ok());
  OrderedJson variables = {{"messages", conversation(calls, chosen.has_text_arguments)},
                           {"tools", weather_tools()},
                           {"add_generation_prompt", false},
                           {"bos_token", "<s>"},
                           {"eos_token", "</s>"},
                           {"datetime", "now"},
                           {"functions", "[]"}};
  Result<std::string> text = parsed->render(variables);
  if (!text.ok() || text->find(calls[0].name, text->rfind("Weather?")) == std::string::npos) {
    // some want no content beside calls
    variables["messages"][1]["content"] = nullptr;
    text = parsed->render(variables);
  }
  if (!text.ok()) {  // or trip over the tools
    variables.erase("tools");
    text = parsed->render(variables);
  }
  if (!text.ok()) return text.error().message;
  const std::string before = chosen.before;
  const size_t user = text->rfind("Weather?");
  const size_t begin = text->find(before, user);
  if (begin == std::string::npos) return "no beginning in " + *text;
  const std::string behind = chosen.behind;
  const size_t end = behind.empty() ? text->size() : text->find(behind, begin + before.size());
  if (end == std::string::npos) return "no end in " + *text;
  return text->substr(begin + before.size(), end - begin - before.size());
}

OrderedJson sorted(const std::string& json) { return OrderedJson(Json::parse(json, nullptr, false)); }

}  // namespace

TEST(Choice, the_form_is_that_of_the_template) {
  if (!std::filesystem::exists(kFolder)) GTEST_SKIP() << kFolder << " is missing";
  for (const Chosen& chosen : choices()) {
    const Dialect dialect = choose_dialect(template_source(chosen.file), "auto", "auto").value();
    EXPECT_EQ(name_of(dialect.tools), chosen.tools) << chosen.file;
    EXPECT_EQ(name_of(dialect.reasoning), chosen.reasoning) << chosen.file;
  }
  size_t num_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    num_files += entry.path().extension() == ".jinja";
  EXPECT_EQ(num_files, choices().size());
}

TEST(Choice, calls_that_a_template_renders_read_as_the_same_calls) {
  if (!std::filesystem::exists(kFolder)) GTEST_SKIP() << kFolder << " is missing";
  const std::vector<Call> texts = {{"get_weather", R"({"city": "Paris"})"}};
  const std::vector<Call> single = {{"get_weather",
                                     "{\"city\": \"S\xC3\xA3o \\\"Paulo\\\" {}\\n<b>\", \"days\": 3, "
                                     "\"exact\": true, \"tags\": [\"a, b\", \"]\"]}"}};
  std::vector<Call> several = single;
  several.push_back({"now", "{}"});
  several.push_back({"get_weather", R"({"city": "Oslo"})"});
  int num_read = 0;
  for (const Chosen& chosen : choices()) {
    if (chosen.before == nullptr) continue;
    const std::vector<Call>& calls = chosen.is_lossy ? texts : chosen.is_single ? single : several;
    const std::string text = rendered_answer(chosen, calls);
    const Answer answer =
        read(dialect_of(chosen.tools, chosen.reasoning), {.tools = true, .tool_list = weather_tools()}, text);
    EXPECT_EQ(answer.calls.size(), calls.size()) << chosen.file << ": " << text << "\n" << answer;
    for (size_t i = 0; i < std::min(calls.size(), answer.calls.size()); ++i) {
      EXPECT_EQ(answer.calls[i].name, calls[i].name) << chosen.file;
      EXPECT_EQ(sorted(answer.calls[i].arguments), sorted(calls[i].arguments)) << chosen.file << ": " << text;
    }
    EXPECT_EQ(answer.content, "") << chosen.file << ": " << text;
    ++num_read;
  }
  std::cout << num_read << " templates' calls read\n";
}

TEST(Choice, names_and_aliases_are_known_and_others_refused_with_the_list) {
  EXPECT_EQ(name_of(choose_dialect("", "hermes", "none")->tools), "hermes");
  EXPECT_EQ(name_of(choose_dialect("", "gemma4", "qwen3")->tools), "gemma");
  EXPECT_EQ(name_of(choose_dialect("", "gemma4", "qwen3")->reasoning), "think");
  EXPECT_EQ(choose_dialect("<tool_call> arguments", "none", "none")->tools, nullptr);
  const Result<Dialect> unknown = choose_dialect("", "hermess", "auto");
  ASSERT_FALSE(unknown.ok());
  EXPECT_TRUE(unknown.error().message.find("\"hermess\"") != std::string::npos);
  EXPECT_TRUE(unknown.error().message.find("qwen3_coder") != std::string::npos);
  EXPECT_FALSE(choose_dialect("", "auto", "thonk").ok());
}

TEST(Choice, the_bundled_models_template_calls_no_tools) {
  const Json config = read_json(std::string(HEED_SOURCE_DIR) + "/models/bard/tokenizer_config.json").value();
  const Dialect dialect = choose_dialect(config["chat_template"].get<std::string>(), "auto", "auto").value();
  EXPECT_EQ(name_of(dialect.tools), "none");
  EXPECT_EQ(name_of(dialect.reasoning), "none");
  EXPECT_FALSE(needs_special_tokens(dialect));
}

TEST(Choice, a_prompt_tells_whether_the_answer_begins_in_reasoning) {
  const Dialect think = dialect_of("none", "think");
  EXPECT_TRUE(begins_in_reasoning(think, "<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(begins_in_reasoning(think, "<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(begins_in_reasoning(think, "<|im_start|>assistant\n"));
  const Dialect r1 = dialect_of("none", "deepseek_r1");
  EXPECT_TRUE(begins_in_reasoning(r1, "<｜Assistant｜>"));
  EXPECT_FALSE(begins_in_reasoning(r1, "<｜Assistant｜></think>"));
  const Dialect gemma = dialect_of("none", "gemma_channel");
  EXPECT_TRUE(begins_in_reasoning(gemma, "<|turn>model\n<|channel>thought\n"));
  EXPECT_FALSE(begins_in_reasoning(gemma, "<|turn>model\n<|channel>thought\n<channel|>"));
  EXPECT_FALSE(begins_in_reasoning(dialect_of("none", "none"), "<think>"));
  EXPECT_EQ(reasoning_end(gemma), "<channel|>");
  EXPECT_EQ(reasoning_end(dialect_of("none", "none")), "");
  EXPECT_TRUE(needs_special_tokens(gemma));
}

// Or else the scanner could not tell which one it has seen.
TEST(Choice, no_marker_of_a_dialect_is_the_beginning_of_another) {
  const auto expect_apart = [](const std::vector<std::string>& markers, const std::string& where) {
    for (size_t i = 0; i < markers.size(); ++i) {
      EXPECT_FALSE(markers[i].empty()) << where;
      for (size_t k = 0; k < markers.size(); ++k) {
        EXPECT_TRUE(i == k || !markers[i].starts_with(markers[k])) << where << ": " << markers[i];
      }
    }
  };
  for (const ToolForm& tools : tool_forms()) {
    for (const ReasoningForm& reasoning : reasoning_forms()) {
      std::vector<std::string> markers = tools.starts;
      markers.insert(markers.end(), tools.dropped.begin(), tools.dropped.end());
      markers.insert(markers.end(), {reasoning.start, reasoning.end});
      markers.insert(markers.end(), reasoning.dropped.begin(), reasoning.dropped.end());
      expect_apart(markers, tools.name + " with " + reasoning.name);
    }
    for (const auto& form : {tools.json ? tools.json->tails : std::vector<TailText>(),
                             tools.named ? tools.named->tails : std::vector<TailText>()}) {
      std::vector<std::string> tails;
      for (const TailText& tail : form) tails.push_back(tail.text);
      expect_apart(tails, tools.name);
    }
  }
}

}  // namespace heed
