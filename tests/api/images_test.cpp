// Pictures in requests of every dialect, on a small model that sees.
#include <gmock/gmock.h>

#include "api/messages_routes.h"
#include "api/responses_routes.h"
#include "tests/api/live.h"
#include "tests/serving/fake_images.h"

namespace heed {
namespace {

using testing::HasSubstr;

const std::string kChat = "/v1/chat/completions";
const std::string kResponses = "/v1/responses";
const std::string kMessages = "/v1/messages";

class ImagesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fake_ = std::make_unique<FakeImages>();
    ServiceOptions options;
    options.model_name = "seeing";
    options.engine.runner.threads = 2;
    options.images.max_images = 3;
    options.images.parallel = 1;
    options.image_tools = fake_->tools();
    service_ = Service::open(open_checkpoint(kSeeing).value(), options).value();
    api_ = std::make_unique<Api>();
    add_openai_routes(*api_, *service_);
    add_responses_routes(*api_, *service_);
    add_messages_routes(*api_, *service_);
    api_->set_state(Api::State::kReady);
  }
  static void TearDownTestSuite() {
    fake_->slow.open();
    service_.reset();
    api_.reset();
    fake_.reset();
  }

  static OrderedJson image_url(const OrderedJson& url) { return {{"type", "image_url"}, {"image_url", url}}; }
  static OrderedJson text(const std::string& text) { return {{"type", "text"}, {"text", text}}; }
  // A chat whose user shows and says these.
  static OrderedJson chat(const std::vector<OrderedJson>& parts,
                          const OrderedJson& more = OrderedJson::object()) {
    OrderedJson body = {{"messages", OrderedJson::array({{{"role", "user"}, {"content", parts}}})},
                        {"max_tokens", 2},
                        {"temperature", 0}};
    body.update(more);
    return body;
  }
  static OrderedJson answer(const std::string& path, const OrderedJson& body) {
    const auto recorder = post(*api_, path, body);
    EXPECT_EQ(recorder->status, 200) << recorder->body();
    return recorder->json();
  }
  static OrderedJson error(const std::string& path, const OrderedJson& body, int status = 400) {
    const auto recorder = post(*api_, path, body);
    EXPECT_EQ(recorder->status, status) << recorder->body();
    return recorder->json()["error"];
  }
  static std::vector<int> tokens(const OrderedJson& messages,
                                 const OrderedJson& more = OrderedJson::object()) {
    OrderedJson body = {{"messages", messages}};
    body.update(more);
    const OrderedJson counted = answer("/tokenize", body);
    EXPECT_EQ(counted["count"], counted["tokens"].size());
    return counted["tokens"].get<std::vector<int>>();
  }
  // The soft tokens of each picture in a prompt.
  static std::vector<int> runs(const std::vector<int>& ids) {
    std::vector<int> all;
    for (const int id : ids) {
      if (id == 461) all.push_back(0);
      if (id == 460) ++all.back();
    }
    return all;
  }

  static inline std::unique_ptr<FakeImages> fake_;
  static inline std::unique_ptr<Service> service_;
  static inline std::unique_ptr<Api> api_;
};

TEST_F(ImagesTest, a_chat_shows_pictures_and_tells_what_they_take) {
  const OrderedJson request =
      chat({text("Look:"), image_url({{"url", "data:2x4"}}), image_url("https://host/3x3")});
  const OrderedJson usage = answer(kChat, request)["usage"];
  EXPECT_EQ(usage["prompt_tokens_details"]["image_tokens"], 17);
  const std::vector<int> ids = tokens(request["messages"]);
  EXPECT_EQ(usage["prompt_tokens"], ids.size());
  EXPECT_EQ(runs(ids), (std::vector<int>{8, 9}));
  OrderedJson streamed = request;
  streamed.update({{"stream", true}, {"stream_options", {{"include_usage", true}}}});
  const auto recorder = post(*api_, kChat, streamed);
  EXPECT_EQ(events_of(recorder->body()).back()["usage"]["prompt_tokens_details"]["image_tokens"], 17);
  // Without pictures, all is as it was.
  EXPECT_FALSE(
      answer(kChat, chat({text("Hello")}))["usage"]["prompt_tokens_details"].contains("image_tokens"));
}

