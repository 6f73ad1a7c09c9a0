// What the parser promises besides the corpus: how soon it says things, and what hostile text costs.
#include <chrono>

#include "dialects/json_text.h"
#include "tests/dialects/answers.h"

namespace heed {
namespace {

MessageParserOptions with_tools() { return {.tools = true, .tool_list = weather_tools()}; }

}  // namespace

TEST(MessageParser, each_character_comes_as_soon_as_it_is_certain) {
  MessageParser parser(dialect_of("hermes", "think"), with_tools());
  EXPECT_EQ(parser.push("<th").reasoning, "");
  EXPECT_EQ(parser.push("ink>\nHm").reasoning, "Hm");
  EXPECT_TRUE(parser.in_reasoning());
  EXPECT_EQ(parser.push(".\n").reasoning, ".");
  EXPECT_EQ(parser.push("Yes</").reasoning, "\nYes");
  EXPECT_EQ(parser.push("think>\n\nI").content, "I");
  EXPECT_FALSE(parser.in_reasoning());
  EXPECT_EQ(parser.push(" see <").content, " see");
  EXPECT_EQ(parser.push("b> <tool_").content, " <b>");
  EXPECT_TRUE(parser.push("call>\n{\"name\": \"get_weather\", \"arguments\": ").empty());
  const MessageDelta first = parser.push("{\"ci");
  ASSERT_EQ(first.tool_calls.size(), 1u);
  EXPECT_EQ(first.tool_calls[0].name, "get_weather");
  EXPECT_EQ(first.tool_calls[0].arguments, "{\"ci");
  const MessageDelta second = parser.push("ty\": \"\xC3\xA9");
  ASSERT_EQ(second.tool_calls.size(), 1u);
  EXPECT_EQ(second.tool_calls[0].name, "");
  EXPECT_EQ(second.tool_calls[0].arguments, "ty\": \"\xC3\xA9");
  EXPECT_EQ(parser.push("\"}}\n</tool_call>").tool_calls[0].arguments, "\"}");
  EXPECT_EQ(parser.num_tool_calls(), 1);
  EXPECT_TRUE(parser.finish().empty());
}

TEST(MessageParser, arguments_in_tags_are_streamed_as_json) {
  MessageParser parser(dialect_of("qwen3_coder"), with_tools());
  EXPECT_TRUE(parser.push("<tool_call>\n<function=get_weather").empty());
  EXPECT_EQ(parser.push(">\n<parameter=city>\nP").tool_calls[0].arguments, "{\"city\": \"P");
  EXPECT_EQ(parser.push("a\"</p").tool_calls[0].arguments, "a\\\"");
  EXPECT_EQ(parser.push("arameter><parameter=days>\n1").tool_calls[0].arguments, "\", \"days\": ");
  EXPECT_TRUE(parser.push("2\n").empty());
  EXPECT_EQ(parser.push("</parameter>\n</function>").tool_calls[0].arguments, "12}");
}

TEST(MessageParser, without_tools_calls_stay_text_and_nothing_is_held_back) {
  MessageParser parser(dialect_of("hermes"), {});
  EXPECT_EQ(parser.push("<tool_call>\n{\"name\": ").content, "<tool_call>\n{\"name\": ");
  EXPECT_EQ(parser.push(" \n").content, " \n");
  EXPECT_TRUE(parser.finish().empty());
}

TEST(MessageParser, a_parameter_is_what_its_schema_says) {
  const OrderedJson tools =
      OrderedJson::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {
      "$defs": {"id": {"type": "string"}, "loop": {"$ref": "#/$defs/loop"}}, "properties": {
      "text": {"type": "string"}, "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
      "id": {"$ref": "#/$defs/id"}, "loop": {"$ref": "#/$defs/loop"}, "wide": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
      "n": {"type": ["number", "null"]}, "o": {"type": "object"}, "e": {"enum": ["1", "2"]}}}}}])");
  const auto value = [&](const std::string& key, const std::string& text) {
    const std::string call = "<function=f><parameter=" + key + ">" + text + "</parameter></function>";
    const Answer answer = read(dialect_of("qwen3_coder"), {.tools = true, .tool_list = tools}, call);
    EXPECT_EQ(answer.calls.size(), 1u);
    return answer.calls[0].arguments;
  };
  EXPECT_EQ(value("text", "12"), R"({"text": "12"})");
  EXPECT_EQ(value("text", "null"), R"({"text": "null"})");
  EXPECT_EQ(value("id", "12"), R"({"id": "12"})");
  EXPECT_EQ(value("e", "1"), R"({"e": "1"})");
  EXPECT_EQ(value("maybe", "null"), R"({"maybe": null})");
  EXPECT_EQ(value("maybe", "12"), R"({"maybe": "12"})");
  EXPECT_EQ(value("loop", "12"), R"({"loop": 12})");
  EXPECT_EQ(value("wide", "[1]"), R"({"wide": [1]})");
  EXPECT_EQ(value("n", " 1.5\n"), R"({"n": 1.5})");
  EXPECT_EQ(value("n", "None"), R"({"n": null})");
  EXPECT_EQ(value("n", "many"), R"({"n": "many"})");
  EXPECT_EQ(value("o", "{\"a\": {}}"), R"({"o": {"a": {}}})");
  EXPECT_EQ(value("o", "{\"a\": "), R"({"o": "{\"a\": "})");
  EXPECT_EQ(value("other", "x\x01"), "{\"other\": \"x\\u0001\"}");
}

