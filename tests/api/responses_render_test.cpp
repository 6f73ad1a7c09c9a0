// The events of POST /v1/responses: their order, their numbers, and that they add up to the object.
#include "api/responses_render.h"

#include <random>

#include "tests/api/streamed.h"

namespace heed::responses_render_test {
namespace {

constexpr int64_t kNow = 1'700'000'000;
const Usage kUsage = {
    .prompt_tokens = 30, .cached_tokens = 16, .generated_tokens = 12, .reasoning_tokens = 5};

OrderedJson blank() {
  return {{"id", ""},
          {"object", "response"},
          {"status", "in_progress"},
          {"completed_at", nullptr},
          {"error", nullptr},
          {"usage", nullptr},
          {"incomplete_details", nullptr},
          {"output", OrderedJson::array()}};
}

struct Rendered {
  std::vector<NamedEvent> events;
  OrderedJson response;
};

Rendered render(const std::vector<ChatDelta>& deltas, Interruption interruption = Interruption::kNone,
                int logprobs = -1) {
  ResponsesRenderer renderer(blank(), {.stem = "0f", .logprobs = logprobs});
  std::string stream = renderer.begin();
  for (const ChatDelta& delta : deltas) stream += renderer.push(delta);
  stream += renderer.finish(kUsage, interruption, kNow);
  // As it is on the wire: of tokens that are no whole characters, too.
  return {named_events_of(stream), parse_ordered_json(to_text(renderer.response()), "it").value()};
}

TEST(ResponsesRender, a_text_comes_in_the_order_of_openai) {
  const Rendered r = render({content_delta("Hel"), content_delta("lo"), end_delta(EndReason::kStop)});
  EXPECT_EQ(names_of(r.events),
            (std::vector<std::string>{"response.created", "response.in_progress",
                                      "response.output_item.added", "response.content_part.added",
                                      "response.output_text.delta", "response.output_text.delta",
                                      "response.output_text.done", "response.content_part.done",
                                      "response.output_item.done", "response.completed"}));
  for (size_t i = 0; i < r.events.size(); ++i) EXPECT_EQ(r.events[i].data["sequence_number"], i);
  EXPECT_EQ(r.events[0].data["response"]["id"], "resp_0f");
  EXPECT_EQ(r.events[0].data["response"]["status"], "in_progress");
  EXPECT_EQ(r.events[2].data["item"]["content"], OrderedJson::array());
  EXPECT_EQ(r.events[2].data["item"]["status"], "in_progress");
  EXPECT_EQ(r.events[3].data["part"]["text"], "") << "the first delta's text is in the delta only";
  EXPECT_EQ(r.events[6].data["text"], "Hello");
  EXPECT_EQ(r.events.back().data["response"], r.response);
}

TEST(ResponsesRender, the_object_of_a_text_is_complete) {
  const OrderedJson got = render({content_delta("Hello"), end_delta(EndReason::kStop)}).response;
  const OrderedJson part = {{"type", "output_text"},
                            {"annotations", OrderedJson::array()},
                            {"text", "Hello"},
                            {"logprobs", OrderedJson::array()}};
  const OrderedJson item = {{"id", "msg_0f0"},
                            {"type", "message"},
                            {"status", "completed"},
                            {"role", "assistant"},
                            {"content", OrderedJson::array({part})}};
  EXPECT_EQ(got["status"], "completed");
  EXPECT_EQ(got["completed_at"], kNow);
  EXPECT_EQ(got["output"], OrderedJson::array({item})) << got["output"];
  EXPECT_EQ(got["usage"],
            (OrderedJson{{"input_tokens", 30},
                         {"input_tokens_details", {{"cached_tokens", 16}, {"cache_write_tokens", 0}}},
                         {"output_tokens", 12},
                         {"output_tokens_details", {{"reasoning_tokens", 5}}},
                         {"total_tokens", 42}}));
}

TEST(ResponsesRender, reasoning_text_and_calls_are_items_one_after_another) {
  const Rendered r =
      render({reasoning_delta("think"), reasoning_delta("ing"), content_delta("Let me look."),
              call_delta(0, "weather", ""), call_delta(0, "", "{\"city\":"), call_delta(0, "", "\"Rome\"}"),
              call_delta(1, "clock", "{}"), end_delta(EndReason::kToolCalls)});
  const OrderedJson& output = r.response["output"];
  ASSERT_EQ(output.size(), 4U);
  EXPECT_EQ(output[0]["type"], "reasoning");
  EXPECT_EQ(output[0]["summary"], OrderedJson::array());
  EXPECT_EQ(output[0]["content"][0], (OrderedJson{{"type", "reasoning_text"}, {"text", "thinking"}}));
  EXPECT_EQ(output[1]["content"][0]["text"], "Let me look.");
  EXPECT_EQ(output[2]["type"], "function_call");
  EXPECT_EQ(output[2]["name"], "weather");
  EXPECT_EQ(output[2]["arguments"], "{\"city\":\"Rome\"}");
  EXPECT_EQ(output[3]["name"], "clock");
  EXPECT_NE(output[2]["call_id"], output[3]["call_id"]);
  EXPECT_NE(output[2]["id"], output[2]["call_id"]);
  EXPECT_EQ(output_from(r.events), output);
  const std::vector<std::string> names = names_of(r.events);
  EXPECT_EQ(std::count(names.begin(), names.end(), "response.reasoning_text.delta"), 2);
  EXPECT_EQ(std::count(names.begin(), names.end(), "response.reasoning_text.done"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "response.function_call_arguments.done"), 2);
}

TEST(ResponsesRender, an_answer_cut_by_its_length_is_incomplete) {
  const Rendered r = render({reasoning_delta("so"), content_delta("Hel"), end_delta(EndReason::kLength)});
  EXPECT_EQ(r.events.back().name, "response.incomplete");
  EXPECT_EQ(r.response["status"], "incomplete");
  EXPECT_EQ(r.response["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(r.response["output"][0]["status"], "completed");
  EXPECT_EQ(r.response["output"][1]["status"], "incomplete");
  EXPECT_EQ(r.response["completed_at"], nullptr);
}

TEST(ResponsesRender, who_cut_an_answer_off_is_said) {
  const std::vector<ChatDelta> deltas = {content_delta("Hel"), end_delta(EndReason::kCancelled)};
  const Rendered by_server = render(deltas, Interruption::kServer);
  EXPECT_EQ(by_server.events.back().name, "response.failed");
  EXPECT_EQ(by_server.response["error"]["code"], "server_error");
  const Rendered by_client = render(deltas, Interruption::kCancelled);
  EXPECT_EQ(by_client.events.back().name, "response.incomplete");
  EXPECT_EQ(by_client.response["status"], "cancelled");
  EXPECT_EQ(by_client.response["error"], nullptr);
}

TEST(ResponsesRender, an_answer_of_nothing_is_an_empty_text) {
  const Rendered r = render({end_delta(EndReason::kStop)});
  ASSERT_EQ(r.response["output"].size(), 1U);
  EXPECT_EQ(r.response["output"][0]["content"][0]["text"], "");
  EXPECT_EQ(output_from(r.events), r.response["output"]);
  EXPECT_TRUE(render({end_delta(EndReason::kLength)}).response["output"].empty());
}

ChatDelta with_logprob(ChatDelta delta, const std::string& token, float logprob) {
  delta.answer.logprobs.push_back({.id = 1,
                                   .bytes = token,
                                   .logprob = logprob,
                                   .rank = 1,
                                   .top = {{.id = 2, .bytes = "\xc3", .logprob = -2}}});
  return delta;
}

TEST(ResponsesRender, logprobs_are_those_of_the_text) {
  const Rendered r = render({with_logprob(reasoning_delta("hm"), "hm", -1), with_logprob({}, "\xc3", -3),
                             with_logprob(content_delta("é"), "\xa9", -0.5F), end_delta(EndReason::kStop)},
                            Interruption::kNone, 1);
  const OrderedJson& logprobs = r.response["output"][1]["content"][0]["logprobs"];
  ASSERT_EQ(logprobs.size(), 2U) << "that of a token whose text came later too, that of reasoning not";
  EXPECT_EQ(logprobs[0]["bytes"], OrderedJson::array({0xc3}));
  EXPECT_EQ(logprobs[1]["logprob"], -0.5);
  EXPECT_EQ(logprobs[1]["top_logprobs"][0]["logprob"], -2);
  EXPECT_EQ(output_from(r.events), r.response["output"]);
}

TEST(ResponsesRender, one_without_events_has_the_same_object) {
  const std::vector<ChatDelta> deltas = {reasoning_delta("a"), content_delta("b"), call_delta(0, "f", "{}"),
                                         end_delta(EndReason::kToolCalls)};
  ResponsesRenderer silent(blank(), {.stem = "0f", .events = false});
  std::string stream = silent.begin();
  for (const ChatDelta& delta : deltas) stream += silent.push(delta);
  stream += silent.finish(kUsage, Interruption::kNone, kNow);
  EXPECT_EQ(stream, "");
  EXPECT_EQ(silent.response(), render(deltas).response);
}

// One answer, cut in any way and in any order of parts.
std::vector<ChatDelta> random_deltas(std::mt19937& random) {
  std::vector<ChatDelta> deltas;
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int call = -1;
  for (int i = below(12); i > 0; --i) {
    ChatDelta delta;
    if (below(3) == 0) delta.message.reasoning = std::string(static_cast<size_t>(below(3)), 'r');
    if (below(2) == 0) delta.message.content = std::string(static_cast<size_t>(below(3)), 'c');
    for (int calls = below(3); calls > 0; --calls)
      delta.message.tool_calls.push_back(
          {++call, "f" + std::to_string(call), below(2) == 0 ? "{\"a\":" : ""});
    if (call >= 0 && below(2) == 0) delta.message.tool_calls.push_back({call, "", "1}"});
    deltas.push_back(std::move(delta));
  }
  const EndReason ends[] = {EndReason::kStop, EndReason::kLength, EndReason::kToolCalls,
                            EndReason::kCancelled};
  deltas.push_back(end_delta(ends[below(4)]));
  return deltas;
}

TEST(ResponsesRender, pieces_add_up_to_the_object_for_any_answer) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 500; ++round) {
    const Rendered r = render(random_deltas(random), Interruption::kServer);
    ASSERT_EQ(output_from(r.events), r.response["output"]) << "seed " << seed << ", round " << round;
    ASSERT_EQ(r.events.back().data["response"], r.response);
    for (size_t i = 0; i < r.events.size(); ++i) ASSERT_EQ(r.events[i].data["sequence_number"], i);
  }
}

}  // namespace
}  // namespace heed::responses_render_test
