// Every limit of the request fields at its edge, and what goes wrong beside the requests themselves.
#include "tests/api/live.h"

namespace heed {
namespace {

OrderedJson strings(int count, const std::string& text) {
  return std::vector<std::string>(static_cast<size_t>(count), text);
}
OrderedJson ids(int count) { return std::vector<int>(static_cast<size_t>(count), 20); }
OrderedJson biases(int count) {
  OrderedJson all = OrderedJson::object();
  for (int i = 0; i < count; ++i) all[std::to_string(i)] = 0;
  return all;
}

class LimitsTest : public LiveTest {
 protected:
  static OrderedJson completion() { return {{"prompt", "To be"}, {"max_tokens", 1}}; }
  static OrderedJson chat() {
    return {{"messages", OrderedJson::array({{{"role", "user"}, {"content", "Who?"}}})}, {"max_tokens", 1}};
  }
};

struct Edge {
  std::string field;
  OrderedJson inside, beyond;
};

std::vector<Edge> shared_edges() {
  const ServiceLimits limits;
  const int half = limits.max_stop_bytes / 2;
  return {
      {"temperature", 0, -0.01},
      {"temperature", 100, 100.5},
      {"top_p", 1, 1.001},
      {"top_p", 0.001, 0},
      {"top_k", -1, -2},
      {"min_p", 1, 1.1},
      {"min_p", 0, -0.1},
      {"repetition_penalty", 100, 101},
      {"repetition_penalty", 0.01, 0},
      {"presence_penalty", 2, 2.01},
      {"presence_penalty", -2, -2.01},
      {"frequency_penalty", 2, 2.01},
      {"frequency_penalty", -2, -2.01},
      {"seed", INT64_MAX, static_cast<uint64_t>(INT64_MAX) + 1},
      {"seed", INT64_MIN, -1e19},
      {"n", 1, 0},
      {"n", limits.max_n, limits.max_n + 1},
      {"min_tokens", 1, 2},
      {"stop", strings(limits.max_stops, "zz"), strings(limits.max_stops + 1, "zz")},
      {"stop", strings(2, std::string(half, 'z')), strings(2, std::string(half + 1, 'z'))},
      {"stop", "z", ""},
      {"stop_token_ids", ids(limits.max_stops), ids(limits.max_stops + 1)},
      {"stop_token_ids", {4095}, {4096}},
      {"logit_bias", biases(limits.max_logit_bias), biases(limits.max_logit_bias + 1)},
      {"logit_bias", {{"5", 100}}, {{"5", 100.1}}},
      {"logit_bias", {{"4095", 0}}, {{"4096", 0}}},
      {"logit_bias", {{"5", 0}}, {{"5x", 0}}},
      {"allowed_token_ids", ids(1), ids(0)},
      {"allowed_token_ids", ids(4096), ids(4097)},
      {"bad_words", strings(limits.max_bad_words / 2, "zz"), strings(limits.max_bad_words / 2 + 1, "zz")},
      {"bad_words", {"z"}, {""}},
      {"prompt_logprobs", limits.max_logprobs, limits.max_logprobs + 1},
      {"priority", INT32_MIN, static_cast<int64_t>(INT32_MIN) - 1},
      {"cache_salt", std::string(1024, 's'), std::string(1025, 's')},
      {"request_id", std::string(256, 's'), std::string(257, 's')},
      {"model", "bard", std::string(1025, 's')},
      {"guided_regex", "a{" + std::to_string(3) + "}", std::string(limits.max_schema_bytes + 1, 'a')},
      {"guided_choice", {"a"}, OrderedJson::array()},
      {"guided_choice", {"a"}, {std::string(limits.max_schema_bytes + 1, 'a')}},
      {"guided_json",
       {{"type", "object"}, {"description", std::string(limits.max_schema_bytes - 100, 'x')}},
       {{"type", "object"}, {"description", std::string(limits.max_schema_bytes, 'x')}}},
      {"stream", false, "no"},
      {"ignore_eos", true, 1},
      {"user", "me", nullptr},
      {"suffix", nullptr, "end"},
      {"use_beam_search", false, true},
      {"store", false, true},
  };
}

TEST_F(LimitsTest, every_shared_field_passes_at_its_edge_and_not_beyond) {
  for (const Edge& edge : shared_edges()) {
    for (const bool is_chat : {false, true}) {
      const std::string path = is_chat ? "/v1/chat/completions" : "/v1/completions";
      OrderedJson body = is_chat ? chat() : completion();
      if (edge.field == "suffix" && is_chat) continue;
      body[edge.field] = edge.inside;
      const auto inside = post(*api_, path, body);
      EXPECT_EQ(inside->status, 200) << edge.field << " " << inside->body().substr(0, 300);
      if (edge.beyond.is_null()) continue;
      body[edge.field] = edge.beyond;
      const auto beyond = post(*api_, path, body);
      ASSERT_GE(beyond->status, 400) << edge.field;
      const OrderedJson error = beyond->json()["error"];
      const std::string message = error["message"];
      EXPECT_NE(message.find(edge.field), std::string::npos) << message;
      EXPECT_LT(message.size(), 400U);
      EXPECT_EQ(error["type"], "invalid_request_error");
    }
  }
}

TEST_F(LimitsTest, fields_of_one_route_pass_at_their_edges_and_not_beyond) {
  const ServiceLimits limits;
  const std::vector<Edge> completions = {
      {"logprobs", limits.max_logprobs, limits.max_logprobs + 1},
      {"logprobs", 0, -1},
      {"best_of", 1, 2},
      {"max_tokens", 1, 0},
      {"max_tokens", 1, service_->max_model_len() + 1},
      {"truncate_prompt_tokens", -1, -2},
      {"truncation_side", "right", "top"},
      {"echo", true, "yes"},
      {"prompt", "x", OrderedJson::array()},
      {"prompt", {5, 4095}, {5, 4096}},
      {"prompt", {0}, {-1}},
  };
  const std::vector<Edge> chats = {
      {"max_tokens", 1, 0},
      {"max_completion_tokens", 1, 2},  // other than max_tokens
      {"top_logprobs", 0, 1},           // without logprobs
      {"reasoning_effort", "high", "huge"},
      {"service_tier", "auto", "priority"},
      {"chat_template", nullptr, "{{ messages }}"},
      {"echo", false, true},
      {"chat_template_kwargs", {{"a", 1}}, {{"messages", 1}}},
      {"functions", nullptr, OrderedJson::array()},
      {"modalities", {"text"}, {"audio"}},
      {"verbosity", "medium", "low"},
  };
  const auto check = [&](const std::vector<Edge>& edges, const std::string& path, const OrderedJson& base) {
    for (const Edge& edge : edges) {
      OrderedJson body = base;
      body[edge.field] = edge.inside;
      EXPECT_EQ(post(*api_, path, body)->status, 200) << edge.field << " " << post(*api_, path, body)->body();
      body[edge.field] = edge.beyond;
      const auto beyond = post(*api_, path, body);
      EXPECT_EQ(beyond->status, 400) << edge.field;
      EXPECT_NE(beyond->json()["error"]["message"].get<std::string>().find(edge.field), std::string::npos)
          << beyond->body();
    }
  };
  check(completions, "/v1/completions", completion());
  check(chats, "/v1/chat/completions", chat());
}

TEST_F(LimitsTest, unknown_fields_are_refused_with_the_list_of_known_ones) {
  for (const std::string path : {"/v1/completions", "/v1/chat/completions"}) {
    OrderedJson body = path == "/v1/completions" ? completion() : chat();
    body["temprature"] = 1;
    const OrderedJson got = error(path, body);
    EXPECT_EQ(got["param"], "temprature");
    EXPECT_NE(got["message"].get<std::string>().find("temperature, "), std::string::npos);
  }
}

TEST_F(LimitsTest, stream_options_need_a_stream) {
  OrderedJson body = completion();
  body["stream_options"] = {{"include_usage", true}};
  EXPECT_EQ(error("/v1/completions", body)["param"], "stream_options");
  body["stream"] = true;
  EXPECT_EQ(post(*api_, "/v1/completions", body)->status, 200);
  body["prompt_logprobs"] = 1;
  EXPECT_EQ(error("/v1/completions", body)["param"], "prompt_logprobs");
}

TEST_F(LimitsTest, a_reader_that_is_gone_stops_the_work) {
  OrderedJson body = {
      {"prompt", "To be"}, {"max_tokens", 1500}, {"ignore_eos", true}, {"stream", true}, {"n", 4}};
  const auto recorder = std::make_shared<Recorder>(3);
  const auto exchange = api_->handle(request_of("POST", "/v1/completions", to_text(body)), recorder);
  recorder->wait();
  EXPECT_TRUE(service_->wait_idle(60));
  EXPECT_LT(service_->engine().stats().generated_tokens, 4000U);
}

TEST_F(LimitsTest, cancelling_ends_the_answer_once) {
  OrderedJson body = {{"prompt", "To be"}, {"max_tokens", 1500}, {"ignore_eos", true}, {"n", 8}};
  for (const bool stream : {false, true}) {
    body["stream"] = stream;
    const auto recorder = std::make_shared<Recorder>();
    const auto exchange = api_->handle(request_of("POST", "/v1/completions", to_text(body)), recorder);
    ASSERT_NE(exchange, nullptr);
    exchange->cancel();
    exchange->cancel();
    recorder->wait();
    exchange->cancel();
    EXPECT_EQ(recorder->status, stream ? 200 : 503);
    EXPECT_NE(recorder->body().find("stopped this request"), std::string::npos);
  }
  EXPECT_TRUE(service_->wait_idle(60));
}

TEST(Queue, that_is_full_answers_429_and_a_stopping_service_503) {
  const std::unique_ptr<Service> service = serve_bard(1);
  Api api;
  add_openai_routes(api, *service);
  api.set_state(Api::State::kReady);
  // More choices at once than may wait.
  const OrderedJson body = {{"prompt", "To be"}, {"max_tokens", 4}, {"n", 64}};
  const auto full = post(api, "/v1/completions", body);
  EXPECT_EQ(full->status, 429) << full->body();
  EXPECT_EQ(full->fields["Retry-After"], "1");
  EXPECT_EQ(full->json()["error"]["code"], "queue_full");
  EXPECT_TRUE(service->wait_idle(60));
  service->refuse_new();
  const auto stopping = post(api, "/v1/chat/completions",
                             {{"messages", OrderedJson::array({{{"role", "user"}, {"content", "Who?"}}})}});
  EXPECT_EQ(stopping->status, 503) << stopping->body();
}

}  // namespace
}  // namespace heed
