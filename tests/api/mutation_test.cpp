// Requests changed at random: whatever comes of them, each gets exactly one answer, and the service stays
// able to answer.
#include <random>

#include "tests/api/live.h"

namespace heed {
namespace {

const std::vector<std::string>& seeds() {
  static const std::vector<std::string> all = {
      R"({"messages":[{"role":"user","content":"Who?"}],"stream":true,"n":2,"logprobs":true,"top_logprobs":2})",
      R"({"messages":[{"role":"user","content":"Who?"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"required"})",
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}}})",
      R"({"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"x"}]})",
      R"({"prompt":"To be","echo":true,"logprobs":1,"max_tokens":0})",
      R"({"prompt":[[5,6],[7]],"stream":true,"stream_options":{"include_usage":true},"n":2,"stop":["a","b"]})",
      R"({"prompt":["a","b"],"logit_bias":{"5":-100},"bad_words":["a"],"allowed_token_ids":[5,6],"min_tokens":2})",
      R"({"prompt":"x","guided_regex":"(ab)+c?","temperature":1.5,"top_k":3,"top_p":0.5,"min_p":0.1,"seed":-1})",
      R"({"prompt":"x","structured_outputs":{"choice":["yes","no"]},"stop_token_ids":[9],"prompt_logprobs":1})"};
  return all;
}

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  // Exchanges, drops or swaps values anywhere in a document.
  void change(OrderedJson& value) {
    if ((value.is_object() || value.is_array()) && !value.empty() && below(12) > 0) {
      auto member = value.begin();
      std::advance(member, below(value.size()));
      if (below(8) > 0) return change(*member);
      value.erase(member);
      return;
    }
    static const std::vector<const char*> others = {"null",
                                                    "true",
                                                    "false",
                                                    "0",
                                                    "-1",
                                                    "1e9",
                                                    "1e308",
                                                    "-0.5",
                                                    "18446744073709551615",
                                                    "2",
                                                    "\"\"",
                                                    "\"x\"",
                                                    "\"\\u0000\\ud83d\\ude00\"",
                                                    "[]",
                                                    "{}",
                                                    "[[]]",
                                                    "[null]",
                                                    "{\"a\":{}}",
                                                    "[\"a\",1]",
                                                    "[0,4095]",
                                                    "\"<|end|>\"",
                                                    "{\"type\":\"text\"}"};
    value = parse_ordered_json(others[below(others.size())], "other").value();
  }
  std::string bytes(std::string text) {
    for (size_t i = below(4); i > 0 && !text.empty(); --i)
      text[below(text.size())] = static_cast<char>(below(256));
    return text.substr(0, below(text.size() + 1));
  }

 private:
  std::mt19937 random_;
};

class MutationTest : public LiveTest {};

TEST_F(MutationTest, any_request_gets_exactly_one_answer) {
  const uint32_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  Mutator mutator(seed);
  std::map<int, int> statuses;
  for (int round = 0; round < 400; ++round) {
    OrderedJson body = parse_ordered_json(seeds()[mutator.below(seeds().size())], "seed").value();
    for (size_t changes = mutator.below(3); changes > 0; --changes) mutator.change(body);
    if (body.is_object() && !body.contains("max_tokens")) body["max_tokens"] = 4;
    std::string text = to_text(body);
    if (mutator.below(10) == 0) text = mutator.bytes(text);
    const char* path =
        body.is_object() && body.contains("messages") ? "/v1/chat/completions" : "/v1/completions";
    const auto recorder =
        std::make_shared<Recorder>(mutator.below(5) == 0 ? static_cast<int>(mutator.below(4)) : INT32_MAX);
    ApiRequest request = request_of("POST", path, text);
    const auto exchange = api_->handle(std::move(request), recorder);
    if (exchange && mutator.below(5) == 0) exchange->cancel();
    recorder->wait();
    ++statuses[recorder->status];
    if (recorder->status == 400) {
      EXPECT_FALSE(recorder->json()["error"]["message"].get<std::string>().empty()) << text;
    }
    EXPECT_TRUE(recorder->status == 200 || recorder->status == 400 || recorder->status == 415 ||
                recorder->status == 404 || recorder->status == 503)
        << recorder->status << " " << text;
  }
  EXPECT_GT(statuses[200], 30);
  EXPECT_GT(statuses[400], 30);
  EXPECT_TRUE(service_->wait_idle(60));
  EXPECT_EQ(get(*api_, "/v1/models")->status, 200);
}

}  // namespace
}  // namespace heed
