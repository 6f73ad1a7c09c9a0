// Guessed tokens in an answer's usage, on the bundled model.
#include "api/openai.h"
#include "tests/api/recording.h"

namespace heed {
namespace {

class PredictionsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ServiceOptions options;
    options.model_name = "bard";
    options.engine.runner.threads = 2;
    options.engine.speculative = {.method = "suffix", .tokens = 6, .adaptive = false};
    service_ = Service::open(open_checkpoint(std::string(HEED_SOURCE_DIR) + "/models/bard").value(), options)
                   .value();
    api_ = std::make_unique<Api>();
    add_openai_routes(*api_, *service_);
    api_->set_state(Api::State::kReady);
  }
  static void TearDownTestSuite() {
    api_.reset();
    service_.reset();
  }

  // The usage of an answer, and what the engine has counted meanwhile.
  struct Told {
    OrderedJson usage;
    int64_t accepted = 0, rejected = 0;
  };
  static Told told(const std::string& path, OrderedJson body, bool asked = true) {
    if (asked) body["return_prediction_tokens"] = true;
    const EngineStats before = settled();
    const auto recorder = post(*api_, path, body);
    EXPECT_EQ(recorder->status, 200) << recorder->body();
    const EngineStats after = settled();
    const auto accepted = static_cast<int64_t>(after.accepted_tokens - before.accepted_tokens);
    const auto drafted = static_cast<int64_t>(after.draft_tokens - before.draft_tokens);
    const bool streams = body.contains("stream");
    OrderedJson usage = streams ? events_of(recorder->body()).back()["usage"] : recorder->json()["usage"];
    return {.usage = std::move(usage), .accepted = accepted, .rejected = drafted - accepted};
  }
  static EngineStats settled() {
    service_->engine().drain();
    return service_->engine().stats();
  }

  static inline std::unique_ptr<Service> service_;
  static inline std::unique_ptr<Api> api_;
};

void expect_counts(const OrderedJson& usage, int64_t accepted, int64_t rejected) {
  const OrderedJson& details = usage["completion_tokens_details"];
  EXPECT_EQ(details["accepted_prediction_tokens"], accepted);
  EXPECT_EQ(details["rejected_prediction_tokens"], rejected);
  EXPECT_GT(accepted, 0);
}

TEST_F(PredictionsTest, completions_and_chats_tell_what_the_engine_counts) {
  const OrderedJson completion = {{"prompt", "To be, or not to be, that is the question: to be, or not"},
                                  {"max_tokens", 60},
                                  {"temperature", 0},
                                  {"ignore_eos", true},
                                  {"n", 2}};
  OrderedJson chat = completion;
  chat.erase("prompt");
  const OrderedJson message = {{"role", "user"}, {"content", "Say it again, say it again!"}};
  chat["messages"] = OrderedJson::array({message});
  for (const auto& [path, body] :
       {std::pair("/v1/completions", completion), std::pair("/v1/chat/completions", chat)}) {
    SCOPED_TRACE(path);
    told(path, body);  // what it answered once, it guesses
    const Told whole = told(path, body);
    expect_counts(whole.usage, whole.accepted, whole.rejected);
    OrderedJson streamed = body;
    streamed["stream"] = true;
    streamed["stream_options"] = {{"include_usage", true}};
    const Told stream = told(path, streamed);
    expect_counts(stream.usage, stream.accepted, stream.rejected);
    EXPECT_FALSE(told(path, body, /*asked=*/false)
                     .usage["completion_tokens_details"]
                     .contains("accepted_prediction_tokens"));
  }
}

}  // namespace
}  // namespace heed
