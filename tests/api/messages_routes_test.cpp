// Anthropic's routes on the bundled model.
#include "api/messages_routes.h"

#include "tests/api/live.h"
#include "tests/api/streamed.h"

namespace heed {
namespace {

const OrderedJson kTurn = OrderedJson::array({{{"role", "user"}, {"content", "Who is there?"}}});

class MessagesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    service_ = serve_bard();
    api_ = std::make_unique<Api>();
    add_messages_routes(*api_, *service_);
    api_->set_state(Api::State::kReady);
  }
  static void TearDownTestSuite() {
    service_.reset();
    api_.reset();
  }

  // Greedy, of at most so many tokens.
  static OrderedJson body(int max_tokens, const OrderedJson& more = OrderedJson::object()) {
    OrderedJson body = {
        {"model", "bard"}, {"max_tokens", max_tokens}, {"temperature", 0}, {"messages", kTurn}};
    body.update(more);
    return body;
  }
  static std::shared_ptr<Recorder> send(const OrderedJson& body, const std::string& below = "") {
    return post(*api_, "/v1/messages" + below, body);
  }
  static OrderedJson message(const OrderedJson& body) {
    const auto recorder = send(body);
    EXPECT_EQ(recorder->status, 200) << recorder->body();
    return recorder->json();
  }
  // The type of the error, which must be in Anthropic's form and of this status.
  static std::string error(const Recorder& recorder, int status) {
    EXPECT_EQ(recorder.status, status) << recorder.body();
    const OrderedJson error = recorder.json();
    EXPECT_EQ(error["type"], "error");
    EXPECT_NE(error["error"]["message"], "");
    return error["error"]["type"].get<std::string>();
  }

  static inline std::unique_ptr<Service> service_;
  static inline std::unique_ptr<Api> api_;
};

TEST_F(MessagesTest, a_message_is_answered) {
  const OrderedJson got = message(body(24));
  EXPECT_EQ(got["model"], "bard");
  EXPECT_EQ(got["stop_reason"], "end_turn");
  ASSERT_EQ(got["content"].size(), 1U);
  const auto text = got["content"][0]["text"].get<std::string>();
  EXPECT_GT(text.size(), 10U);
  EXPECT_TRUE(got["id"].get<std::string>().starts_with("msg_"));
  const OrderedJson cut = message(body(4));
  EXPECT_EQ(cut["stop_reason"], "max_tokens");
  EXPECT_EQ(cut["usage"]["output_tokens"], 4);
  EXPECT_TRUE(text.starts_with(cut["content"][0]["text"].get<std::string>()));
}

TEST_F(MessagesTest, a_stream_adds_up_to_the_message) {
  OrderedJson whole = message(body(24));
  const auto recorder = send(body(24, {{"stream", true}}));
  EXPECT_EQ(recorder->status, 200);
  EXPECT_EQ(recorder->content_type, "text/event-stream; charset=utf-8");
  const std::vector<NamedEvent> events = named_events_of(recorder->body());
  EXPECT_GT(events.size(), 10U);
  EXPECT_EQ(events[0].name, "message_start");
  OrderedJson streamed = message_from(events);
  EXPECT_EQ(streamed["content"], whole["content"]);
  EXPECT_EQ(streamed["stop_reason"], whole["stop_reason"]);
  const auto input = [](const OrderedJson& usage) {
    return usage["input_tokens"].get<int>() + usage["cache_read_input_tokens"].get<int>();
  };
  EXPECT_EQ(input(streamed["usage"]), input(whole["usage"]));
  EXPECT_EQ(input(events[0].data["message"]["usage"]), input(whole["usage"]));
}

TEST_F(MessagesTest, a_stop_sequence_is_named) {
  const auto text = message(body(24))["content"][0]["text"].get<std::string>();
  const std::string stop = text.substr(text.size() / 2, 4);
  const OrderedJson got = message(body(24, {{"stop_sequences", {"never there", stop}}}));
  EXPECT_EQ(got["stop_reason"], "stop_sequence");
  EXPECT_EQ(got["stop_sequence"], stop);
  EXPECT_EQ(got["content"][0]["text"], text.substr(0, text.find(stop)));
}

TEST_F(MessagesTest, an_answer_goes_on_from_a_last_message_of_the_assistant) {
  const auto text = message(body(24))["content"][0]["text"].get<std::string>();
  const size_t cut = text.find(' ', text.size() / 2);
  ASSERT_NE(cut, std::string::npos);
  OrderedJson turns = kTurn;
  turns.push_back({{"role", "assistant"}, {"content", text.substr(0, cut)}});
  const OrderedJson got = message(body(8, {{"messages", turns}}));
  EXPECT_TRUE(text.substr(cut).starts_with(got["content"][0]["text"].get<std::string>().substr(0, 8)))
      << got << text.substr(cut);
}

