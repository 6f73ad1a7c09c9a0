// The events of Anthropic's /v1/messages: their order, and that they add up to the object.
#include "api/messages_render.h"

#include <random>
#include <set>

#include "tests/api/streamed.h"

namespace heed {
namespace {

const Usage kUsage = {.prompt_tokens = 30, .cached_tokens = 16, .generated_tokens = 12};

struct Rendered {
  std::vector<NamedEvent> events;
  OrderedJson message;
};

Rendered render(const std::vector<ChatDelta>& deltas) {
  MessagesRenderer renderer("bard", "0f", false);
  std::string stream = begin_message("bard", "0f", kUsage.prompt_tokens);
  for (const ChatDelta& delta : deltas) stream += renderer.push(delta);
  stream += renderer.finish(kUsage);
  return {named_events_of(stream), renderer.message()};
}

TEST(MessagesRender, a_text_comes_in_the_order_of_anthropic) {
  const Rendered r = render({content_delta("Hel"), content_delta("lo"), end_delta(EndReason::kStop)});
  EXPECT_EQ(names_of(r.events),
            (std::vector<std::string>{"message_start", "ping", "content_block_start", "content_block_delta",
                                      "content_block_delta", "content_block_stop", "message_delta",
                                      "message_stop"}));
  EXPECT_EQ(r.events[0].data["message"], (OrderedJson{{"id", "msg_0f"},
                                                      {"type", "message"},
                                                      {"role", "assistant"},
                                                      {"model", "bard"},
                                                      {"content", OrderedJson::array()},
                                                      {"stop_reason", nullptr},
                                                      {"stop_sequence", nullptr},
                                                      {"usage",
                                                       {{"input_tokens", 30},
                                                        {"cache_creation_input_tokens", 0},
                                                        {"cache_read_input_tokens", 0},
                                                        {"output_tokens", 0}}}}));
  EXPECT_EQ(r.events[2].data["content_block"], (OrderedJson{{"type", "text"}, {"text", ""}}));
  EXPECT_EQ(r.events[3].data["delta"], (OrderedJson{{"type", "text_delta"}, {"text", "Hel"}}));
}

TEST(MessagesRender, the_object_of_a_text_is_complete) {
  const Rendered r = render({content_delta("Hello"), end_delta(EndReason::kStop)});
  EXPECT_EQ(r.message, (OrderedJson{{"id", "msg_0f"},
                                    {"type", "message"},
                                    {"role", "assistant"},
                                    {"model", "bard"},
                                    {"content", OrderedJson::array({{{"type", "text"}, {"text", "Hello"}}})},
                                    {"stop_reason", "end_turn"},
                                    {"stop_sequence", nullptr},
                                    {"usage",
                                     {{"input_tokens", 14},
                                      {"cache_creation_input_tokens", 0},
                                      {"cache_read_input_tokens", 16},
                                      {"output_tokens", 12}}}}));
}

TEST(MessagesRender, thinking_text_and_tools_are_blocks_one_after_another) {
  const Rendered r =
      render({reasoning_delta("think"), reasoning_delta("ing"), content_delta("Let me look."),
              call_delta(0, "weather", ""), call_delta(0, "", "{\"city\":"), call_delta(0, "", "\"Rome\"}"),
              call_delta(1, "clock", ""), end_delta(EndReason::kToolCalls)});
  const OrderedJson& content = r.message["content"];
  ASSERT_EQ(content.size(), 4U);
  EXPECT_EQ(content[0]["thinking"], "thinking");
  EXPECT_NE(content[0]["signature"], "") << "clients drop thinking that is not signed";
  EXPECT_EQ(content[1]["text"], "Let me look.");
  EXPECT_EQ(content[2]["name"], "weather");
  EXPECT_EQ(content[2]["input"], (OrderedJson{{"city", "Rome"}}));
  EXPECT_EQ(content[3]["input"], OrderedJson::object());
  EXPECT_NE(content[2]["id"], content[3]["id"]);
  EXPECT_EQ(r.message["stop_reason"], "tool_use");
  EXPECT_EQ(message_from(r.events), r.message);
}

TEST(MessagesRender, why_it_stopped_is_said) {
  const auto stopped = [](EndReason reason, const std::string& stop = "") {
    return render({content_delta("a"), end_delta(reason, stop)}).message;
  };
  EXPECT_EQ(stopped(EndReason::kStop)["stop_reason"], "end_turn");
  EXPECT_EQ(stopped(EndReason::kLength)["stop_reason"], "max_tokens");
  EXPECT_EQ(stopped(EndReason::kStop, "END")["stop_reason"], "stop_sequence");
  EXPECT_EQ(stopped(EndReason::kStop, "END")["stop_sequence"], "END");
  EXPECT_EQ(render({call_delta(0, "f", "{}"), end_delta(EndReason::kStop)}).message["stop_reason"],
            "tool_use");
}

TEST(MessagesRender, an_answer_that_was_cut_off_is_known_as_such) {
  for (const EndReason reason :
       {EndReason::kStop, EndReason::kLength, EndReason::kToolCalls, EndReason::kCancelled}) {
    MessagesRenderer renderer("bard", "0f", false);
    renderer.push(content_delta("a"));
    renderer.push(end_delta(reason));
    renderer.finish(kUsage);
    EXPECT_EQ(renderer.cut_off(), reason == EndReason::kCancelled);
  }
}

TEST(MessagesRender, short_ids_are_those_that_templates_of_mistral_take) {
  MessagesRenderer renderer("bard", "0123456789abcdef0123456789abcdef", true);
  for (int i = 0; i < 50; ++i) renderer.push(call_delta(i, "f", "{}"));
  renderer.push(end_delta(EndReason::kToolCalls));
  renderer.finish(kUsage);
  std::set<std::string> ids;
  const OrderedJson message = renderer.message();
  for (const OrderedJson& call : message["content"]) {
    EXPECT_EQ(call["id"].get<std::string>().size(), 9U);
    ids.insert(call["id"].get<std::string>());
  }
  EXPECT_EQ(ids.size(), 50U);
}

TEST(MessagesRender, an_answer_of_nothing_has_no_blocks) {
  const Rendered r = render({end_delta(EndReason::kStop)});
  EXPECT_EQ(r.message["content"], OrderedJson::array());
  EXPECT_EQ(message_from(r.events), r.message);
}

TEST(MessagesRender, a_call_cut_short_has_no_input) {
  const Rendered r = render({call_delta(0, "f", "{\"city\": \"Ro"), end_delta(EndReason::kLength)});
  EXPECT_EQ(r.message["content"][0]["input"], OrderedJson::object());
  EXPECT_EQ(r.message["stop_reason"], "max_tokens");
  EXPECT_EQ(message_from(r.events), r.message);
}

TEST(MessagesRender, pieces_add_up_to_the_object_for_any_answer) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 500; ++round) {
    std::vector<ChatDelta> deltas;
    int call = 0;
    for (int i = below(10); i > 0; --i) {
      const int kind = below(3);
      if (kind == 0) deltas.push_back(reasoning_delta("r"));
      if (kind == 1) deltas.push_back(content_delta("c"));
      if (kind == 2) {
        deltas.push_back(call_delta(call, "f", below(2) == 0 ? "{\"a\"" : ""));
        if (!deltas.back().message.tool_calls[0].arguments.empty())
          deltas.push_back(call_delta(call, "", ": [1, {\"b\": null}]}"));
        ++call;
      }
    }
    deltas.push_back(
        end_delta(below(2) == 0 ? EndReason::kStop : EndReason::kLength, below(2) == 0 ? "x" : ""));
    const Rendered r = render(deltas);
    ASSERT_EQ(message_from(r.events), r.message) << "seed " << seed << ", round " << round;
  }
}

TEST(MessagesRender, errors_have_the_form_and_types_of_anthropic) {
  EXPECT_EQ(anthropic_error_form({.status = 400, .message = "no \"x\"", .param = "x"}),
            R"({"type":"error","error":{"type":"invalid_request_error","message":"no \"x\""}})");
  const auto type = [](const Error& error) {
    const ApiError api = anthropic_error(api_error(error));
    return std::to_string(api.status) + " " +
           parse_json(anthropic_error_form(api), "it").value()["error"]["type"].get<std::string>();
  };
  EXPECT_EQ(type(invalid("x")), "400 invalid_request_error");
  EXPECT_EQ(type(unsupported("x")), "400 invalid_request_error");
  EXPECT_EQ(type(limit_reached("x")), "400 invalid_request_error");
  EXPECT_EQ(type(not_found("x")), "404 not_found_error");
  EXPECT_EQ(type(busy("x")), "529 overloaded_error");
  EXPECT_EQ(type(stopped("x")), "503 overloaded_error");
  const auto events = named_events_of(messages_error_event(stopped_error()));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].name, "error");
  EXPECT_EQ(events[0].data["error"]["type"], "overloaded_error");
}

}  // namespace
}  // namespace heed