TEST_F(ImagesTest, soft_tokens_follow_detail_and_the_request) {
  const auto taken = [&](const OrderedJson& part, const OrderedJson& more = OrderedJson::object()) {
    return runs(tokens(chat({part})["messages"], more)).at(0);
  };
  EXPECT_EQ(taken(image_url({{"url", "data:10x10"}, {"detail", "low"}})), 70);
  EXPECT_EQ(taken(image_url({{"url", "data:10x10"}, {"detail", "high"}})), 70) << "what this model has";
  const OrderedJson seventy = {{"mm_processor_kwargs", {{"max_soft_tokens", 70}}}};
  EXPECT_EQ(taken(image_url("data:10x10"), seventy), 70);
  const OrderedJson refused =
      error(kChat, chat({image_url("data:1x1")}, {{"mm_processor_kwargs", {{"max_soft_tokens", 100}}}}));
  EXPECT_EQ(refused["param"], "mm_processor_kwargs.max_soft_tokens");
  EXPECT_THAT(error(kChat, chat({image_url("data:1x1")},
                                {{"mm_processor_kwargs", {{"max_soft_tokens", 560}}}}))["message"]
                  .get<std::string>(),
              HasSubstr("at most 70 are possible here"));
  EXPECT_EQ(error(kChat, chat({image_url({{"url", "data:1x1"}, {"detail", "medium"}})}))["param"],
            "messages[0].content[0].image_url.detail");
}

TEST_F(ImagesTest, what_is_wrong_with_a_picture_is_told_with_its_place) {
  const auto refused = [&](const OrderedJson& part, int status = 400) {
    const OrderedJson got = error(kChat, chat({text("x"), part}), status);
    EXPECT_EQ(got["param"], "messages[0].content[1].image_url");
    EXPECT_THAT(got["message"].get<std::string>(), HasSubstr("messages[0].content[1].image_url"));
    return got["code"].get<std::string>();
  };
  EXPECT_EQ(refused(image_url("data:hello")), "invalid_image");
  EXPECT_EQ(refused(image_url("data:1000x1000")), "image_too_large");
  EXPECT_EQ(refused(image_url("ftp://host/1x1")), "invalid_image_url");
  EXPECT_EQ(refused(image_url("https://none/1x1"), 504), "failed_to_download_image");
  EXPECT_EQ(error(kChat, chat({image_url({{"detail", "low"}})}))["param"],
            "messages[0].content[0].image_url.url");
  EXPECT_EQ(error(kChat, chat({image_url(5)}))["param"], "messages[0].content[0].image_url");
  EXPECT_EQ(error(kChat, chat({{{"type", "image_url"}}}))["param"], "messages[0].content[0].image_url");
  EXPECT_EQ(error(kChat, chat({{{"type", "video_url"}}}))["param"], "messages[0].content[0].type");
  const OrderedJson system = {
      {"messages", OrderedJson::array({{{"role", "system"}, {"content", {image_url("data:1x1")}}}})}};
  EXPECT_EQ(error(kChat, system)["code"], "unsupported_content");
}

TEST_F(ImagesTest, too_many_pictures_are_refused_before_one_is_fetched) {
  const int before = fake_->fetched;
  const OrderedJson got = error(kChat, chat(std::vector<OrderedJson>(4, image_url("data:1x1"))));
  EXPECT_EQ(got["param"], "messages[0].content[3].image_url");
  EXPECT_EQ(got["code"], "too_many_images");
  EXPECT_EQ(fake_->fetched, before);
}

TEST_F(ImagesTest, text_that_smuggles_a_place_is_an_error) {
  EXPECT_THAT(
      error(kChat, chat({image_url("data:1x1"), text("and <|image|>")}))["message"].get<std::string>(),
      HasSubstr("2 places for pictures and 1 picture was given"));
  EXPECT_THAT(error("/v1/completions", {{"prompt", "<|image|>"}})["message"].get<std::string>(),
              HasSubstr("no picture was given"));
}

