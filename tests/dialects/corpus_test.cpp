#include "tests/dialects/corpus.h"

namespace heed {
namespace {

constexpr const char* kParis = R"({"city": "Paris"})";
constexpr const char* kBraces =
    R"({"city": "a}{\"]", "tags": ["<", "</tool_call>", "ü\n\u00e9\\"], "o": {"p": [{}]}})";

std::string hermes(const std::string& arguments, const std::string& name = "get_weather") {
  return "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": " + arguments + "}\n</tool_call>";
}

std::vector<Case> text_cases() {
  return {
      {"hermes", "none", "", {}},
      {"hermes", "none", "Hello, w\xC3\xB6rld!  \n", {"", "Hello, w\xC3\xB6rld!  \n"}},
      {"hermes",
       "none",
       " a < b << c <tool <tool_cal <tool_call",
       {"", " a < b << c <tool <tool_cal <tool_call"}},
      {"hermes", "none", "<<tool_call>x", {"", "<<tool_call>x"}},
      {"hermes", "none", std::string("\0a\0", 3), {"", std::string("\0a\0", 3)}},
      {"none", "none", "{\"a\": [1, 2]}", {"", "{\"a\": [1, 2]}"}},
      {"llama3_json", "none", "{\"title\": \"x\", \"n\": {}}", {"", "{\"title\": \"x\", \"n\": {}}"}},
      {"llama3_json",
       "none",
       "{\"name\": \"Bob\", \"parameters\": {}}",
       {"", "{\"name\": \"Bob\", \"parameters\": {}}"}},
      {"llama3_json", "none", "{\"name\": \"now\"}", {"", "{\"name\": \"now\"}"}},
      {"pythonic", "none", "[1] says so. [now]", {"", "[1] says so. [now]"}},
      {"pythonic", "none", "[now(1, 2)]", {"", "[now(1, 2)]"}},
      {"pythonic", "none", "[later(a=1)]", {"", "[later(a=1)]"}},
      {"json_array", "none", "[]", {"", "[]"}},
      {"mistral", "none", "a [TOOL_CALLS] b", {"", "a [TOOL_CALLS] b"}},
  };
}

std::vector<Case> reasoning_cases() {
  return {
      {"hermes", "think", "<think>\nHm.\n\nYes\n</think>\n\nNo.", {"Hm.\n\nYes", "No."}},
      {"hermes", "think", "\n<think>\n</think>\n\n  No.", {"", "  No."}},
      {"hermes", "think", "\nHm.\n</think>\nNo </think> <think>.", {"Hm.", "No </think> <think>."}, true},
      {"hermes", "think", "<think>\nHm.</think>No.", {"Hm.", "No."}, true},
      {"hermes", "think", "Hm. </thin", {"Hm. </thin", ""}, true},
      {"hermes", "think", "Hm.\n</think>\n\nNo.", {"", "Hm.\n\n\nNo."}},
      {"hermes", "think", "Hi <think>a</think>", {"", "Hi <think>a"}},
      {"hermes",
       "think",
       "<think>A <tool_call> is</think>\n\n" + hermes(kParis),
       {"A <tool_call> is", "", {{"get_weather", kParis}}}},
      {"gemma", "gemma_channel", "<|channel>thought\nHm.\n<channel|>No.", {"Hm.", "No."}},
      {"gemma", "gemma_channel", "<|channel>thoughts<channel|>No.", {"thoughts", "No."}},
      {"gemma", "gemma_channel", "<|channel>thought\n<channel|>\nNo.", {"", "No."}},
      {"gemma",
       "gemma_channel",
       "<|channel>thought\nA<channel|><|tool_call>call:now{}<tool_call|><|channel>thought\nB<channel|>C",
       {"A\nB", "C", {{"now", "{}"}}}},
      {"gemma", "gemma_channel", "thought\nHm.<channel|>", {"Hm.", ""}, true},
      {"command_r7b",
       "command_r7b",
       "<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": "
       "\"now\", "
       "\"parameters\": {}}\n]<|END_ACTION|>",
       {"Hm.", "", {{"now", "{}"}}}},
      {"command_r7b", "command_r7b", "<|START_RESPONSE|>Yes.<|END_RESPONSE|>", {"", "Yes."}},
      {"mistral", "mistral", "[THINK]Hm.[/THINK]Yes", {"Hm.", "Yes"}},
      {"harmony",
       "harmony",
       "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.get_weather "
       "<|constrain|>json<|message|>{\"city\":\"Paris\"}<|call|>",
       {"Hm.", "", {{"get_weather", "{\"city\":\"Paris\"}"}}}},
      {"harmony",
       "harmony",
       "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
       {"Hm.", "Yes."}},
  };
}

