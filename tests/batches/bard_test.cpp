// Batches on the bundled model: what they write is what the same requests get when they are asked directly.
#include <gtest/gtest.h>

#include <set>

#include "api/openai.h"
#include "batches/batch_runner.h"
#include "tests/batches/batch_server.h"

namespace heed {
namespace {

class BardBatch : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto checkpoint = open_checkpoint(std::string(HEED_SOURCE_DIR) + "/models/bard");
    CHECK(checkpoint.ok(), checkpoint.error().message);
    ServiceOptions options;
    options.model_name = "bard";
    options.engine.max_queue = 8;  // fewer than a batch runs at a time
    options.engine.max_sequences = 8;
    auto service = Service::open(*std::move(checkpoint), options);
    CHECK(service.ok(), service.error().message);
    service_ = *std::move(service);
    api_ = std::make_unique<Api>();
    add_openai_routes(*api_, *service_);
    api_->set_state(Api::State::kReady);
  }
  static void TearDownTestSuite() {
    service_.reset();
    api_.reset();
  }

  static Json request(int i) {
    Json body = {{"model", "bard"}, {"max_tokens", 8 + i % 5}, {"temperature", i % 2}, {"seed", i}};
    const std::string text = "Speak of the number " + std::to_string(i);
    if (i % 3 == 0) {
      body["prompt"] = text;
    } else {
      body["messages"] = Json::array({{{"role", "user"}, {"content", text}}});
    }
    return body;
  }
  static std::string url(int i) { return i % 3 == 0 ? "/v1/completions" : "/v1/chat/completions"; }
  static std::string line(int i) {
    return to_text(Json{{"custom_id", "r" + std::to_string(i)},
                        {"method", "POST"},
                        {"url", url(i)},
                        {"body", request(i)}}) +
           "\n";
  }
  static Json direct(int i) {
    auto responder = std::make_shared<PromisedReply>();
    auto reply = responder->promise.get_future();
    const auto exchange = api_->handle({.method = "POST",
                                        .path = url(i),
                                        .headers = {{"content-type", "application/json"}},
                                        .body = to_text(request(i))},
                                       responder);
    return reply.get().json();
  }
  static void expect_direct_answers(const std::string& text, int count) {
    const TemporaryFolder folder;
    write_bytes(folder.file("lines"), text);
    std::set<std::string> ids;
    for (const Json& result : read_lines(folder.file("lines"))) {
      const auto id = result.at("custom_id").get<std::string>();
      EXPECT_TRUE(ids.insert(id).second);
      ASSERT_EQ(result.at("response").at("status_code"), 200) << result;
      const Json expected = direct(std::stoi(id.substr(1)));
      EXPECT_EQ(result.at("response").at("body").at("choices"), expected.at("choices")) << id;
      EXPECT_EQ(result.at("response").at("body").at("usage").at("completion_tokens"),
                expected.at("usage").at("completion_tokens"));
    }
    EXPECT_EQ(std::ssize(ids), count);
  }

  static inline std::unique_ptr<Service> service_;
  static inline std::unique_ptr<Api> api_;
};

TEST_F(BardBatch, results_are_the_direct_answers_though_the_queue_is_short) {
  const TemporaryFolder folder;
  BatchJob job;
  job.input = folder.file("in");
  job.output = folder.file("out");
  job.errors = folder.file("errors");
  job.rules.priority = 1000;
  std::string input;
  for (int i = 0; i < 36; ++i) input += line(i);
  input += to_text(Json{{"custom_id", "bad"},
                        {"method", "POST"},
                        {"url", "/v1/completions"},
                        {"body", {{"prompt", "x"}, {"temperature", -1}}}});
  write_bytes(job.input, input);
  const auto outcome = run_batch(job, *api_);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  expect_direct_answers(read_bytes(job.output), 36);
  const auto errors = read_lines(job.errors);
  ASSERT_EQ(errors.size(), 1);
  EXPECT_EQ(errors[0].at("custom_id"), "bad");
  EXPECT_EQ(errors[0].at("response").at("status_code"), 400);
  EXPECT_EQ(errors[0].at("response").at("body").at("error").at("param"), "temperature");
}

TEST_F(BardBatch, a_batch_over_restarts_has_the_direct_answers) {
  const TemporaryFolder folder;
  std::string input;
  int count = 0;
  for (int i = 0; i < 36; ++i) {
    if (i % 3 == 0) continue;  // a batch has one endpoint
    input += line(i);
    ++count;
  }
  std::string id;
  {
    BatchServer server(folder.path, *api_, {.concurrency = 4, .priority = 1000});
    id = server.create(server.uploaded(input), "/v1/chat/completions").json().at("id");
    server.wait_status(id, "in_progress");
  }
  BatchServer server(folder.path, *api_, {.concurrency = 4, .priority = 1000});
  const Json batch = server.wait_status(id, "completed");
  EXPECT_EQ(batch.at("request_counts"), (Json{{"total", count}, {"completed", count}, {"failed", 0}}));
  expect_direct_answers(server.content(batch.at("output_file_id")), count);
}

}  // namespace
}  // namespace heed
