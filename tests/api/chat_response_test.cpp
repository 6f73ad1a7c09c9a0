// Chat answers rendered from hand-made deltas.
#include "api/chat_response.h"

#include <gtest/gtest.h>

#include "tests/api/recording.h"

namespace heed {
namespace {

ChatForm form(int n = 1) {
  return {.head = {.id = "chatcmpl-1", .object = "chat.completion", .model = "m", .created = 7}, .n = n};
}

ChatDelta content(const std::string& text, int choice = 0) {
  return {.message = {.content = text}, .answer = {.choice = choice, .text = text, .ids = {1}}};
}
ChatDelta ending(EndReason reason, int choice = 0) { return {.answer = {.choice = choice, .end = reason}}; }
ChatDelta call(int index, const std::string& name, const std::string& arguments) {
  return {.message = {.tool_calls = {{.index = index, .name = name, .arguments = arguments}}}};
}

TEST(ChatWhole, has_the_shape_of_openai) {
  ChatWhole whole(form());
  whole.push(content("Ay, "));
  whole.push(content("sir."));
  whole.push(ending(EndReason::kStop));
  EXPECT_EQ(to_text(whole.body(
                {.prompt_tokens = 3, .cached_tokens = 2, .generated_tokens = 5, .reasoning_tokens = 1})),
            R"({"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,)"
            R"("message":{"role":"assistant","content":"Ay, sir.","refusal":null},"logprobs":null,)"
            R"("finish_reason":"stop","stop_reason":null}],"usage":{"prompt_tokens":3,"total_tokens":8,)"
            R"("completion_tokens":5,"prompt_tokens_details":{"cached_tokens":2},)"
            R"("completion_tokens_details":{"reasoning_tokens":1}}})");
}

TEST(ChatWhole, predictions_are_told_where_they_are_asked_for) {
  ChatForm with = form();
  with.predictions = true;
  ChatWhole whole(std::move(with));
  whole.push(ending(EndReason::kStop));
  EXPECT_EQ(
      to_text(whole.body({.draft_tokens = 9, .accepted_tokens = 4})["usage"]["completion_tokens_details"]),
      R"({"reasoning_tokens":0,"accepted_prediction_tokens":4,"rejected_prediction_tokens":5})");
}

TEST(ChatWhole, tool_calls_have_ids_and_leave_no_content) {
  ChatWhole whole(form());
  whole.push(call(0, "find", ""));
  whole.push(call(0, "", "{\"a\":"));
  whole.push(call(0, "", "1}"));
  whole.push(call(1, "go", "{}"));
  whole.push(ending(EndReason::kToolCalls));
  const OrderedJson choice = whole.body({})["choices"][0];
  const OrderedJson& message = choice["message"];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(message["content"], nullptr);
  ASSERT_EQ(message["tool_calls"].size(), 2U);
  EXPECT_EQ(message["tool_calls"][0]["function"],
            (OrderedJson{{"name", "find"}, {"arguments", "{\"a\":1}"}}));
  EXPECT_EQ(message["tool_calls"][1]["function"]["name"], "go");
  EXPECT_EQ(message["tool_calls"][0]["type"], "function");
  EXPECT_TRUE(message["tool_calls"][0]["id"].get<std::string>().starts_with("call_"));
  EXPECT_NE(message["tool_calls"][0]["id"], message["tool_calls"][1]["id"]);
}

TEST(ChatWhole, reasoning_is_told_apart_and_left_out_if_so_asked) {
  for (const bool include : {true, false}) {
    ChatForm with = form();
    with.include_reasoning = include;
    ChatWhole whole(with);
    whole.push({.message = {.reasoning = "Hm."}});
    whole.push(content("Ay."));
    whole.push(ending(EndReason::kStop));
    const OrderedJson message = whole.body({})["choices"][0]["message"];
    EXPECT_EQ(message["content"], "Ay.");
    EXPECT_EQ(message.contains("reasoning_content"), include);
    if (include) {
      EXPECT_EQ(message["reasoning_content"], "Hm.");
      EXPECT_EQ(message["reasoning"], "Hm.");
    }
  }
}

TEST(ChatWhole, logprobs_tell_bytes_and_the_top) {
  ChatForm with = form();
  with.logprobs = true;
  with.top_logprobs = 1;
  ChatWhole whole(with);
  ChatDelta delta = content("é");
  const TokenLogprob other{.id = 2, .bytes = "e", .logprob = -0.5F, .rank = 1};
  const TokenLogprob third{.id = 3, .bytes = "f", .logprob = -2, .rank = 2};
  delta.answer.logprobs = {{.id = 1, .bytes = "é", .logprob = -4, .rank = 3, .top = {other, third}}};
  whole.push(delta);
  whole.push(ending(EndReason::kLength));
  EXPECT_EQ(to_text(whole.body({})["choices"][0]["logprobs"]),
            R"({"content":[{"token":"é","logprob":-4.0,"bytes":[195,169],"top_logprobs":)"
            R"([{"token":"e","logprob":-0.5,"bytes":[101]}]}],"refusal":null})");
}

TEST(ChatStream, begins_with_the_role_and_ends_with_the_reason) {
  ChatForm with = form(2);
  with.include_usage = true;
  ChatStream stream(with);
  std::string bytes = stream.push(content("a", 0));
  bytes += stream.push(content("b", 1));
  bytes += stream.push(content("c", 0));
  bytes += stream.push(ending(EndReason::kStop, 0));
  bytes += stream.push(ending(EndReason::kLength, 1));
  bytes += stream.end({.prompt_tokens = 2, .generated_tokens = 3});
  const auto events = events_of(bytes);
  std::map<int, std::vector<std::string>> told;
  for (const OrderedJson& event : events) {
    EXPECT_EQ(event["object"], "chat.completion");
    for (const OrderedJson& choice : event["choices"]) {
      const OrderedJson& delta = choice["delta"];
      told[choice["index"].get<int>()].push_back(to_text(delta) + to_text(choice["finish_reason"]));
    }
  }
  const std::string role = R"({"role":"assistant","content":""}null)";
  EXPECT_EQ(told[0], (std::vector<std::string>{role, R"({"content":"a"}null)", R"({"content":"c"}null)",
                                               R"({}"stop")"}));
  EXPECT_EQ(told[1], (std::vector<std::string>{role, R"({"content":"b"}null)", R"({}"length")"}));
  EXPECT_EQ(events.front()["usage"], nullptr);
  EXPECT_EQ(events.back()["choices"].size(), 0U);
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], 3);
}

