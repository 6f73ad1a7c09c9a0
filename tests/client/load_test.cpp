#include "client/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "tests/client/fake_server.h"

namespace heed {
namespace {

std::string event(const OrderedJson& json) { return "data: " + to_text(json) + "\n\n"; }
std::string text_event(const std::string& text) {
  return event({{"choices", {{{"index", 0}, {"text", text}, {"finish_reason", nullptr}}}}});
}

// Answers as a completions endpoint does: as many pieces as max_tokens says; what is no good request gets
// 400.
void serve_completion(FakeConnection& connection) {
  const std::string request = connection.read_request();
  const auto body =
      parse_json(request.substr(std::min(request.size(), request.find("\r\n\r\n") + 4)), "body");
  const bool good = request.starts_with("POST /v1/completions ") && body.ok() && body->is_object() &&
                    body->contains("prompt") && (*body)["model"] == "m" && (*body)["temperature"] == 0 &&
                    (*body)["max_tokens"] > 0 && !body->contains("n");
  if (!good) return connection.reply(400, R"({"error": {"message": "no good"}})");
  connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  const int tokens = (*body)["max_tokens"].get<int>();
  for (int i = 0; i < tokens; ++i) {
    if (!connection.send_chunk(text_event("x"))) return;
  }
  connection.send_chunk(event({{"choices", {{{"text", ""}, {"finish_reason", "length"}}}}}));
  connection.send_chunk(
      event({{"choices", OrderedJson::array()},
             {"usage", {{"prompt_tokens", (*body)["prompt"].size()}, {"completion_tokens", tokens}}}}));
  connection.send_chunk("data: [DONE]\n\n");
  connection.send("0\r\n\r\n");
}

LoadOptions options_for(int64_t num_prompts) {
  LoadOptions options{.model = "m", .num_prompts = num_prompts};
  options.body["temperature"] = 0;
  return options;
}

LoadResult load(const FakeServer& server, const LoadOptions& options, int output_tokens = 6) {
  const auto client = HttpClient::open(*parse_url(server.url()), {}).value();
  const RandomPrompts random{.input_tokens = 8, .output_tokens = output_tokens, .vocabulary = 50};
  return run_load(*client, options, [&](int64_t number) { return random_prompt(random, number); });
}

int count(const LoadResult& result, OutcomeKind kind) {
  return static_cast<int>(std::count_if(result.outcomes.begin(), result.outcomes.end(),
                                        [&](const Outcome& outcome) { return outcome.kind == kind; }));
}

// One answer, sent as given; what became of it.
Outcome outcome_of(const std::string& answer, const std::string& endpoint = "/v1/completions") {
  FakeServer server([&](FakeConnection& connection) {
    connection.read_request();
    connection.reply(200, answer);
  });
  LoadOptions options = options_for(1);
  options.endpoint = endpoint;
  options.keep_text = true;
  return load(server, options).outcomes.at(0);
}

TEST(Load, every_request_is_answered_and_counted) {
  FakeServer server(serve_completion);
  LoadOptions options = options_for(60);
  options.max_concurrency = 7;
  options.keep_text = true;
  const LoadResult result = load(server, options);
  ASSERT_EQ(result.outcomes.size(), 60);
  EXPECT_EQ(server.num_connections(), 60);
  for (const Outcome& o : result.outcomes) {
    ASSERT_EQ(o.kind, OutcomeKind::kCompleted) << o.error;
    EXPECT_EQ(o.prompt_tokens, 8);
    EXPECT_EQ(o.output_tokens, 6);
    EXPECT_EQ(o.text, "xxxxxx");
    EXPECT_EQ(o.itls.size(), 5);  // the final event holds no token
    EXPECT_GT(o.ttft, 0);
    EXPECT_GE(o.latency, o.ttft);
    EXPECT_LE(o.start + o.latency, result.duration);
  }
}

TEST(Load, no_more_run_at_once_than_allowed) {
  std::atomic<int> running{0}, most{0};
  FakeServer server([&](FakeConnection& connection) {
    const int now = ++running;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    connection.read_request();
    --running;  // before the answer: the next one comes after it
    connection.reply(200, text_event("x") + "data: [DONE]\n\n");
  });
  LoadOptions options = options_for(40);
  options.max_concurrency = 3;
  EXPECT_EQ(count(load(server, options), OutcomeKind::kCompleted), 40);
  EXPECT_LE(most, 3);
}

TEST(Load, what_is_no_whole_answer_is_a_failure_that_says_why) {
  const std::string end = "data: [DONE]\n\n";
  const std::pair<std::string, std::string> cases[] = {
      {text_event("x"), "without [DONE]"},
      {end, "no choices"},
      {"data: {nonsense\n\n" + end, "event: "},
      {event({{"error", {{"message", "it\nbroke"}}}}) + end, "it broke"},
      {event({{"choices", 3}}) + end, "no choices"},
      {event({{"usage", 3}, {"choices", {3}}}) + "data: 17\n\n", "without [DONE]"}};
  for (const auto& [answer, why] : cases) {
    const Outcome outcome = outcome_of(answer);
    EXPECT_EQ(outcome.kind, OutcomeKind::kFailed) << answer;
    EXPECT_NE(outcome.error.find(why), std::string::npos) << outcome.error;
  }
  FakeServer server([&](FakeConnection& connection) {
    connection.read_request();
    connection.reply(503, R"({"error": {"message": "busy"}})");
  });
  EXPECT_EQ(load(server, options_for(1)).outcomes.at(0).error, "HTTP 503: busy");
}

TEST(Load, an_answer_without_text_or_without_usage_is_one_all_the_same) {
  const Outcome empty = outcome_of(
      event({{"choices", {{{"text", ""}, {"finish_reason", "stop"}}}}}) +
      event({{"choices", OrderedJson::array()}, {"usage", {{"completion_tokens", 1}}}}) + "data: [DONE]\n\n");
  EXPECT_EQ(empty.kind, OutcomeKind::kCompleted) << empty.error;
  EXPECT_GT(empty.ttft, 0);
  EXPECT_EQ(empty.output_tokens, 1);
  const Outcome no_usage = outcome_of(text_event("a") + text_event("b") + "data: [DONE]\n\n");
  EXPECT_EQ(no_usage.output_tokens, 2);
  EXPECT_EQ(no_usage.prompt_tokens, 8);
}

TEST(Load, a_chats_role_is_no_token) {
  const auto delta = [](const OrderedJson& value) {
    return event({{"choices", {{{"delta", value}, {"finish_reason", nullptr}}}}});
  };
  const Outcome outcome =
      outcome_of(delta({{"role", "assistant"}, {"content", ""}}) + delta({{"reasoning_content", "h"}}) +
                     delta({{"content", "a"}}) + delta({{"content", "b"}}) + "data: [DONE]\n\n",
                 "/v1/chat/completions");
  EXPECT_EQ(outcome.kind, OutcomeKind::kCompleted) << outcome.error;
  EXPECT_EQ(outcome.text, "ab");
  EXPECT_EQ(outcome.output_tokens, 3);
  EXPECT_EQ(outcome.itls.size(), 2);
}

TEST(Load, abuse_is_counted_apart_from_failures) {
  FakeServer server(serve_completion);
  LoadOptions options = options_for(300);
  options.max_concurrency = 16;
  options.disconnect_fraction = 0.3;
  options.malformed_fraction = 0.2;
  options.seed = 5;
  const LoadResult result = load(server, options, 50);
  for (const Outcome& o : result.outcomes) EXPECT_NE(o.kind, OutcomeKind::kFailed) << o.error;
  EXPECT_GT(count(result, OutcomeKind::kDisconnected), 30);
  EXPECT_GT(count(result, OutcomeKind::kRefused), 30);
  EXPECT_GT(count(result, OutcomeKind::kCompleted), 100);
}

TEST(Load, a_server_that_takes_malformed_requests_or_breaks_on_them_fails) {
  for (const int status : {200, 500}) {
    FakeServer server([&](FakeConnection& connection) {
      connection.read_request();
      connection.reply(status, text_event("x") + "data: [DONE]\n\n");
    });
    LoadOptions options = options_for(40);
    options.malformed_fraction = 1;
    const LoadResult result = load(server, options);
    EXPECT_EQ(count(result, OutcomeKind::kFailed), 40);
    for (const Outcome& o : result.outcomes) {
      EXPECT_TRUE(o.error.starts_with("malformed (")) << o.error;
      EXPECT_TRUE(o.error.ends_with("HTTP " + std::to_string(status))) << o.error;
    }
  }
}

TEST(Load, each_malformed_request_is_another_and_says_what_is_wrong) {
  const LoadOptions options = options_for(1);
  const Prompt prompt{.ids = {1, 2}, .output_tokens = 3};
  const HttpRequest good = load_request(options, prompt);
  std::set<std::string> seen = {good.path + good.body + good.raw}, words;
  for (int kind = 0; kind < kMalformedKinds; ++kind) {
    const MalformedRequest bad = malformed_request(options, prompt, kind);
    EXPECT_TRUE(seen.insert(bad.request.path + bad.request.body + bad.request.raw).second) << bad.what;
    EXPECT_TRUE(words.insert(bad.what).second) << bad.what;
  }
}

TEST(Load, a_timed_load_goes_on_for_the_time_and_then_ends) {
  FakeServer server(serve_completion);
  for (const bool closed : {false, true}) {
    LoadOptions options = options_for(1);  // does not count
    options.seconds = 0.3;
    options.max_concurrency = 4;
    if (!closed) options.request_rate = 200;
    const LoadResult result = load(server, options, 2);
    EXPECT_GE(result.duration, 0.2);
    EXPECT_GT(result.outcomes.size(), 4);
    EXPECT_EQ(count(result, OutcomeKind::kCompleted), static_cast<int>(result.outcomes.size()));
    for (const Outcome& o : result.outcomes) EXPECT_LE(o.start, 0.35);
  }
}

TEST(Load, gaps_between_arrivals_have_the_rate_and_the_burstiness_asked_for) {
  for (const double burstiness : {0.25, 1.0, 4.0}) {
    const std::vector<double> gaps = arrival_gaps(20000, 50, burstiness, 3);
    double total = 0, squares = 0;
    for (const double gap : gaps) total += gap;
    const double mean = total / 20000;
    for (const double gap : gaps) squares += (gap - mean) * (gap - mean);
    EXPECT_NEAR(total, 400, 1e-6);
    // Of a gamma distribution: deviation over mean is 1 / sqrt(shape).
    EXPECT_NEAR(std::sqrt(squares / 20000) / mean, 1 / std::sqrt(burstiness), 0.08 / std::sqrt(burstiness));
  }
  EXPECT_EQ(arrival_gaps(5, 1, 1, 7), arrival_gaps(5, 1, 1, 7));
  EXPECT_NE(arrival_gaps(5, 1, 1, 7), arrival_gaps(5, 1, 1, 8));
}

TEST(Prompts, random_ones_depend_on_seed_and_number_only) {
  const RandomPrompts options{.input_tokens = 100,
                              .output_tokens = 20,
                              .range_ratio = 0.3,
                              .prefix_tokens = 10,
                              .vocabulary = 77,
                              .seed = 9};
  std::set<size_t> inputs;
  std::set<int> outputs;
  const Prompt first = random_prompt(options, 0);
  for (int i = 0; i < 300; ++i) {
    const Prompt prompt = random_prompt(options, i);
    inputs.insert(prompt.ids.size() - 10);
    outputs.insert(prompt.output_tokens);
    EXPECT_TRUE(std::equal(prompt.ids.begin(), prompt.ids.begin() + 10, first.ids.begin()));
    EXPECT_TRUE(std::all_of(prompt.ids.begin(), prompt.ids.end(), [](int id) { return id >= 0 && id < 77; }));
    EXPECT_EQ(random_prompt(options, i).ids, prompt.ids);
  }
  EXPECT_EQ(*inputs.begin(), 70);
  EXPECT_EQ(*inputs.rbegin(), 130);
  EXPECT_EQ(*outputs.begin(), 14);
  EXPECT_EQ(*outputs.rbegin(), 26);
  RandomPrompts other = options;
  other.seed = 10;
  EXPECT_NE(random_prompt(other, 0).ids, first.ids);
}

class PromptFiles : public testing::Test {
 protected:
  ~PromptFiles() override { std::filesystem::remove(path_); }
  std::string write(const std::string& text) {
    EXPECT_TRUE(write_file(path_, text).ok());
    return path_;
  }
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("heed_prompts_" + std::to_string(getpid()))).string();
};

TEST_F(PromptFiles, custom_files_have_a_prompt_on_each_line) {
  const auto prompts = read_custom_prompts(
      write("{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\", \"output_tokens\": 7}\r\n{\"prompt\":\"c\"}"), 5);
  ASSERT_TRUE(prompts.ok()) << prompts.error().message;
  ASSERT_EQ(prompts->size(), 3);
  EXPECT_EQ((*prompts)[0].text, "a");
  EXPECT_EQ((*prompts)[1].output_tokens, 7);
  EXPECT_EQ((*prompts)[2].output_tokens, 5);
  for (const char* wrong :
       {"", "\n", "{", "{\"prompt\": 3}\n", "7\n", "{\"prompt\":\"a\",\"output_tokens\":0}", "[]"}) {
    const auto result = read_custom_prompts(write(wrong), 5);
    ASSERT_FALSE(result.ok()) << wrong;
    EXPECT_NE(result.error().message.find(path_), std::string::npos) << result.error().message;
  }
}

TEST_F(PromptFiles, sharegpt_files_give_the_first_turns) {
  const auto prompts = read_sharegpt_prompts(
      write(R"([{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "A"}]},
                {"conversations": [{"value": "alone"}]},
                {"conversations": [{"value": "b"}, {"value": "B"}]}])"),
      5);
  ASSERT_TRUE(prompts.ok()) << prompts.error().message;
  ASSERT_EQ(prompts->size(), 2);
  EXPECT_EQ((*prompts)[1].text, "b");
  for (const char* wrong : {"[]", "[3]", R"([{"conversations": 3}])", R"([{"conversations": [1, 2]}])"}) {
    EXPECT_FALSE(read_sharegpt_prompts(write(wrong), 5).ok()) << wrong;
  }
}

TEST(Prompts, shuffling_keeps_all_and_depends_on_the_seed) {
  std::vector<Prompt> prompts(50);
  for (int i = 0; i < 50; ++i) prompts[i].output_tokens = i;
  const auto order = [&](uint64_t seed) {
    std::vector<Prompt> copy = prompts;
    shuffle(copy, seed);
    std::vector<int> numbers;
    for (const Prompt& prompt : copy) numbers.push_back(prompt.output_tokens);
    return numbers;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
  std::vector<int> sorted = order(1);
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(sorted[i], i);
}

}  // namespace
}  // namespace heed