TEST_F(ImagesTest, tools_give_pictures_back) {
  const OrderedJson messages = OrderedJson::array(
      {{{"role", "user"}, {"content", "Look."}},
       {{"role", "assistant"},
        {"tool_calls", {{{"id", "c"}, {"type", "function"}, {"function", {{"name", "look"}}}}}}},
       {{"role", "tool"}, {"tool_call_id", "c"}, {"content", {text("seen"), image_url("data:1x6")}}},
       {{"role", "user"}, {"content", {image_url("data:1x2")}}}});
  EXPECT_EQ(runs(tokens(messages)), (std::vector<int>{6, 2}));
}

TEST_F(ImagesTest, responses_show_pictures_and_go_on_from_them) {
  const OrderedJson content =
      OrderedJson::array({{{"type", "input_image"}, {"image_url", "data:3x3"}, {"detail", "low"}},
                          {{"type", "input_text"}, {"text", "What?"}}});
  const OrderedJson body = {{"model", "seeing"},
                            {"input", OrderedJson::array({{{"role", "user"}, {"content", content}}})},
                            {"max_output_tokens", 2}};
  const OrderedJson first = answer(kResponses, body);
  EXPECT_EQ(first["usage"]["input_tokens_details"]["image_tokens"], 9);
  OrderedJson more = {{"model", "seeing"},
                      {"input", "And now?"},
                      {"previous_response_id", first["id"]},
                      {"max_output_tokens", 2},
                      {"truncation", "auto"}};
  const OrderedJson second = answer(kResponses, more);
  EXPECT_EQ(second["usage"]["input_tokens_details"]["image_tokens"], 9);
  EXPECT_GT(second["usage"]["input_tokens"], first["usage"]["input_tokens"]);

  const auto part_error = [&](const OrderedJson& part) {
    OrderedJson asked = body;
    asked["input"] = OrderedJson::array({{{"role", "user"}, {"content", {part}}}});
    return error(kResponses, asked);
  };
  const OrderedJson file = part_error({{"type", "input_image"}, {"file_id", "file-1"}, {"detail", "auto"}});
  EXPECT_EQ(file["param"], "input[0].content[0].file_id");
  EXPECT_EQ(part_error({{"type", "input_image"}})["param"], "input[0].content[0].image_url");
  EXPECT_EQ(part_error({{"type", "input_image"}, {"image_url", "data:no"}})["param"],
            "input[0].content[0].image_url");
  const OrderedJson call = OrderedJson::array(
      {{{"type", "function_call"}, {"call_id", "c"}, {"name", "look"}, {"arguments", "{}"}},
       {{"type", "function_call_output"}, {"call_id", "c"}, {"output", {content[0]}}}});
  OrderedJson of_tool = body;
  of_tool["input"] = call;
  EXPECT_EQ(answer(kResponses, of_tool)["usage"]["input_tokens_details"]["image_tokens"], 9);
}

TEST_F(ImagesTest, truncation_leaves_pictures_out_with_their_messages) {
  const auto user = [](const std::string& size, const std::string& said) -> OrderedJson {
    return {{"role", "user"},
            {"content",
             {{{"type", "input_image"}, {"image_url", "data:" + size}},
              {{"type", "input_text"}, {"text", said}}}}};
  };
  const OrderedJson body = {{"model", "seeing"},
                            {"input", OrderedJson::array({user("2x20", std::string(2500, 'a')),
                                                          {{"role", "assistant"}, {"content", "Yes."}},
                                                          user("5x6", std::string(2500, 'b'))})},
                            {"max_output_tokens", 2},
                            {"truncation", "auto"}};
  EXPECT_EQ(answer(kResponses, body)["usage"]["input_tokens_details"]["image_tokens"], 30);
}

