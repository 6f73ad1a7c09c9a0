// Routes: which one takes a request, and what is answered where none does.
#include "api/router.h"

#include "tests/api/recording.h"

namespace heed {
namespace {

// An Api whose routes tell their pattern and captures.
class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    for (const auto& [method, pattern] :
         std::vector<std::pair<std::string, std::string>>{{"GET", "/v1/files"},
                                                          {"POST", "/v1/files"},
                                                          {"GET", "/v1/files/{id}"},
                                                          {"DELETE", "/v1/files/{id}"},
                                                          {"GET", "/v1/files/{id}/content"},
                                                          {"GET", "/v1/models/{id...}"}}) {
      api_.add({.method = method, .pattern = pattern, .handler = [pattern = pattern](const Call& call) {
                  OrderedJson told{{"pattern", pattern}};
                  for (const auto& [name, value] : call.captures) told[name] = value;
                  reply_json(*call.responder, told);
                  return nullptr;
                }});
    }
    api_.add({.method = "POST", .pattern = "/json", .body = BodyKind::kJson, .handler = [](const Call& call) {
                reply_json(*call.responder, call.body);
                return nullptr;
              }});
    api_.set_state(Api::State::kReady);
  }
  Api api_;
};

TEST_F(RouterTest, patterns_capture_segments_and_the_rest) {
  EXPECT_EQ(get(api_, "/v1/files")->json(), (OrderedJson{{"pattern", "/v1/files"}}));
  EXPECT_EQ(get(api_, "/v1/files/a-1")->json(), (OrderedJson{{"pattern", "/v1/files/{id}"}, {"id", "a-1"}}));
  EXPECT_EQ(get(api_, "/v1/files/a/content")->json(),
            (OrderedJson{{"pattern", "/v1/files/{id}/content"}, {"id", "a"}}));
  EXPECT_EQ(get(api_, "/v1/models/org/name")->json()["id"], "org/name");
  for (const char* path : {"/", "/v1", "/v1/files/", "/v1/files/a/b", "/v1/models/", "/v1/filesx", ""})
    EXPECT_EQ(get(api_, path)->status, 404) << path;
}

TEST_F(RouterTest, an_unknown_path_is_an_error_object) {
  const auto answer = get(api_, "/nothing");
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->content_type, "application/json");
  EXPECT_EQ(answer->json(), (OrderedJson{{"error",
                                          {{"message", "there is nothing at /nothing"},
                                           {"type", "invalid_request_error"},
                                           {"param", nullptr},
                                           {"code", "unknown_url"}}}}));
}

TEST_F(RouterTest, a_wrong_method_is_told_the_right_ones) {
  const auto answer = ask(api_, request_of("PUT", "/v1/files"));
  EXPECT_EQ(answer->status, 405);
  EXPECT_EQ(answer->fields["Allow"], "GET, HEAD, POST");
  EXPECT_EQ(ask(api_, request_of("DELETE", "/v1/files/x"))->status, 200);
}

TEST_F(RouterTest, head_is_answered_as_get) {
  EXPECT_EQ(ask(api_, request_of("HEAD", "/v1/files"))->body(), get(api_, "/v1/files")->body());
  EXPECT_EQ(ask(api_, request_of("HEAD", "/json"))->status, 405);
}

TEST_F(RouterTest, json_routes_want_the_content_type_and_an_object) {
  const auto with_type = [&](const char* type, const char* body) {
    ApiRequest request = request_of("POST", "/json", body);
    request.headers["content-type"] = type;
    return ask(api_, request)->status;
  };
  EXPECT_EQ(with_type("application/json", "{}"), 200);
  EXPECT_EQ(with_type("Application/JSON ; charset=utf-8", "{}"), 200);
  EXPECT_EQ(with_type("text/plain", "{}"), 415);
  EXPECT_EQ(with_type("application/jsonp", "{}"), 415);
  EXPECT_EQ(ask(api_, {.method = "POST", .path = "/json", .body = "{}"})->status, 415);
  for (const char* body : {"[]", "{\"a\":NaN}", "{\"a\":\"\xff\"}", "nonsense", "{\"a\":1}{"})
    EXPECT_EQ(with_type("application/json", body), 400) << body;
}

TEST_F(RouterTest, health_follows_the_state) {
  api_.set_state(Api::State::kLoading);
  EXPECT_EQ(get(api_, "/health")->status, 503);
  EXPECT_EQ(get(api_, "/health")->json()["status"], "loading");
  const auto early = get(api_, "/v1/files");
  EXPECT_EQ(early->status, 503);
  EXPECT_EQ(early->json()["error"]["code"], "loading");
  EXPECT_EQ(early->fields["Retry-After"], "1");
  api_.set_state(Api::State::kReady);
  EXPECT_EQ(get(api_, "/health")->status, 200);
  EXPECT_EQ(get(api_, "/ping")->status, 200);
  api_.set_state(Api::State::kDraining);
  EXPECT_EQ(get(api_, "/health")->status, 503);
  EXPECT_EQ(get(api_, "/v1/files")->status, 200);
}

TEST_F(RouterTest, a_route_marked_always_answers_while_loading) {
  api_.set_state(Api::State::kLoading);
  api_.add({.method = "GET",
            .pattern = "/early",
            .handler =
                [](const Call& call) {
                  reply_json(*call.responder, {{"ok", true}});
                  return nullptr;
                },
            .always = true});
  EXPECT_EQ(get(api_, "/early")->status, 200);
  EXPECT_EQ(get(api_, "/late")->status, 503);
}

TEST(Errors, codes_become_the_statuses_that_clients_act_on) {
  EXPECT_EQ(api_error(invalid("x")).status, 400);
  EXPECT_EQ(api_error(unsupported("x")).status, 400);
  EXPECT_EQ(api_error(limit_reached("x")).status, 400);
  EXPECT_EQ(api_error(not_found("x")).status, 404);
  EXPECT_EQ(api_error(stopped("x")).status, 503);
  EXPECT_EQ(api_error(limit_reached("the prompt has 9 tokens; the context holds 8")).code,
            "context_length_exceeded");
  Recorder busy_answer;
  reply_error(busy_answer, api_error(busy("the queue is full")));
  EXPECT_EQ(busy_answer.status, 429);
  EXPECT_EQ(busy_answer.fields["Retry-After"], "1");
  EXPECT_EQ(busy_answer.json()["error"]["type"], "rate_limit_error");
}

}  // namespace
}  // namespace heed