TEST(ChatStream, tool_calls_come_name_first_and_arguments_in_pieces) {
  ChatStream stream(form());
  std::string bytes = stream.push(call(0, "find", ""));
  bytes += stream.push(call(0, "", "{\"a\":"));
  bytes += stream.push(call(0, "", "1}"));
  bytes += stream.push(call(1, "go", "{}"));
  bytes += stream.push(ending(EndReason::kToolCalls));
  bytes += stream.end({});
  const auto events = events_of(bytes);
  const auto delta = [&](size_t i) { return events[i]["choices"][0]["delta"]["tool_calls"][0]; };
  EXPECT_EQ(delta(1)["function"], (OrderedJson{{"name", "find"}, {"arguments", ""}}));
  EXPECT_EQ(delta(1)["type"], "function");
  EXPECT_TRUE(delta(1)["id"].get<std::string>().starts_with("call_"));
  EXPECT_EQ(to_text(delta(2)), R"({"index":0,"function":{"arguments":"{\"a\":"}})");
  EXPECT_EQ(to_text(delta(3)), R"({"index":0,"function":{"arguments":"1}"}})");
  EXPECT_EQ(delta(4)["index"], 1);
  EXPECT_EQ(delta(4)["function"]["name"], "go");
  EXPECT_EQ(events[5]["choices"][0]["finish_reason"], "tool_calls");
}

TEST(ChatStream, logprobs_of_tokens_without_text_are_told_all_the_same) {
  ChatForm with = form();
  with.logprobs = true;
  ChatStream stream(with);
  ChatDelta held;
  held.answer.ids = {1};
  held.answer.logprobs = {{.id = 1, .bytes = "x", .logprob = -1}};
  std::string bytes = stream.push(held);
  held.answer.end = EndReason::kStop;
  bytes += stream.push(held);
  bytes += stream.end({});
  int told = 0;
  for (const OrderedJson& event : events_of(bytes)) {
    const OrderedJson& logprobs = event["choices"][0]["logprobs"];
    if (logprobs.is_object()) told += static_cast<int>(logprobs["content"].size());
  }
  EXPECT_EQ(told, 2);
}

TEST(ChatStream, an_answer_that_the_server_stopped_ends_in_an_error_event) {
  ChatStream stream(form());
  std::string bytes = stream.push(content("a"));
  bytes += stream.push(ending(EndReason::kCancelled));
  bytes += stream.end({});
  EXPECT_EQ(events_of(bytes).back()["error"]["type"], "server_error");
}

TEST(CallIds, are_nine_plain_characters_where_templates_want_that) {
  EXPECT_EQ(new_call_id(true).size(), 9U);
  EXPECT_TRUE(new_call_id(false).starts_with("call_"));
  EXPECT_NE(new_call_id(true), new_call_id(true));
}

}  // namespace
}  // namespace heed
