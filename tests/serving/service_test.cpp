// A Service on the bundled model: what listeners hear of answers.
#include "serving/service.h"

#include "tests/serving/listening.h"

namespace heed {
namespace {

class ServiceTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { service_ = serve(kBard); }
  static void TearDownTestSuite() { service_.reset(); }

  static GenerateRequest request(const std::string& prompt, int max_tokens) {
    return {.prompt = service_->encode(prompt).value(),
            .sampling = {.temperature = 0},
            .max_tokens = max_tokens,
            .ignore_eos = true};
  }
  static inline std::unique_ptr<Service> service_;
};

using Kind = OutputFormat::Kind;

TEST_F(ServiceTest, pieces_put_together_are_the_decoded_tokens) {
  const HeardAll all = hear(*service_, request("To be, or not to be", 40)).value();
  const HeardChoice& choice = all.choices[0];
  EXPECT_EQ(choice.ids.size(), 40U);
  EXPECT_EQ(choice.text, service_->decode(choice.ids, true));
  EXPECT_GT(choice.pieces.size(), 10U);
  EXPECT_EQ(choice.end, EndReason::kLength);
  EXPECT_EQ(all.usage.generated_tokens, 40);
  EXPECT_EQ(all.usage.prompt_tokens, static_cast<int>(request("To be, or not to be", 1).prompt.size()));
}

TEST_F(ServiceTest, a_stop_string_ends_the_answer_and_never_shows) {
  const std::string whole = hear(*service_, request("To be, or not to be", 40)).value().choices[0].text;
  const std::string stop = whole.substr(20, 5);
  GenerateRequest stopping = request("To be, or not to be", 40);
  stopping.stops = {"never there", stop};
  const HeardChoice choice = hear(*service_, stopping).value().choices[0];
  EXPECT_EQ(choice.text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(choice.end, EndReason::kStop);
  EXPECT_EQ(choice.stop_string, stop);
  EXPECT_LT(choice.ids.size(), 40U);

  stopping.include_stop = true;
  EXPECT_EQ(hear(*service_, stopping).value().choices[0].text,
            whole.substr(0, whole.find(stop) + stop.size()));
}

TEST_F(ServiceTest, a_stop_token_of_the_request_is_named_and_has_no_text) {
  const HeardChoice whole = hear(*service_, request("To be, or not to be", 20)).value().choices[0];
  GenerateRequest stopping = request("To be, or not to be", 20);
  stopping.stop_ids = {whole.ids[5]};
  const HeardChoice choice = hear(*service_, stopping).value().choices[0];
  EXPECT_EQ(choice.stop_id, whole.ids[5]);
  EXPECT_TRUE(whole.text.starts_with(choice.text));
  EXPECT_EQ(choice.text, service_->decode(std::span(choice.ids).first(choice.ids.size() - 1), true));
  stopping.include_stop = true;
  EXPECT_EQ(hear(*service_, stopping).value().choices[0].text, service_->decode(choice.ids, true));
}

TEST_F(ServiceTest, choices_differ_by_seed_and_repeat_with_it) {
  GenerateRequest three = request("My lord,", 16);
  three.sampling.temperature = 1;
  three.sampling.seed = 11;
  three.has_seed = true;
  three.n = 3;
  const HeardAll first = hear(*service_, three).value();
  const HeardAll again = hear(*service_, three).value();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(first.choices[i].ids, again.choices[i].ids);
  EXPECT_NE(first.choices[0].ids, first.choices[1].ids);
  EXPECT_EQ(first.usage.generated_tokens, 48);
  three.n = 1;
  three.sampling.seed = 13;
  EXPECT_EQ(hear(*service_, three).value().choices[0].ids, first.choices[2].ids);
}

TEST_F(ServiceTest, logprobs_come_one_a_token_with_the_likeliest_in_order) {
  GenerateRequest asking = request("My lord,", 8);
  asking.logprobs = 3;
  asking.prompt_logprobs = 2;
  const HeardChoice choice = hear(*service_, asking).value().choices[0];
  ASSERT_EQ(choice.logprobs.size(), 8U);
  std::string text;
  for (const TokenLogprob& token : choice.logprobs) {
    text += token.bytes;
    ASSERT_EQ(token.top.size(), 3U);
    EXPECT_EQ(token.id, token.top[0].id) << "greedy takes the likeliest";
    EXPECT_GE(token.top[0].logprob, token.top[1].logprob);
    EXPECT_GE(token.top[1].logprob, token.top[2].logprob);
  }
  EXPECT_EQ(text, choice.text);
  EXPECT_EQ(choice.prompt_logprobs.size(), asking.prompt.size() - 1);
}

TEST_F(ServiceTest, answers_keep_to_their_format_at_any_temperature) {
  GenerateRequest asking = request("Say something.", 400);
  asking.ignore_eos = false;
  asking.sampling.temperature = 1.5;
  asking.has_seed = true;
  int ended = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    asking.sampling.seed = seed;
    asking.format = {.kind = Kind::kJsonSchema,
                     .schema = OrderedJson::parse(R"({"type": "object", "additionalProperties": false,
                         "properties": {"name": {"type": "string", "maxLength": 9}, "age": {"type": "integer",
                         "minimum": 0, "maximum": 99}}, "required": ["name", "age"]})")};
    const HeardChoice json = hear(*service_, asking).value().choices[0];
    if (json.end == EndReason::kStop) {
      const Json value = parse_json(json.text, "answer").value();
      EXPECT_LE(value.at("age").get<int>(), 99) << json.text;
      ++ended;
    }
    asking.format = {.kind = Kind::kRegex, .text = "(ab|cd){2,4}!"};
    EXPECT_EQ(hear(*service_, asking).value().choices[0].text.back(), '!');
    asking.format = {.kind = Kind::kChoice, .choices = {"yea", "nay"}};
    const std::string chosen = hear(*service_, asking).value().choices[0].text;
    EXPECT_TRUE(chosen == "yea" || chosen == "nay") << chosen;
  }
  EXPECT_GE(ended, 8);
}

TEST_F(ServiceTest, restrictions_that_leave_nothing_end_the_answer) {
  for (const float temperature : {0.0F, 1.0F}) {
    GenerateRequest asking = request("x", 8);
    asking.sampling.temperature = temperature;
    asking.sampling.allowed_ids = {5};
    asking.logprobs = 2;
    asking.format = {.kind = Kind::kChoice, .choices = {"yes", "no"}};
    const HeardChoice choice = hear(*service_, asking).value().choices[0];
    EXPECT_EQ(choice.end, EndReason::kStop);
    EXPECT_TRUE(choice.ids.empty());
  }
}

TEST_F(ServiceTest, a_hostile_schema_costs_one_error) {
  GenerateRequest asking = request("x", 4);
  asking.format = {.kind = Kind::kRegex, .text = "((a{1,900}){1,900}){1,900}"};
  EXPECT_FALSE(hear(*service_, asking).ok());
  asking.format = {.kind = Kind::kRegex, .text = std::string(1 << 20, 'a')};
  EXPECT_EQ(hear(*service_, asking).error().code, ErrorCode::kLimit);
  EXPECT_TRUE(hear(*service_, request("x", 4)).ok());
}

TEST_F(ServiceTest, limits_are_errors_that_name_the_field) {
  const auto refused = [&](auto change) {
    GenerateRequest asking = request("My lord,", 4);
    change(asking);
    const auto result = hear(*service_, std::move(asking));
    return result.ok() ? std::string("accepted") : result.error().message;
  };
  EXPECT_THAT(refused([](auto& r) { r.n = 0; }), testing::HasSubstr("n is 0"));
  EXPECT_THAT(refused([](auto& r) { r.n = 1 << 20; }), testing::HasSubstr("n is 1048576"));
  EXPECT_THAT(refused([](auto& r) { r.logprobs = 21; }), testing::HasSubstr("logprobs is 21"));
  EXPECT_THAT(refused([](auto& r) { r.stops.assign(65, "x"); }), testing::HasSubstr("stop strings"));
  EXPECT_THAT(refused([](auto& r) { r.max_tokens = 0; }), testing::HasSubstr("max_tokens is 0"));
  EXPECT_THAT(refused([](auto& r) { r.max_tokens = 1 << 30; }), testing::HasSubstr("maximum context length"));
  EXPECT_THAT(refused([](auto& r) { r.prompt.clear(); }), testing::HasSubstr("no tokens"));
  EXPECT_THAT(refused([](auto& r) { r.prompt = {-1}; }), testing::HasSubstr("-1"));
  EXPECT_THAT(refused([](auto& r) { r.sampling.top_p = 2; }), testing::HasSubstr("top_p"));
}

TEST_F(ServiceTest, a_cancelled_answer_ends_as_cancelled_and_gives_its_pages_back) {
  GenerateRequest endless = request("My lord,", 900);
  endless.ignore_eos = true;
  endless.n = 2;
  auto recorder = std::make_unique<Recorder>(2);
  auto result = recorder->result();
  const Ticket ticket = service_->generate(std::move(endless), std::move(recorder)).value();
  service_->cancel(ticket);
  const HeardAll all = result.get();
  for (const HeardChoice& choice : all.choices) EXPECT_EQ(choice.end, EndReason::kCancelled);
  ASSERT_TRUE(service_->wait_idle(60));
  service_->engine().drain();
  EXPECT_EQ(service_->engine().stats().held_pages, 0);
}

TEST_F(ServiceTest, a_chat_is_the_template_of_its_messages) {
  ChatRequest chat{.messages = OrderedJson::parse(R"([{"role": "user", "content": "Who are you?"}])")};
  chat.generate.sampling.temperature = 0;
  chat.generate.max_tokens = 12;
  const std::vector<int> prompt = service_->chat_tokens(chat).value();
  const HeardAll answered = hear(*service_, chat).value();
  EXPECT_EQ(answered.usage.prompt_tokens, static_cast<int>(prompt.size()));
  EXPECT_EQ(answered.choices[0].content, answered.choices[0].text);
  EXPECT_FALSE(answered.choices[0].content.empty());

  GenerateRequest same{.prompt = prompt, .sampling = {.temperature = 0}, .max_tokens = 12};
  EXPECT_EQ(hear(*service_, same).value().choices[0].ids, answered.choices[0].ids);

  chat.add_generation_prompt = false;
  chat.continue_final_message = true;
  chat.messages.push_back({{"role", "assistant"}, {"content", "I am the"}});
  const std::string continued = service_->decode(service_->chat_tokens(chat).value());
  EXPECT_TRUE(continued.ends_with("I am the")) << continued;
}

TEST_F(ServiceTest, a_required_tool_call_names_the_tool_and_has_its_arguments) {
  ChatRequest chat{.messages = OrderedJson::parse(R"([{"role": "user", "content": "Weather?"}])")};
  chat.tools = OrderedJson::parse(R"([{"type": "function", "function": {"name": "weather", "parameters":
      {"type": "object", "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 5}},
       "required": ["days"], "additionalProperties": false}}}])");
  chat.tool_choice = ToolChoice::kNamed;
  chat.tool_name = "weather";
  chat.generate.sampling.temperature = 1.5;
  chat.generate.max_tokens = 200;
  const HeardChoice choice = hear(*service_, chat).value().choices[0];
  ASSERT_EQ(choice.end, EndReason::kToolCalls) << choice.text;
  ASSERT_EQ(choice.calls.size(), 1U) << choice.text;
  EXPECT_EQ(choice.calls.at(0).first, "weather");
  const Json arguments = parse_json(choice.calls.at(0).second, "arguments").value();
  EXPECT_GE(arguments.at("days").get<int>(), 1);
}

