// An Api in front of a Service on the bundled model.
#pragma once
#include "api/openai.h"
#include "tests/api/recording.h"

namespace heed {

inline std::unique_ptr<Service> serve_bard(int max_queue = 4096, const std::string& tool_parser = "auto",
                                           const std::string& reasoning_parser = "auto") {
  Checkpoint checkpoint = open_checkpoint(std::string(HEED_SOURCE_DIR) + "/models/bard").value();
  ServiceOptions options;
  options.model_name = "bard";
  options.engine.runner.threads = 2;
  options.engine.max_queue = max_queue;
  options.tool_parser = tool_parser;
  options.reasoning_parser = reasoning_parser;
  return Service::open(std::move(checkpoint), options).value();
}

class LiveTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    service_ = serve_bard();
    api_ = std::make_unique<Api>();
    add_openai_routes(*api_, *service_);
    api_->set_state(Api::State::kReady);
  }
  static void TearDownTestSuite() {
    service_.reset();
    api_.reset();
  }

  // The answer's JSON, whose status must be 200.
  static OrderedJson answer(const std::string& path, const OrderedJson& body) {
    const auto recorder = post(*api_, path, body);
    EXPECT_EQ(recorder->status, 200) << recorder->body();
    return recorder->json();
  }
  static std::vector<OrderedJson> events(const std::string& path, OrderedJson body) {
    body["stream"] = true;
    const auto recorder = post(*api_, path, body);
    EXPECT_EQ(recorder->status, 200) << recorder->body();
    EXPECT_EQ(recorder->content_type, "text/event-stream; charset=utf-8");
    return events_of(recorder->body());
  }
  // The error object of an answer whose status must be this.
  static OrderedJson error(const std::string& path, const OrderedJson& body, int status = 400) {
    const auto recorder = post(*api_, path, body);
    EXPECT_EQ(recorder->status, status) << recorder->body();
    return recorder->json()["error"];
  }

  static inline std::unique_ptr<Service> service_;
  static inline std::unique_ptr<Api> api_;
};

}  // namespace heed
