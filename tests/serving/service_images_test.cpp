// A Service on a small model that sees.
#include "tests/serving/fake_images.h"
#include "tests/serving/listening.h"

namespace heed {
namespace {

using testing::HasSubstr;

class ServiceImages : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fake_ = std::make_unique<FakeImages>();
    service_ = open({});
  }
  static void TearDownTestSuite() {
    service_.reset();
    fake_.reset();
  }
  static std::unique_ptr<Service> open(const ServiceOptions& more) {
    ServiceOptions options = more;
    options.engine.runner.dtype = "float32";
    options.image_tools = fake_->tools();
    return Service::open(open_checkpoint(kSeeing).value(), options).value();
  }

  static ImageList load(const std::vector<std::string>& files) {
    ImageRequest request;
    for (const std::string& file : files) request.sources.push_back({.bytes = file});
    std::promise<LoadedImages> promise;
    EXPECT_TRUE(
        service_->load_images(std::move(request), [&](LoadedImages all) { promise.set_value(all); }).ok());
    return promise.get_future().get().images;
  }
  // A user's message with these pictures in front of the text.
  static ChatRequest asks(const std::vector<std::string>& files, const std::string& text) {
    ChatRequest chat;
    OrderedJson parts = OrderedJson::array();
    for (size_t i = 0; i < files.size(); ++i) parts.push_back({{"type", "image"}, {"image", i}});
    parts.push_back({{"type", "text"}, {"text", text}});
    chat.messages = OrderedJson::array({{{"role", "user"}, {"content", std::move(parts)}}});
    if (!files.empty()) chat.generate.images = load(files);
    chat.generate.sampling.temperature = 0;
    chat.generate.max_tokens = 4;
    chat.generate.logprobs = 5;
    return chat;
  }
  static std::vector<float> likelihoods(const HeardAll& all) {
    std::vector<float> values;
    for (const TokenLogprob& token : all.choices[0].logprobs) values.push_back(token.logprob);
    return values;
  }

  static inline std::unique_ptr<FakeImages> fake_;
  static inline std::unique_ptr<Service> service_;
};

TEST_F(ServiceImages, a_picture_takes_its_soft_tokens_and_changes_the_answer) {
  const ChatRequest dark = asks({"1x9"}, "What is this?");
  const std::vector<int> tokens = service_->chat_tokens(dark).value();
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 460), 9);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 461), 1);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 462), 1);

  const HeardAll first = hear(*service_, asks({"1x9"}, "What is this?")).value();
  EXPECT_EQ(first.usage.prompt_tokens, std::ssize(tokens));
  EXPECT_EQ(first.usage.image_tokens, 9);
  const HeardAll again = hear(*service_, asks({"1x9"}, "What is this?")).value();
  EXPECT_EQ(likelihoods(first), likelihoods(again));
  EXPECT_GT(again.usage.cached_tokens, 0);
  const HeardAll bright = hear(*service_, asks({"3x3"}, "What is this?")).value();
  EXPECT_EQ(bright.usage.prompt_tokens, first.usage.prompt_tokens);
  EXPECT_NE(likelihoods(first), likelihoods(bright)) << "as many tokens, another picture";
}

TEST_F(ServiceImages, pictures_stand_where_their_messages_show_them) {
  ChatRequest chat = asks({"1x2", "1x3", "1x4"}, "compare");
  std::swap(chat.messages[0]["content"][0], chat.messages[0]["content"][2]);  // the third one first
  const std::vector<int> tokens = service_->chat_tokens(chat).value();
  std::vector<int> runs;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == 461) runs.push_back(0);
    if (tokens[i] == 460) ++runs.back();
  }
  EXPECT_EQ(runs, (std::vector<int>{4, 3, 2}));
  chat.messages[0]["content"].erase(1);  // pictures that nothing shows are left out
  EXPECT_EQ(hear(*service_, chat).value().usage.image_tokens, 6);
}

TEST_F(ServiceImages, text_that_looks_like_a_place_takes_no_picture) {
  const auto refusal = [&](const ChatRequest& chat) {
    const auto heard = hear(*service_, chat);
    return heard.ok() ? std::string("answered") : heard.error().message;
  };
  EXPECT_THAT(refusal(asks({}, "Draw <|image|> here")), HasSubstr("1 place for a picture and no picture"));
  EXPECT_THAT(refusal(asks({"1x9"}, "and <|image|> here")), HasSubstr("2 places for pictures and 1 picture"));
  EXPECT_THAT(refusal(asks({"1x9"}, "<|image|>")), HasSubstr("a run of 2"));
  EXPECT_EQ(refusal(asks({"1x9"}, "an <image>")), "answered");
}

