// OpenAI's Responses API on the bundled model.
#include "api/responses_routes.h"

#include "tests/api/live.h"
#include "tests/api/streamed.h"

namespace heed {
namespace {

class ResponsesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    service_ = serve_bard();
    api_ = std::make_unique<Api>();
    add_responses_routes(*api_, *service_);
    api_->set_state(Api::State::kReady);
  }
  static void TearDownTestSuite() {
    service_.reset();
    api_.reset();
  }

  // Greedy, of so many tokens.
  static OrderedJson body(int max_tokens, const OrderedJson& more = OrderedJson::object()) {
    OrderedJson body = {{"model", "bard"},
                        {"max_output_tokens", max_tokens},
                        {"temperature", 0},
                        {"ignore_eos", true},
                        {"input", "Who is there?"}};
    body.update(more);
    return body;
  }
  static std::shared_ptr<Recorder> send(const OrderedJson& body) {
    return post(*api_, "/v1/responses", body);
  }
  static std::shared_ptr<Recorder> call(const std::string& method, const std::string& path) {
    return ask(*api_, request_of(method, "/v1/responses/" + path));
  }
  static OrderedJson response(const OrderedJson& body) {
    const auto recorder = send(body);
    EXPECT_EQ(recorder->status, 200) << recorder->body();
    return recorder->json();
  }
  static std::string text_of(const OrderedJson& response) {
    return response["output"][0]["content"][0]["text"].get<std::string>();
  }
  static std::string id_of(const OrderedJson& response) { return response["id"].get<std::string>(); }
  // The error object, of an answer of this status.
  static OrderedJson error(const Recorder& recorder, int status) {
    EXPECT_EQ(recorder.status, status) << recorder.body();
    return recorder.json()["error"];
  }

  static inline std::unique_ptr<Service> service_;
  static inline std::unique_ptr<Api> api_;
};