TEST_F(MessagesTest, tokens_are_counted_as_the_model_sees_them) {
  const auto count = [](const OrderedJson& messages) {
    const auto recorder = send({{"model", "bard"}, {"messages", messages}}, "/count_tokens");
    EXPECT_EQ(recorder->status, 200) << recorder->body();
    return recorder->json()["input_tokens"].get<int>();
  };
  const OrderedJson usage = message(body(1))["usage"];
  EXPECT_EQ(count(kTurn), usage["input_tokens"].get<int>() + usage["cache_read_input_tokens"].get<int>());
  OrderedJson longer = kTurn;
  longer[0]["content"] = "Who is there, and who is not?";
  EXPECT_GT(count(longer), count(kTurn));
}

TEST_F(MessagesTest, a_repeated_prompt_is_read_from_the_cache) {
  std::string line = "Speak the speech, I pray you, as I pronounced it to you. ";
  for (int i = 0; i < 4; ++i) line += line;
  const OrderedJson turn = {{"messages", OrderedJson::array({{{"role", "user"}, {"content", line}}})}};
  message(body(1, turn));
  const OrderedJson again = message(body(1, turn));
  EXPECT_GT(again["usage"]["cache_read_input_tokens"], 100);
  OrderedJson salted = turn;
  salted["cache_salt"] = "another's";
  EXPECT_EQ(message(body(1, salted))["usage"]["cache_read_input_tokens"], 0);
}

TEST_F(MessagesTest, a_schema_shapes_the_answer) {
  const OrderedJson schema = {{"type", "object"},
                              {"properties", {{"who", {{"enum", OrderedJson::array({"me", "you"})}}}}},
                              {"required", OrderedJson::array({"who"})},
                              {"additionalProperties", false}};
  const OrderedJson got =
      message(body(200, {{"output_config", {{"format", {{"type", "json_schema"}, {"schema", schema}}}}}}));
  EXPECT_EQ(got["stop_reason"], "end_turn");
  const OrderedJson answer = parse_ordered_json(got["content"][0]["text"].get<std::string>(), "it").value();
  EXPECT_TRUE(answer["who"] == "me" || answer["who"] == "you") << answer;
}

TEST_F(MessagesTest, a_tool_that_must_be_called_is_called) {
  const auto service = serve_bard_with_tools();
  Api api;
  add_messages_routes(api, *service);
  api.set_state(Api::State::kReady);
  const OrderedJson schema = {{"type", "object"},
                              {"properties", {{"who", {{"enum", OrderedJson::array({"me", "you"})}}}}},
                              {"required", OrderedJson::array({"who"})},
                              {"additionalProperties", false}};
  OrderedJson asked =
      body(200, {{"tools", OrderedJson::array({{{"name", "call"}, {"input_schema", schema}}})},
                 {"tool_choice", {{"type", "tool"}, {"name", "call"}}}});
  const OrderedJson whole = post(api, "/v1/messages", asked)->json();
  EXPECT_EQ(whole["stop_reason"], "tool_use") << whole;
  ASSERT_EQ(whole["content"].size(), 1U) << whole;
  const OrderedJson& call = whole["content"][0];
  EXPECT_EQ(call["type"], "tool_use");
  EXPECT_EQ(call["name"], "call");
  EXPECT_TRUE(call["input"]["who"] == "me" || call["input"]["who"] == "you") << call;
  asked["stream"] = true;
  const OrderedJson streamed = message_from(named_events_of(post(api, "/v1/messages", asked)->body()));
  EXPECT_EQ(streamed["content"][0]["input"], call["input"]);
  EXPECT_EQ(streamed["stop_reason"], "tool_use");
}

TEST_F(MessagesTest, errors_have_the_form_of_anthropic) {
  EXPECT_EQ(error(*send({{"model", "bard"}}), 400), "invalid_request_error");
  EXPECT_EQ(error(*send(body(1, {{"model", "another"}})), 404), "not_found_error");
  EXPECT_EQ(error(*send(body(1'000'000)), 400), "invalid_request_error");
  EXPECT_EQ(error(*send(body(1, {{"system", "bard has none"}})), 400), "invalid_request_error");
  EXPECT_EQ(error(*send(body(1), "/batches"), 404), "not_found_error");
  EXPECT_EQ(error(*ask(*api_, request_of("GET", "/v1/messages")), 405), "invalid_request_error");
  EXPECT_EQ(error(*ask(*api_, request_of("GET", "/v1/messages/batches/x")), 404), "not_found_error");
  EXPECT_EQ(error(*ask(*api_, request_of("POST", "/v1/messages", "{")), 400), "invalid_request_error");
  EXPECT_EQ(error(*send({{"model", "bard"}}, "/count_tokens"), 400), "invalid_request_error");
}

TEST_F(MessagesTest, a_client_that_goes_frees_what_it_held) {
  for (const bool stream : {false, true}) {
    auto recorder = std::make_shared<Recorder>();
    const auto exchange =
        api_->handle(request_of("POST", "/v1/messages", to_text(body(1500, {{"stream", stream}}))), recorder);
    ASSERT_NE(exchange, nullptr);
    exchange->cancel();
    recorder->wait();
    EXPECT_TRUE(service_->wait_idle(30));
  }
}

}  // namespace
}  // namespace heed