TEST_F(ServiceImages, a_prompt_of_ids_holds_placeholders_or_whole_runs) {
  GenerateRequest request{.prompt = {2, 5, 460, 6}, .images = load({"1x3"}), .max_tokens = 1};
  EXPECT_EQ(hear(*service_, request).value().usage.prompt_tokens, 8);
  request.prompt = {2, 5, 461, 460, 460, 460, 462, 6};
  EXPECT_EQ(hear(*service_, request).value().usage.prompt_tokens, 8);
  request.prompt = {2, 5, 6};
  EXPECT_THAT(hear(*service_, request).error().message, HasSubstr("no place for a picture and 1 picture"));
}

TEST_F(ServiceImages, the_context_holds_pictures_as_well) {
  ChatRequest chat = asks(std::vector<std::string>(16, "7x10"), "x");
  chat.generate.max_tokens = 4096 - 16 * 70;
  EXPECT_THAT(hear(*service_, chat).error().message, HasSubstr("maximum context length"));
}

TEST_F(ServiceImages, every_choice_sees_the_picture) {
  ChatRequest chat = asks({"2x5"}, "x");
  chat.generate.n = 3;
  const HeardAll all = hear(*service_, chat).value();
  EXPECT_EQ(all.choices[0].ids, all.choices[2].ids);
  EXPECT_EQ(all.usage.image_tokens, 10);
}

TEST_F(ServiceImages, what_waits_for_pictures_is_under_way_when_new_requests_are_refused) {
  FakeImages fake;
  ServiceOptions options;
  options.engine.runner.dtype = "float32";
  options.image_tools = fake.tools();
  const auto service = Service::open(open_checkpoint(kSeeing).value(), options).value();
  std::promise<bool> submitted;
  std::future<HeardAll> answer;
  ChatRequest chat = asks({"1x5"}, "x");
  const auto done = [&](LoadedImages loaded) {
    chat.generate.images = std::move(loaded.images);
    chat.generate.arrived = std::chrono::steady_clock::now() - std::chrono::seconds(100);
    auto recorder = std::make_unique<Recorder>(1);
    answer = recorder->result();
    submitted.set_value(service->chat(chat, std::move(recorder)).ok());
  };
  ASSERT_TRUE(service->load_images({.sources = {{.reference = "https://slow/1x5"}}}, done).ok());
  fake.slow.wait_for(1);
  service->refuse_new();
  EXPECT_FALSE(service->wait_idle(0));
  EXPECT_EQ(
      service->load_images({.sources = {{.reference = "data:1x1"}}}, [](const LoadedImages&) {}).error().code,
      ErrorCode::kStopped);
  fake.slow.open();
  ASSERT_TRUE(submitted.get_future().get());
  EXPECT_EQ(answer.get().usage.image_tokens, 5);
  service->engine().drain();
  EXPECT_THAT(service->expose_metrics(),
              testing::ContainsRegex("time_to_first_token_seconds_sum[^ ]* 1[0-9][0-9]"))
      << "from when it came";
  EXPECT_TRUE(service->wait_idle(60));
}

TEST_F(ServiceImages, fewer_soft_tokens_may_be_the_most) {
  ServiceOptions options;
  options.max_soft_tokens = 100;
  options.image_tools = fake_->tools();
  EXPECT_THAT(Service::open(open_checkpoint(kSeeing).value(), options).error().message,
              HasSubstr("70, 140, 280, 560 or 1120"));
  options.max_soft_tokens = 140;
  const auto service = Service::open(open_checkpoint(kSeeing).value(), options).value();
  EXPECT_EQ(service->engine().spec().vision->prep.max_soft_tokens, 140);
}

TEST(ServiceWithoutVision, refuses_pictures) {
  const auto service = serve(kBard);
  EXPECT_EQ(service->images(), nullptr);
  EXPECT_EQ(service->load_images({.sources = {{.bytes = "1x1"}}}, [](const LoadedImages&) {}).error().message,
            kReadsTextOnly);
  GenerateRequest request{.prompt = {5}, .images = {std::make_shared<ImagePatches>()}, .max_tokens = 1};
  EXPECT_EQ(hear(*service, request).error().message, kReadsTextOnly);
  ChatRequest chat;
  chat.messages = OrderedJson::parse(R"([{"role": "user", "content": [{"type": "image", "image": 0}]}])");
  EXPECT_EQ(hear(*service, chat).error().message, kReadsTextOnly);
}

}  // namespace
}  // namespace heed