TEST_F(ResponsesTest, an_input_is_answered) {
  const OrderedJson got = response(body(24));
  EXPECT_EQ(got["object"], "response");
  EXPECT_EQ(got["status"], "incomplete");
  EXPECT_EQ(got["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(got["usage"]["output_tokens"], 24);
  EXPECT_EQ(got["usage"]["total_tokens"], got["usage"]["input_tokens"].get<int>() + 24);
  EXPECT_GT(text_of(got).size(), 20U);
  EXPECT_GT(got["created_at"], 1'700'000'000);
  EXPECT_EQ(got["temperature"], 0);
}

TEST_F(ResponsesTest, a_stream_adds_up_to_the_response) {
  const auto recorder = send(body(24, {{"stream", true}}));
  EXPECT_EQ(recorder->content_type, "text/event-stream; charset=utf-8");
  const std::vector<NamedEvent> events = named_events_of(recorder->body());
  EXPECT_GT(events.size(), 15U);
  EXPECT_EQ(events.front().name, "response.created");
  EXPECT_EQ(events.back().name, "response.incomplete");
  const OrderedJson& last = events.back().data["response"];
  EXPECT_EQ(output_from(events), last["output"]);
  EXPECT_EQ(text_of(last), text_of(response(body(24))));
  EXPECT_EQ(call("GET", id_of(last))->json(), last) << "and to what is stored";
}

TEST_F(ResponsesTest, a_stored_response_is_found_and_deleted) {
  const OrderedJson got = response(body(4));
  const std::string id = id_of(got);
  EXPECT_EQ(call("GET", id)->json(), got);
  EXPECT_EQ(error(*call("POST", id + "/cancel"), 400)["type"], "invalid_request_error");
  const OrderedJson deleted = call("DELETE", id)->json();
  EXPECT_EQ(deleted, (OrderedJson{{"id", id}, {"object", "response"}, {"deleted", true}}));
  EXPECT_EQ(error(*call("GET", id), 404)["type"], "invalid_request_error");
  EXPECT_EQ(error(*call("DELETE", id), 404)["type"], "invalid_request_error");
  EXPECT_EQ(error(*call("POST", id + "/cancel"), 404)["type"], "invalid_request_error");
}

TEST_F(ResponsesTest, one_that_is_not_to_be_stored_is_not_found) {
  EXPECT_EQ(call("GET", id_of(response(body(4, {{"store", false}}))))->status, 404);
}

TEST_F(ResponsesTest, a_response_is_gone_on_from) {
  const OrderedJson first = response(body(8));
  const OrderedJson second =
      response(body(8, {{"previous_response_id", id_of(first)}, {"input", "And where?"}}));
  EXPECT_EQ(second["previous_response_id"], first["id"]);
  OrderedJson items = OrderedJson::array({{{"role", "user"}, {"content", "Who is there?"}}});
  items.push_back(first["output"][0]);
  items.push_back({{"role", "user"}, {"content", "And where?"}});
  const OrderedJson by_hand = response(body(8, {{"input", items}}));
  EXPECT_EQ(text_of(second), text_of(by_hand));
  EXPECT_EQ(second["usage"]["input_tokens"], by_hand["usage"]["input_tokens"]);
  EXPECT_EQ(response(body(1, {{"previous_response_id", id_of(second)}}))["usage"]["input_tokens"].get<int>() >
                second["usage"]["input_tokens"].get<int>(),
            true)
      << "a third goes on from both";
  EXPECT_EQ(error(*send(body(8, {{"previous_response_id", "resp_none"}})), 400)["code"],
            "previous_response_not_found");
}

TEST_F(ResponsesTest, a_conversation_that_is_too_long_is_truncated_if_asked) {
  OrderedJson items = OrderedJson::array();
  for (int i = 0; i < 400; ++i) {
    items.push_back({{"role", "user"}, {"content", "Speak, I charge thee, speak!"}});
    items.push_back({{"role", "assistant"}, {"content", "It would be spoke to."}});
  }
  items.push_back({{"role", "user"}, {"content", "Who is there?"}});
  EXPECT_EQ(error(*send(body(8, {{"input", items}})), 400)["code"], "context_length_exceeded");
  const OrderedJson got = response(body(8, {{"input", items}, {"truncation", "auto"}}));
  EXPECT_EQ(got["truncation"], "auto");
  EXPECT_LE(got["usage"]["input_tokens"].get<int>(), service_->max_model_len() - 8);
  EXPECT_GT(got["usage"]["input_tokens"].get<int>(), service_->max_model_len() / 2) << "no more than needed";
}

TEST_F(ResponsesTest, logprobs_are_those_of_the_tokens) {
  const OrderedJson got = response(
      body(8, {{"top_logprobs", 2}, {"include", OrderedJson::array({"message.output_text.logprobs"})}}));
  const OrderedJson& logprobs = got["output"][0]["content"][0]["logprobs"];
  ASSERT_EQ(logprobs.size(), 8U);
  std::string text;
  for (const OrderedJson& token : logprobs) {
    for (const OrderedJson& byte : token["bytes"]) text += static_cast<char>(byte.get<int>());
    EXPECT_EQ(token["top_logprobs"].size(), 2U);
    EXPECT_EQ(token["top_logprobs"][0]["logprob"], token["logprob"]) << "greedy";
  }
  EXPECT_NE(text.find(text_of(got)), std::string::npos) << text;
}

TEST_F(ResponsesTest, a_schema_shapes_the_answer) {
  const OrderedJson schema = {{"type", "object"},
                              {"properties", {{"who", {{"enum", OrderedJson::array({"me", "you"})}}}}},
                              {"required", OrderedJson::array({"who"})},
                              {"additionalProperties", false}};
  const OrderedJson format = {{"type", "json_schema"}, {"name", "who"}, {"schema", schema}, {"strict", true}};
  const OrderedJson got = response(body(200, {{"text", {{"format", format}}}, {"ignore_eos", false}}));
  EXPECT_EQ(got["status"], "completed");
  const OrderedJson answer = parse_ordered_json(text_of(got), "it").value();
  EXPECT_TRUE(answer["who"] == "me" || answer["who"] == "you") << answer;
}

TEST_F(ResponsesTest, a_tool_that_must_be_called_is_called) {
  const auto service = serve_bard_with_tools();
  Api api;
  add_responses_routes(api, *service);
  api.set_state(Api::State::kReady);
  const OrderedJson schema = {{"type", "object"},
                              {"properties", {{"who", {{"enum", OrderedJson::array({"me", "you"})}}}}},
                              {"required", OrderedJson::array({"who"})},
                              {"additionalProperties", false}};
  const OrderedJson tool = {{"type", "function"}, {"name", "call"}, {"parameters", schema}, {"strict", true}};
  OrderedJson asked = body(200, {{"ignore_eos", false},
                                 {"tools", OrderedJson::array({tool})},
                                 {"tool_choice", "required"},
                                 {"parallel_tool_calls", false}});
  const OrderedJson whole = post(api, "/v1/responses", asked)->json();
  EXPECT_EQ(whole["status"], "completed") << whole;
  ASSERT_EQ(whole["output"].size(), 1U) << whole;
  const OrderedJson& call = whole["output"][0];
  EXPECT_EQ(call["type"], "function_call");
  EXPECT_EQ(call["name"], "call");
  const OrderedJson arguments = parse_ordered_json(call["arguments"].get<std::string>(), "it").value();
  EXPECT_TRUE(arguments["who"] == "me" || arguments["who"] == "you") << call;
  asked["stream"] = true;
  const std::vector<NamedEvent> events = named_events_of(post(api, "/v1/responses", asked)->body());
  EXPECT_EQ(output_from(events)[0]["arguments"], call["arguments"]);
  EXPECT_EQ(output_from(events), events.back().data["response"]["output"]);
}

// Also tells what came first, while more is coming.
class FirstRecorder : public Recorder {
 public:
  bool write(std::string bytes) override {
    {
      const std::lock_guard lock(mutex_);
      if (first_.empty()) first_ = bytes;
    }
    return Recorder::write(std::move(bytes));
  }
  std::string first() {
    const std::lock_guard lock(mutex_);
    return first_;
  }

 private:
  std::mutex mutex_;
  std::string first_;
};

TEST_F(ResponsesTest, a_running_response_is_cancelled_by_its_id) {
  auto recorder = std::make_shared<FirstRecorder>();
  const auto exchange =
      api_->handle(request_of("POST", "/v1/responses", to_text(body(1500, {{"stream", true}}))), recorder);
  ASSERT_NE(exchange, nullptr);
  const OrderedJson created = named_events_of(recorder->first())[0].data["response"];
  EXPECT_EQ(call("GET", id_of(created))->json()["status"], "in_progress");
  const OrderedJson cancelled = call("POST", id_of(created) + "/cancel")->json();
  EXPECT_EQ(cancelled["status"], "cancelled");
  recorder->wait();
  const std::vector<NamedEvent> events = named_events_of(recorder->body());
  EXPECT_EQ(events.back().data["response"]["status"], "cancelled");
  EXPECT_EQ(call("GET", id_of(created))->json()["status"], "cancelled");
  EXPECT_EQ(call("POST", id_of(created) + "/cancel")->status, 200) << "once more is no error";
  EXPECT_EQ(error(*send(body(1, {{"previous_response_id", created["id"]}})), 400)["param"],
            "previous_response_id");
  EXPECT_TRUE(service_->wait_idle(30));
}

TEST_F(ResponsesTest, a_client_that_goes_frees_what_it_held) {
  auto recorder = std::make_shared<Recorder>();
  const auto exchange = api_->handle(request_of("POST", "/v1/responses", to_text(body(1500))), recorder);
  ASSERT_NE(exchange, nullptr);
  exchange->cancel();
  recorder->wait();
  EXPECT_TRUE(service_->wait_idle(30));
}

TEST_F(ResponsesTest, errors_have_the_form_of_openai) {
  EXPECT_EQ(error(*send({{"input", "hi"}}), 400)["param"], "model");
  EXPECT_EQ(error(*send(body(1, {{"model", "another"}})), 404)["code"], "model_not_found");
  EXPECT_EQ(error(*send(body(1'000'000)), 400)["code"], "context_length_exceeded");
  EXPECT_EQ(error(*send(body(1, {{"instructions", "bard has none"}})), 400)["type"], "invalid_request_error");
  EXPECT_EQ(error(*send(body(1, {{"background", true}})), 400)["param"], "background");
}

}  // namespace
}  // namespace heed