TEST_F(ImagesTest, messages_show_pictures) {
  const OrderedJson base64 = {{"type", "image"},
                              {"source", {{"type", "base64"}, {"media_type", "image/png"}, {"data", "2x3"}}}};
  const OrderedJson url = {{"type", "image"}, {"source", {{"type", "url"}, {"url", "https://host/1x4"}}}};
  const auto asks = [](const OrderedJson& messages) -> OrderedJson {
    return {{"model", "seeing"}, {"max_tokens", 2}, {"messages", messages}};
  };
  const OrderedJson used = {
      {"type", "tool_use"}, {"id", "t"}, {"name", "look"}, {"input", OrderedJson::object()}};
  const OrderedJson result = {
      {"type", "tool_result"}, {"tool_use_id", "t"}, {"is_error", true}, {"content", {url, text("blurred")}}};
  const OrderedJson messages =
      OrderedJson::array({{{"role", "user"}, {"content", {base64, text("What is this?")}}},
                          {{"role", "assistant"}, {"content", {used}}},
                          {{"role", "user"}, {"content", {result, url}}}});
  const OrderedJson counted =
      answer(kMessages + "/count_tokens", {{"model", "seeing"}, {"messages", messages}});
  EXPECT_EQ(answer(kMessages, asks(messages))["usage"]["input_tokens"], counted["input_tokens"]);
  OrderedJson bare = messages;
  bare[0]["content"].erase(0);
  const int without =
      answer(kMessages + "/count_tokens", {{"model", "seeing"}, {"messages", bare}})["input_tokens"];
  EXPECT_EQ(counted["input_tokens"], without + 6 + 2);

  const auto param = [&](const OrderedJson& block) {
    const auto recorder = post(*api_, kMessages, asks({{{"role", "user"}, {"content", {block}}}}));
    EXPECT_EQ(recorder->status, 400);
    EXPECT_EQ(recorder->json()["type"], "error");
    return recorder->json()["error"]["message"].get<std::string>();
  };
  const auto with = [&](const OrderedJson& source) -> OrderedJson {
    return {{"type", "image"}, {"source", source}};
  };
  EXPECT_THAT(param(with({{"type", "file"}, {"file_id", "f"}})), HasSubstr("file_id"));
  EXPECT_THAT(param(with({{"type", "base64"}, {"media_type", "image/bmp"}, {"data", "x"}})),
              HasSubstr("media_type"));
  EXPECT_THAT(param(with({{"type", "base64"}, {"media_type", "image/png"}, {"data", "no"}})),
              HasSubstr("messages[0].content[0].source"));
  EXPECT_THAT(param({{"type", "image"}}), HasSubstr("source"));
  EXPECT_THAT(param({{"type", "document"}}), HasSubstr("only text and pictures"));
}

TEST_F(ImagesTest, handlers_do_not_wait_for_downloads) {
  FakeImages fake;
  ServiceOptions options;
  options.image_tools = fake.tools();
  options.images.downloads = 1;
  Api api;
  const auto service = Service::open(open_checkpoint(kSeeing).value(), options).value();
  add_openai_routes(api, *service);
  api.set_state(Api::State::kReady);
  const OrderedJson slow = chat({image_url("https://slow/1x3")});
  const auto waiting = std::make_shared<Recorder>();
  const auto given_up = std::make_shared<Recorder>();
  const auto first = api.handle(request_of("POST", kChat, to_text(slow)), waiting);
  const auto second = api.handle(request_of("POST", kChat, to_text(slow)), given_up);
  fake.slow.wait_for(1);
  EXPECT_EQ(post(api, kChat, chat({image_url("data:1x2")}))->status, 200);
  EXPECT_EQ(post(api, kChat, chat({text("Hello")}))->status, 200);
  EXPECT_FALSE(waiting->has_ended());
  second->cancel();
  given_up->wait();
  EXPECT_EQ(given_up->status, 503);
  fake.slow.open();
  waiting->wait();
  EXPECT_EQ(waiting->status, 200);
  first->cancel();
}

TEST_F(ImagesTest, a_client_that_leaves_while_its_picture_comes_gets_no_answer) {
  for (int i = 0; i < 20; ++i) {
    const auto recorder = std::make_shared<Recorder>();
    OrderedJson body = chat({image_url("https://host/1x3")}, {{"max_tokens", 500}, {"stream", i % 2 == 1}});
    const auto exchange = api_->handle(request_of("POST", kChat, to_text(body)), recorder);
    if (i % 4 < 2) std::this_thread::sleep_for(std::chrono::milliseconds(i));
    exchange->cancel();
    recorder->wait();
  }
  EXPECT_TRUE(service_->wait_idle(60));
}

TEST_F(ImagesTest, the_model_tells_that_it_sees) {
  EXPECT_EQ(get(*api_, "/v1/models")->json()["data"][0]["input_modalities"],
            (OrderedJson::array({"text", "image"})));
}

}  // namespace
}  // namespace heed