TEST_F(ServiceTest, salted_prompts_share_no_prefix) {
  GenerateRequest asking = request(std::string(400, 'a') + " salt", 2);
  asking.cache_salt = "one";
  EXPECT_EQ(hear(*service_, asking).value().usage.cached_tokens, 0);
  EXPECT_GT(hear(*service_, asking).value().usage.cached_tokens, 0);
  asking.cache_salt = "two";
  EXPECT_EQ(hear(*service_, asking).value().usage.cached_tokens, 0);
}

TEST_F(ServiceTest, metrics_count_what_was_answered) {
  const auto value = [&](const std::string& series) {
    const std::string text = service_->expose_metrics();
    const size_t at = text.find("\n" + series);
    EXPECT_NE(at, std::string::npos) << series;
    return at == std::string::npos ? -1 : std::stod(text.substr(text.find(' ', at) + 1));
  };
  service_->engine().drain();  // the tests before have been counted
  const double before = value("heed:generation_tokens_total{");
  const double decoded_before = value("heed:request_decode_time_seconds_count{");
  ASSERT_TRUE(hear(*service_, request("Count me", 7)).ok());
  service_->engine().drain();
  EXPECT_EQ(value("heed:generation_tokens_total{") - before, 7);
  EXPECT_GE(value("heed:iteration_tokens_total_count{"), 7);
  // All prompts so far and all that was sampled went through a step.
  EXPECT_EQ(value("heed:iteration_tokens_total_sum{"),
            value("heed:prompt_tokens_total{") + value("heed:generation_tokens_total{"));
  // The time of a request is that of its parts.
  EXPECT_EQ(value("heed:request_decode_time_seconds_count{"), decoded_before + 1);
  const double inference = value("heed:request_inference_time_seconds_sum{");
  EXPECT_GT(inference, 0);
  EXPECT_NEAR(
      value("heed:request_prefill_time_seconds_sum{") + value("heed:request_decode_time_seconds_sum{"),
      inference, 1e-6);
  EXPECT_LE(value("heed:request_queue_time_seconds_sum{") + inference,
            value("heed:e2e_request_latency_seconds_sum{"));
  EXPECT_GT(value("process_resident_memory_bytes "), 1 << 20);
  EXPECT_EQ(value("heed:num_requests_running{"), 0);
}

TEST(Service, refuses_new_requests_once_told_to_and_ends_the_others) {
  const auto service = serve(kBard);
  const GenerateRequest asking{.prompt = {1, 2, 3}, .max_tokens = 64, .ignore_eos = true};
  auto recorder = std::make_unique<Recorder>(1);
  auto result = recorder->result();
  ASSERT_TRUE(service->generate(asking, std::move(recorder)).ok());
  service->refuse_new();
  EXPECT_EQ(hear(*service, asking).error().code, ErrorCode::kStopped);
  EXPECT_EQ(result.get().choices[0].end, EndReason::kLength);
  EXPECT_TRUE(service->wait_idle(60));
}

TEST(Service, a_full_queue_is_told_as_busy_and_the_listener_hears_nothing) {
  const auto service = serve(kBard, {.max_sequences = 1, .max_queue = 2});
  GenerateRequest many{.prompt = {1, 2, 3}, .n = 100, .max_tokens = 500, .ignore_eos = true};
  const auto result = hear(*service, many);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kBusy);
  EXPECT_TRUE(service->wait_idle(60));
}

}  // namespace
}  // namespace heed
