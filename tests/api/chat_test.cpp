// /v1/chat/completions on the bundled model.
#include "api/chat_messages.h"
#include "tests/api/live.h"

namespace heed {
namespace {

const std::string kPath = "/v1/chat/completions";

OrderedJson says(const std::string& role, const OrderedJson& content) {
  return {{"role", role}, {"content", content}};
}

class ChatTest : public LiveTest {
 protected:
  static OrderedJson body(const OrderedJson& more = OrderedJson::object()) {
    OrderedJson all = {{"model", "bard"},
                       {"messages", OrderedJson::array({says("user", "Who is there?")})},
                       {"max_tokens", 24},
                       {"temperature", 0}};
    all.update(more);
    return all;
  }
  static OrderedJson first(const OrderedJson& request) { return answer(kPath, request)["choices"][0]; }
};

TEST_F(ChatTest, the_answer_is_that_of_the_rendered_prompt) {
  const OrderedJson chat = first(body({{"ignore_eos", true}}));
  const OrderedJson plain =
      answer("/v1/completions", {{"prompt", "<bos><|user|>\nWho is there?<|end|>\n<|assistant|>\n"},
                                 {"add_special_tokens", false},
                                 {"max_tokens", 24},
                                 {"temperature", 0},
                                 {"ignore_eos", true}})["choices"][0];
  EXPECT_EQ(chat["message"]["content"], plain["text"]);
  EXPECT_EQ(chat["message"]["role"], "assistant");
  EXPECT_EQ(chat["finish_reason"], "length");
  EXPECT_FALSE(plain["text"].get<std::string>().empty());
}

TEST_F(ChatTest, a_stream_put_together_is_the_whole_answer) {
  const OrderedJson request = body({{"logprobs", true}, {"top_logprobs", 2}, {"max_tokens", 40}});
  const OrderedJson whole = first(request);
  OrderedJson streamed = request;
  streamed["stream_options"] = {{"include_usage", true}, {"continuous_usage_stats", true}};
  const auto all = events(kPath, streamed);
  EXPECT_EQ(all.front()["choices"][0]["delta"], (OrderedJson{{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(all.front()["object"], "chat.completion.chunk");
  std::string content;
  OrderedJson logprobs = OrderedJson::array();
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const OrderedJson& choice = all[i]["choices"][0];
    content += choice["delta"].value("content", "");
    EXPECT_GT(all[i]["usage"]["prompt_tokens"], 0);
    if (!choice["logprobs"].is_object()) continue;
    for (const OrderedJson& token : choice["logprobs"]["content"]) logprobs.push_back(token);
  }
  EXPECT_EQ(content, whole["message"]["content"]);
  EXPECT_EQ(logprobs, whole["logprobs"]["content"]);
  EXPECT_EQ(all[all.size() - 2]["choices"][0]["finish_reason"], whole["finish_reason"]);
  EXPECT_EQ(all.back()["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
  std::string joined;
  for (const OrderedJson& token : logprobs) {
    EXPECT_EQ(token["top_logprobs"].size(), 2U);
    EXPECT_EQ(token["top_logprobs"][0]["token"], token["token"]);
    joined += token["token"].get<std::string>();
  }
  EXPECT_EQ(joined, content);
}

TEST_F(ChatTest, text_parts_say_what_a_string_says) {
  const OrderedJson parts =
      OrderedJson::array({{{"type", "text"}, {"text", "Who is"}}, {{"type", "text"}, {"text", "there?"}}});
  EXPECT_EQ(first(body({{"messages", OrderedJson::array({says("user", parts)})}}))["message"],
            first(body({{"messages", OrderedJson::array({says("user", "Who is\nthere?")})}}))["message"]);
}

TEST_F(ChatTest, choices_and_seeds) {
  const OrderedJson request = body({{"n", 3}, {"temperature", 1}, {"seed", 4}});
  const OrderedJson choices = answer(kPath, request)["choices"];
  ASSERT_EQ(choices.size(), 3U);
  EXPECT_EQ(answer(kPath, request)["choices"], choices);
  EXPECT_NE(choices[0]["message"], choices[1]["message"]);
  EXPECT_EQ(choices[2]["index"], 2);
  std::vector<std::string> streamed(3);
  for (const OrderedJson& event : events(kPath, request)) {
    const OrderedJson& choice = event["choices"][0];
    streamed[choice["index"].get<size_t>()] += choice["delta"].value("content", "");
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(streamed[i], choices[i]["message"]["content"]);
}

TEST_F(ChatTest, the_default_sampling_is_the_models) {
  // generation_config.json of bard: temperature 0.8, top_p 0.95.
  OrderedJson plain = body({{"seed", 9}});
  plain.erase("temperature");
  EXPECT_EQ(first(plain), first(body({{"seed", 9}, {"temperature", 0.8}, {"top_p", 0.95}})));
  EXPECT_NE(first(plain)["message"],
            first(body({{"seed", 9}, {"temperature", 1.8}, {"top_p", 1}}))["message"]);
}

TEST_F(ChatTest, a_final_message_is_continued) {
  const OrderedJson messages =
      OrderedJson::array({says("user", "Who is there?"), says("assistant", "It is I,")});
  const OrderedJson request = body({{"messages", messages},
                                    {"continue_final_message", true},
                                    {"add_generation_prompt", false},
                                    {"return_token_ids", true}});
  const auto ids = answer(kPath, request)["prompt_token_ids"].get<std::vector<int>>();
  EXPECT_TRUE(service_->decode(ids).ends_with("<|assistant|>\nIt is I,"));
  EXPECT_EQ(error(kPath, body({{"continue_final_message", true}}))["param"], "continue_final_message");
}

TEST_F(ChatTest, json_formats_hold) {
  const OrderedJson schema = {{"type", "object"},
                              {"properties", {{"name", {{"type", "string"}, {"maxLength", 5}}}}},
                              {"required", {"name"}},
                              {"additionalProperties", false}};
  const OrderedJson format = {{"type", "json_schema"},
                              {"json_schema", {{"name", "n"}, {"strict", true}, {"schema", schema}}}};
  const OrderedJson choice =
      first(body({{"response_format", format}, {"temperature", 1.2}, {"seed", 2}, {"max_tokens", 80}}));
  const OrderedJson said =
      parse_ordered_json(choice["message"]["content"].get<std::string>(), "answer").value();
  EXPECT_TRUE(said["name"].is_string());
  EXPECT_EQ(said.size(), 1U);
  EXPECT_EQ(error(kPath, body({{"response_format", {{"type", "json_schema"}}}}))["param"],
            "response_format.json_schema");
  EXPECT_EQ(error(kPath, body({{"response_format", {{"type", "xml"}}}}))["param"], "response_format.type");
}

TEST_F(ChatTest, what_the_template_refuses_is_the_clients_error) {
  const OrderedJson messages = OrderedJson::array({says("system", "Be brief."), says("user", "Who?")});
  const OrderedJson got = error(kPath, body({{"messages", messages}}));
  EXPECT_NE(got["message"].get<std::string>().find("Only user and assistant roles are supported"),
            std::string::npos);
}

TEST_F(ChatTest, images_are_refused_for_what_they_are) {
  const OrderedJson parts =
      OrderedJson::array({{{"type", "image_url"}, {"image_url", {{"url", "http://x/y.png"}}}}});
  const OrderedJson got = error(kPath, body({{"messages", OrderedJson::array({says("user", parts)})}}));
  EXPECT_EQ(got["param"], "messages[0].content[0].type");
  EXPECT_EQ(got["code"], "unsupported_content");
  EXPECT_NE(got["message"].get<std::string>().find("image_url"), std::string::npos);
}

TEST_F(ChatTest, messages_that_make_no_sense_say_where) {
  const auto param = [&](const OrderedJson& messages) {
    return error(kPath, body({{"messages", messages}}))["param"];
  };
  EXPECT_EQ(param(OrderedJson::array()), "messages");
  EXPECT_EQ(param("hello"), "messages");
  EXPECT_EQ(param(OrderedJson::array({5})), "messages[0]");
  EXPECT_EQ(param(OrderedJson::array({{{"content", "x"}}})), "messages[0].role");
  EXPECT_EQ(param(OrderedJson::array({says("king", "x")})), "messages[0].role");
  EXPECT_EQ(param(OrderedJson::array({{{"role", "user"}}})), "messages[0].content");
  EXPECT_EQ(param(OrderedJson::array({says("user", 5)})), "messages[0].content");
  EXPECT_EQ(param(OrderedJson::array(
                {says("user", "x"), {{"role", "user"}, {"content", "x"}, {"tool_call_id", "1"}}})),
            "messages[1].tool_call_id");
  EXPECT_EQ(param(OrderedJson::array({{{"role", "user"}, {"content", "x"}, {"mood", "sad"}}})),
            "messages[0].mood");
  EXPECT_EQ(error(kPath, {{"model", "bard"}})["param"], "messages");
}

OrderedJson tool(const std::string& name) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", {{"type", "object"}}}}}};
}

TEST_F(ChatTest, tool_choices_are_checked_against_the_tools) {
  const OrderedJson tools = OrderedJson::array({tool("find")});
  const auto named = [](const char* name) {
    return OrderedJson{{"type", "function"}, {"function", {{"name", name}}}};
  };
  EXPECT_EQ(error(kPath, body({{"tool_choice", "required"}}))["param"], "tool_choice");
  EXPECT_EQ(error(kPath, body({{"tool_choice", "maybe"}, {"tools", tools}}))["param"], "tool_choice");
  EXPECT_EQ(error(kPath, body({{"tool_choice", named("lose")}, {"tools", tools}}))["param"], "tool_choice");
  EXPECT_EQ(error(kPath, body({{"tools", OrderedJson::array({{{"type", "function"}}})}}))["param"],
            "tools[0].function");
  EXPECT_EQ(error(kPath, body({{"tools", OrderedJson::array({{{"type", "web_search"}}})}}))["param"],
            "tools[0].type");
  const OrderedJson both =
      body({{"tools", tools}, {"tool_choice", "required"}, {"response_format", {{"type", "json_object"}}}});
  EXPECT_EQ(error(kPath, both)["param"], "tool_choice");
  EXPECT_EQ(first(body({{"tools", tools}, {"tool_choice", "none"}}))["message"], first(body())["message"]);
}

TEST(ChatMessages, become_what_templates_read) {
  const OrderedJson messages = parse_ordered_json(R"([
      {"role": "developer", "content": "Be brief."},
      {"role": "assistant", "content": null, "refusal": null, "reasoning_content": "Hm.", "tool_calls": [
          {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": [2]}"}},
          {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
      {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    ])",
                                                  "test")
                                   .value();
  std::optional<ApiError> error;
  ImageParts images;
  const OrderedJson read = read_messages(messages, false, images, Place(error).at("messages"));
  ASSERT_FALSE(error) << error->message;
  EXPECT_EQ(
      to_text(read),
      R"([{"role":"system","content":"Be brief."},{"role":"assistant","content":"","reasoning":"Hm.",)"
      R"("reasoning_content":"Hm.","tool_calls":[{"id":"c1","type":"function","function":{"name":"f",)"
      R"("arguments":{"b":1,"a":[2]}}},{"id":"c2","type":"function","function":{"name":"g","arguments":{}}}]},)"
      R"({"role":"tool","content":"one\ntwo","tool_call_id":"c1"}])");
  EXPECT_EQ(read_messages(messages, true, images, Place(error).at("messages"))[0]["role"], "developer");
}

TEST(ChatMessages, arguments_that_are_no_object_say_where) {
  for (const char* arguments : {"[1]", "{", "5", "nonsense"}) {
    OrderedJson call = {
        {"id", "c"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", arguments}}}};
    const OrderedJson messages =
        OrderedJson::array({{{"role", "assistant"}, {"tool_calls", OrderedJson::array({call})}}});
    std::optional<ApiError> error;
    ImageParts images;
    read_messages(messages, false, images, Place(error).at("messages"));
    ASSERT_TRUE(error) << arguments;
    EXPECT_EQ(error->param, "messages[0].tool_calls[0].function.arguments");
  }
}

}  // namespace
}  // namespace heed