std::vector<Case> hermes_cases() {
  const std::string two = hermes(kParis) + "\n" + hermes("{}", "now");
  return {
      {"hermes", "none", hermes(kParis), {"", "", {{"get_weather", kParis}}}},
      {"hermes", "none", hermes(kBraces), {"", "", {{"get_weather", kBraces}}}},
      {"hermes",
       "none",
       "Let me see.\n\n" + two + "\n",
       {"", "Let me see.", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"hermes", "none", "A\n" + two + "\nB ", {"", "A\n\n\nB", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"hermes", "none", "\n" + two + "\nB", {"", "B", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"hermes",
       "none",
       "```json\n" + hermes("{}", "now") + "\n```",
       {"", "```json\n\n```", {{"now", "{}"}}}},
      {"hermes",
       "none",
       "<tool_call>{\"arguments\":{\"city\":\"P\"},\"id\":[{\"}\":1}],\"name\":\"get_weather\"}</tool_call>",
       {"", "", {{"get_weather", "{\"city\":\"P\"}"}}}},
      {"hermes", "none", "<tool_call>{\"name\": \"now\"}</tool_call>", {"", "", {{"now", "{}"}}}},
      {"hermes",
       "none",
       "<tool_call>{\"name\": \"now\", \"arguments\": null}</tool_call>",
       {"", "", {{"now", "{}"}}}},
      {"hermes",
       "none",
       "<tool_call>{\"name\": \"now\", \"arguments\": \"\"}</tool_call>",
       {"", "", {{"now", "{}"}}}},
      {"hermes",
       "none",
       R"(<tool_call>{"name": "get_weather", "arguments": "{\"city\": \"P\\n\u00e9\ud83d\ude00\"}"}</tool_call>)",
       {"", "", {{"get_weather", "{\"city\": \"P\\n\xC3\xA9\xF0\x9F\x98\x80\"}"}}}},
      {"hermes",
       "none",
       "<tool_call>{\"name\": \"now\", \"arguments\": {}}{\"name\": \"now\", \"arguments\": {}}</tool_call>",
       {"", "", {{"now", "{}"}, {"now", "{}"}}}},
      {"hermes",
       "none",
       "<tool_call>[{\"name\": \"now\", \"arguments\": {}}]</tool_call>",
       {"", "", {{"now", "{}"}}}},
      {"hermes",
       "none",
       "<tool_call>{\"name\": \"now\", \"arguments\": {}}}\n</tool_call>",
       {"", "", {{"now", "{}"}}}},
      {"hermes",
       "none",
       "<tool_call>{\"name\": \"now\", \"arguments\": {}}\n<tool_call>{\"name\": \"now\", \"arguments\": {}}",
       {"", "", {{"now", "{}"}, {"now", "{}"}}}},
      // Cut short.
      {"hermes",
       "none",
       "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Pa",
       {"", "", {{"get_weather", "{\"city\": \"Pa"}}}},
      {"hermes", "none", "<tool_call>\n{\"name\": \"get_we", {"", "<tool_call>\n{\"name\": \"get_we"}},
      {"hermes", "none", hermes("{}", "now").substr(0, 50), {"", "", {{"now", "{}"}}}},
      // None.
      {"hermes",
       "none",
       "<tool_call>\nnot JSON </tool_call> b",
       {"", "<tool_call>\nnot JSON </tool_call> b"}},
      {"hermes",
       "none",
       "<tool_call>{\"name\": 3}</tool_call>",
       {"", "<tool_call>{\"name\": 3}</tool_call>"}},
      {"hermes",
       "none",
       "<tool_call>{\"name\": \"now\", \"arguments\": 3}",
       {"", "<tool_call>{\"name\": \"now\", \"arguments\": 3}"}},
      {"hermes", "none", "<tool_call>{}</tool_call>", {"", "<tool_call>{}</tool_call>"}},
      {"hermes",
       "none",
       "<tool_call> <tool_call>\n{\"name\": \"now\", \"arguments\": {}}</tool_call>",
       {"", "<tool_call>", {{"now", "{}"}}}},
      {"hermes",
       "none",
       "<tool_call>{\"<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>",
       {"", "<tool_call>{\"", {{"now", "{}"}}}},
      {"hermes",
       "none",
       hermes("{}", "now") + " and </tool_call>",
       {"", " and </tool_call>", {{"now", "{}"}}}},
  };
}

std::vector<Case> json_cases() {
  return {
      {"llama3_json",
       "none",
       "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}",
       {"", "", {{"get_weather", kParis}}}},
      {"llama3_json",
       "none",
       "<|python_tag|>{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"get_weather\", \"parameters\": "
       "{\"city\": \"Paris\"}}",
       {"", "", {{"now", "{}"}, {"get_weather", kParis}}}},
      {"llama3_json",
       "none",
       "\n {\"type\": \"function\", \"function\": \"now\", \"parameters\": {}}",
       {"", "", {{"now", "{}"}}}},
      {"llama3_json",
       "none",
       "{\"name\": \"now\", \"parameters\": {}} is it",
       {"", " is it", {{"now", "{}"}}}},
      {"llama3_json",
       "none",
       "I say {\"name\": \"now\", \"parameters\": {}}",
       {"", "I say {\"name\": \"now\", \"parameters\": {}}"}},
      {"mistral",
       "none",
       "[TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}, \"id\": "
       "\"123456789\"}, {\"name\": \"now\", \"arguments\": {}}]",
       {"", "", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"mistral",
       "none",
       "Yes[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Paris\"}[TOOL_CALLS]now[CALL_ID]abcdefghi[ARGS]{}",
       {"", "Yes", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"mistral", "none", "[TOOL_CALLS]now{}", {"", "", {{"now", "{}"}}}},
      {"json_array",
       "none",
       "[{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}, {\"name\": \"now\", "
       "\"parameters\": {}}] x",
       {"", " x", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"none", "none", " [{\"name\": \"now\", \"parameters\": {}}]", {"", "", {{"now", "{}"}}}},
      {"phi4_mini", "none", " functools[{\"name\": \"now\", \"arguments\": {}}]", {"", "", {{"now", "{}"}}}},
      {"granite", "none", "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]", {"", "", {{"now", "{}"}}}},
      {"granite_20b_fc",
       "none",
       "<function_call> {\"name\": \"now\", \"arguments\": {}}<function_call> {\"name\": \"now\", "
       "\"arguments\": {}}",
       {"", "", {{"now", "{}"}, {"now", "{}"}}}},
      {"internlm",
       "none",
       "A<|action_start|><|plugin|>\n{\"name\": \"now\", \"parameters\": {}}<|action_end|>",
       {"", "A", {{"now", "{}"}}}},
      {"hunyuan_a13b",
       "none",
       "<tool_calls>[{\"name\": \"now\", \"arguments\": {}}]</tool_calls>",
       {"", "", {{"now", "{}"}}}},
      {"minimax",
       "none",
       "<tool_calls>\n{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"now\", \"arguments\": "
       "{}}\n</tool_calls>",
       {"", "", {{"now", "{}"}, {"now", "{}"}}}},
      {"apertus",
       "none",
       "<|tools_prefix|>[{\"get_weather\": {\"city\": \"Paris\"}}, {\"now\": {}}]<|tools_suffix|>",
       {"", "", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"command_r",
       "none",
       "Plan\nAction:\n```json\n[\n    {\n        \"tool_name\": \"now\",\n        \"parameters\": {}\n    "
       "}\n]```\n",
       {"", "Plan", {{"now", "{}"}}}},
      {"deepseek_v3",
       "none",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": "
       "\"Paris\"}\n```"
       "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<"
       "｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       {"", "", {{"get_weather", kParis}, {"now", "{}"}}}},
      {"deepseek_v31",
       "none",
       "Hm<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><"
       "｜tool▁calls▁end｜>",
       {"", "Hm", {{"now", "{}"}}}},
      {"kimi_k2",
       "none",
       "<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}<|tool_"
       "call_end|>"
       "<|tool_call_begin|>functions.get_weather:1<|tool_call_argument_begin|>{\"city\": "
       "\"Paris\"}<|tool_call_end|>"
       "<|tool_calls_section_end|>",
       {"", "", {{"now", "{}"}, {"get_weather", kParis}}}},
      {"functionary",
       "none",
       "<function=get_weather>{\"city\": \"Paris\"}</function><function=now>{}</function>",
       {"", "", {{"get_weather", kParis}, {"now", "{}"}}}},
  };
}

std::vector<Case> tag_cases() {
  const std::string long_call =
      "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n\n\"<b>\"\n</"
      "parameter>\n<parameter=days>\n3\n"
      "</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=tags>\n[\"a\", "
      "\"</x>\"]\n</parameter>\n"
      "</function>\n</tool_call>";
  return {
      {"qwen3_coder",
       "none",
       "Yes.\n" + long_call,
       {"",
        "Yes.",
        {{"get_weather",
          R"({"city": "Paris\n\n\"<b>\"", "days": 3, "exact": true, "tags": ["a", "</x>"]})"}}}},
      {"qwen3_coder",
       "none",
       "<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</"
       "tool_call>",
       {"", "", {{"now", "{}"}, {"now", "{}"}}}},
      {"qwen3_coder",
       "none",
       "<function=get_weather><parameter=city>7</parameter><parameter=other>7</parameter></function>",
       {"", "", {{"get_weather", R"({"city": "7", "other": 7})"}}}},
      {"qwen3_coder",
       "none",
       "<tool_call><function=get_weather><parameter=city>\nA\n<parameter=days>x\n</function></tool_call>",
       {"", "", {{"get_weather", R"({"city": "A", "days": "x"})"}}}},
      {"qwen3_coder", "none", hermes(kParis), {"", "", {{"get_weather", kParis}}}},
      {"qwen3_coder",
       "none",
       "<tool_call>\n<function=get_weather>\n<parameter=city>\nPar",
       {"", "", {{"get_weather", R"({"city": "Par)"}}}},
      {"qwen3_coder", "none", "<function=a b>", {"", "<function=a b>"}},
      {"qwen3_coder", "none", "<tool_call>\nfunction", {"", "<tool_call>\nfunction"}},
      {"glm45",
       "none",
       "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</"
       "arg_key>\n<arg_value>3"
       "</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>",
       {"", "", {{"get_weather", R"({"city": "Paris", "days": 3})"}, {"now", "{}"}}}},
      {"glm45",
       "none",
       "<tool_call>get_weather<arg_key>city</arg_key><arg_value> a</b "
       "</arg_value></tool_call><tool_call>now</tool_call>",
       {"", "", {{"get_weather", R"({"city": " a</b "})"}, {"now", "{}"}}}},
      {"minimax_m2",
       "none",
       "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter "
       "name=\"city\">Paris</parameter>\n<parameter "
       "name=\"days\">3</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
       {"", "", {{"get_weather", R"({"city": "Paris", "days": 3})"}, {"now", "{}"}}}},
  };
}

std::vector<Case> literal_cases() {
  return {
      {"gemma",
       "none",
       "Hm.<|tool_call>call:get_weather{city:<|\"|>Pa\"r{is\n<|\"|>,days:3,exact:true}<tool_call|>",
       {"", "Hm.", {{"get_weather", R"({"city": "Pa\"r{is\n", "days": 3, "exact": true})"}}}},
      {"gemma",
       "none",
       "<|tool_call>call:get_weather{tags:[<|\"|>a<|\"|>,{k:[],<|\"|>l "
       "m<|\"|>:None}],x:-1.5e3}<tool_call|><|tool_call>call:now{}<tool_call|>",
       {"", "", {{"get_weather", R"({"tags": ["a", {"k": [], "l m": null}], "x": -1.5e3})"}, {"now", "{}"}}}},
      {"gemma",
       "none",
       "<|tool_call>call:get_weather{\"city\": \"a\\\"\\u00e9\", city2:Paris }<tool_call|><|tool_response>",
       {"", "", {{"get_weather", "{\"city\": \"a\\\"\xC3\xA9\", \"city2\": \"Paris\"}"}}}},
      {"gemma",
       "none",
       "<|tool_call>call:get_weather{city:<|\"|>Pa",
       {"", "", {{"get_weather", R"({"city": "Pa)"}}}},
      {"gemma", "none", "<|tool_call>now{}<tool_call|>", {"", "<|tool_call>now{}<tool_call|>"}},
      {"functiongemma",
       "none",
       "<start_function_call>call:get_weather{city:<escape>7<escape>,days:<escape>3<escape>}<end_function_"
       "call>",
       {"", "", {{"get_weather", R"({"city": "7", "days": 3})"}}}},
      {"pythonic",
       "none",
       "[get_weather(city=\"Paris\", days=3, exact=True), now()]",
       {"", "", {{"get_weather", R"({"city": "Paris", "days": 3, "exact": true})"}, {"now", "{}"}}}},
      {"pythonic",
       "none",
       "<|python_start|>[get_weather(city='it\\'s \"\\x41\"', tags=['a', {'k': None}])]<|python_end|>",
       {"", "", {{"get_weather", R"({"city": "it's \"A\"", "tags": ["a", {"k": null}]})"}}}},
      {"pythonic",
       "none",
       "[get_weather(city=New York)]",
       {"", "", {{"get_weather", R"({"city": "New York"})"}}}},
      {"pythonic", "none", "[{\"name\": \"now\", \"parameters\": {}}]", {"", "", {{"now", "{}"}}}},
      {"pythonic", "none", "[get_weather(city=\"Pa", {"", "", {{"get_weather", R"({"city": "Pa)"}}}},
  };
}

}  // namespace

const std::vector<Case>& corpus() {
  static const std::vector<Case> all = [] {
    std::vector<Case> cases;
    for (auto* const make :
         {text_cases, reasoning_cases, hermes_cases, json_cases, tag_cases, literal_cases}) {
      for (Case& one : make()) cases.push_back(std::move(one));
    }
    return cases;
  }();
  return all;
}

TEST(Corpus, each_answer_reads_as_the_table_says) {
  for (const Case& one : corpus()) {
    const Answer answer = read(dialect_of(one.tools, one.reasoning), options_of(one), one.text);
    EXPECT_EQ(answer, one.expected) << one.tools << ": " << one.text;
  }
}

TEST(Corpus, the_answer_is_the_same_wherever_it_is_cut) {
  std::mt19937 random(20261121);
  for (const Case& one : corpus()) {
    const Dialect dialect = dialect_of(one.tools, one.reasoning);
    for (size_t cut = 0; cut <= one.text.size(); ++cut) {
      if (!is_character_start(one.text, cut)) continue;
      ASSERT_EQ(read_cut(dialect, options_of(one), one.text, {cut}), one.expected)
          << one.text << " at " << cut;
    }
    for (int round = 0; round < 20; ++round) {
      const auto seed = static_cast<uint32_t>(random());
      std::mt19937 choices(seed);
      std::vector<size_t> cuts;
      for (size_t at = 0; at < one.text.size(); ++at) {
        if (is_character_start(one.text, at) && choices() % (1 + seed % 7) == 0) cuts.push_back(at);
      }
      ASSERT_EQ(read_cut(dialect, options_of(one), one.text, cuts), one.expected)
          << one.text << " seed " << seed;
    }
  }
}

TEST(Corpus, an_answer_cut_off_anywhere_says_nothing_else_than_its_beginning) {
  for (const Case& one : corpus()) {
    const Dialect dialect = dialect_of(one.tools, one.reasoning);
    for (size_t end = 0; end < one.text.size(); ++end) {
      if (!is_character_start(one.text, end)) continue;
      MessageParser parser(dialect, options_of(one));
      Answer answer;
      add(answer, parser.push(std::string_view(one.text).substr(0, end)));
      ASSERT_TRUE(one.expected.content.starts_with(answer.content)) << one.text << " up to " << end;
      ASSERT_TRUE(one.expected.reasoning.starts_with(answer.reasoning)) << one.text << " up to " << end;
      ASSERT_LE(answer.calls.size(), one.expected.calls.size());
      for (size_t i = 0; i < answer.calls.size(); ++i) {
        ASSERT_EQ(answer.calls[i].name, one.expected.calls[i].name);
        ASSERT_TRUE(one.expected.calls[i].arguments.starts_with(answer.calls[i].arguments)) << one.text;
      }
    }
  }
}

}  // namespace heed
