// Tool calls and reasoning through /v1/chat/completions: forced ones, for the bundled model knows no tools.
#include "tests/api/live.h"

namespace heed::tool_calls_test {
namespace {

const std::string kPath = "/v1/chat/completions";

class ToolCallsTest : public LiveTest {
 protected:
  static void SetUpTestSuite() {
    service_ = serve_bard(4096, "hermes", "think");
    api_ = std::make_unique<Api>();
    add_openai_routes(*api_, *service_);
    api_->set_state(Api::State::kReady);
  }

  static OrderedJson body(const OrderedJson& tool_choice) {
    const OrderedJson parameters = parse_ordered_json(R"({
        "type": "object",
        "properties": {"city": {"enum": ["Verona", "Padua"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": false})",
                                                      "parameters")
                                       .value();
    OrderedJson tools = OrderedJson::array();
    for (const char* name : {"weather", "travel"})
      tools.push_back({{"type", "function"}, {"function", {{"name", name}, {"parameters", parameters}}}});
    return {{"messages", OrderedJson::array({{{"role", "user"}, {"content", "What weather?"}}})},
            {"tools", tools},
            {"tool_choice", tool_choice},
            {"parallel_tool_calls", false},
            {"max_tokens", 200},
            {"temperature", 1.2},
            {"seed", 5}};
  }
  static void check_arguments(const std::string& text) {
    const OrderedJson arguments = parse_ordered_json(text, "arguments").value();
    EXPECT_TRUE(arguments["city"] == "Verona" || arguments["city"] == "Padua") << text;
    EXPECT_TRUE(arguments["days"] >= 1 && arguments["days"] <= 9) << text;
  }
};

TEST_F(ToolCallsTest, a_required_call_is_made_with_valid_arguments) {
  const OrderedJson choice = answer(kPath, body("required"))["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls") << choice;
  EXPECT_EQ(choice["message"]["content"], nullptr);
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1U);
  const OrderedJson& call = choice["message"]["tool_calls"][0];
  EXPECT_TRUE(call["function"]["name"] == "weather" || call["function"]["name"] == "travel");
  check_arguments(call["function"]["arguments"]);
}

TEST_F(ToolCallsTest, a_named_call_is_of_that_tool) {
  const OrderedJson choice =
      answer(kPath, body({{"type", "function"}, {"function", {{"name", "travel"}}}}))["choices"][0];
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "travel");
  check_arguments(choice["message"]["tool_calls"][0]["function"]["arguments"]);
}

TEST_F(ToolCallsTest, streamed_arguments_put_together_are_those_of_the_whole_answer) {
  const OrderedJson whole = answer(kPath, body("required"))["choices"][0]["message"]["tool_calls"][0];
  std::string name, arguments, id, finish;
  int pieces = 0;
  for (const OrderedJson& event : events(kPath, body("required"))) {
    const OrderedJson& choice = event["choices"][0];
    if (choice["finish_reason"].is_string()) finish = choice["finish_reason"];
    if (!choice["delta"].contains("tool_calls")) continue;
    const OrderedJson& call = choice["delta"]["tool_calls"][0];
    EXPECT_EQ(call["index"], 0);
    EXPECT_EQ(call.contains("id"), pieces == 0) << "only the first piece names the call";
    if (pieces++ == 0) {
      name = call["function"]["name"];
      id = call["id"];
    }
    arguments += call["function"]["arguments"].get<std::string>();
  }
  EXPECT_EQ(name, whole["function"]["name"]);
  EXPECT_EQ(arguments, whole["function"]["arguments"]);
  EXPECT_EQ(finish, "tool_calls");
  EXPECT_GT(pieces, 2);
  EXPECT_TRUE(id.starts_with("call_"));
}

TEST_F(ToolCallsTest, reasoning_is_told_apart_from_content) {
  // The continued message has opened its thoughts.
  const OrderedJson messages = OrderedJson::array(
      {{{"role", "user"}, {"content", "Who?"}}, {{"role", "assistant"}, {"content", "<think>"}}});
  OrderedJson request = {{"messages", messages},
                         {"continue_final_message", true},
                         {"add_generation_prompt", false},
                         {"max_tokens", 20},
                         {"temperature", 0},
                         {"ignore_eos", true}};
  const OrderedJson got = answer(kPath, request);
  const OrderedJson& message = got["choices"][0]["message"];
  EXPECT_EQ(message["content"], nullptr);
  EXPECT_FALSE(message["reasoning_content"].get<std::string>().empty());
  EXPECT_EQ(message["reasoning"], message["reasoning_content"]);
  EXPECT_GT(got["usage"]["completion_tokens_details"]["reasoning_tokens"], 10);
  std::string streamed;
  for (const OrderedJson& event : events(kPath, request))
    streamed += event["choices"][0]["delta"].value("reasoning_content", "");
  EXPECT_EQ(streamed, message["reasoning_content"]);
  request["include_reasoning"] = false;
  EXPECT_FALSE(answer(kPath, request)["choices"][0]["message"].contains("reasoning_content"));
}

}  // namespace
}  // namespace heed::tool_calls_test