TEST(MessageParser, hostile_text_costs_time_in_proportion_and_nothing_is_lost) {
  const std::vector<std::string> pieces = {"<",
                                           "{",
                                           "[",
                                           "\n",
                                           "<tool_call>",
                                           "<tool_call>{\"arguments\":{",
                                           "[TOOL_CALLS]",
                                           "<function=",
                                           "<tool_call>{\"name\":\"now\",\"arguments\":{}},{\"arguments\":{",
                                           "<｜tool▁calls▁begin｜>",
                                           "[now(a=[",
                                           "\"\\u",
                                           "call:now{a:",
                                           "<think>"};
  for (const std::string& form : tool_form_names()) {
    for (const std::string& piece : pieces) {
      std::string text;
      while (text.size() < 30'000) text += piece;
      const auto begin = std::chrono::steady_clock::now();
      const Answer answer = read(dialect_of(form, "think"), with_tools(), text);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      EXPECT_LT(seconds.count(), 20) << form << " " << piece;
      const bool is_text = answer.calls.empty() && answer.reasoning.empty() && piece != "<think>";
      EXPECT_TRUE(!is_text || answer.content == text) << form << " " << piece;
    }
  }
}

TEST(MessageParser, nested_literals_end_at_a_depth) {
  const std::string deep(1000, '[');
  const Answer answer = read(dialect_of("gemma"), with_tools(), "<|tool_call>call:now{a:" + deep);
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_LT(answer.calls[0].arguments.size(), 100u);
  EXPECT_GT(answer.content.size(), 900u);
}

TEST(StringDecoder, halves_of_pairs_and_broken_escapes_do_no_harm) {
  const auto decoded = [](std::string_view text) {
    StringDecoder decoder;
    std::string result;
    for (const char byte : text) {
      if (decoder.push(byte, result)) return result + "|";
    }
    return result;
  };
  EXPECT_EQ(decoded("a\\n\\\"b\\/\\\\\""), "a\n\"b/\\|");
  EXPECT_EQ(decoded("\\ud83d\\ude00\""), "\xF0\x9F\x98\x80|");
  EXPECT_EQ(decoded("\\ud83dx\\ude00\""), "\xEF\xBF\xBDx\xEF\xBF\xBD|");
  EXPECT_EQ(decoded("\\ud83d\\ud83d\\ude00\""), "\xEF\xBF\xBD\xF0\x9F\x98\x80|");
  EXPECT_EQ(decoded("\\x41\\U0001F600\\d\""), "A\xF0\x9F\x98\x80\\d|");
  EXPECT_EQ(decoded("\\u12g\""), "\xEF\xBF\xBDg|");
}

}  // namespace heed
