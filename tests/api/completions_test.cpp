// /v1/completions, /tokenize and what is around them, on the bundled model.
#include "tests/api/live.h"

namespace heed::completions_test {
namespace {

const std::string kPath = "/v1/completions";

class CompletionsTest : public LiveTest {
 protected:
  static OrderedJson greedy(const OrderedJson& prompt, int max_tokens = 12) {
    return {{"model", "bard"},
            {"prompt", prompt},
            {"max_tokens", max_tokens},
            {"temperature", 0},
            {"ignore_eos", true}};
  }
  static OrderedJson with(OrderedJson body, const OrderedJson& more) {
    body.update(more);
    return body;
  }
  static std::string text(const OrderedJson& body) { return answer(kPath, body)["choices"][0]["text"]; }
};

TEST_F(CompletionsTest, greedy_answers_are_the_engines_tokens) {
  const Json goldens = read_json(std::string(HEED_SOURCE_DIR) + "/models/bard/golden.json").value();
  for (const Json& golden : goldens) {
    if (!golden.contains("greedy")) continue;
    const auto want = golden["greedy"].get<std::vector<int>>();
    const OrderedJson prompt = golden["prompt_ids"].get<std::vector<int>>();
    OrderedJson body = with(greedy(prompt, static_cast<int>(want.size())), {{"return_token_ids", true}});
    const OrderedJson got = answer(kPath, body);
    EXPECT_EQ(got["choices"][0]["token_ids"].get<std::vector<int>>(), want);
    EXPECT_EQ(got["choices"][0]["text"], service_->decode(want, true));
    EXPECT_EQ(got["choices"][0]["finish_reason"], "length");
    EXPECT_EQ(got["usage"]["completion_tokens"], want.size());
    EXPECT_EQ(got["usage"]["prompt_tokens"], prompt.size());
  }
}

TEST_F(CompletionsTest, a_stream_put_together_is_the_whole_answer) {
  const OrderedJson body =
      with(greedy("To be, or not to be", 40), {{"logprobs", 3}, {"return_token_ids", true}});
  const OrderedJson whole = answer(kPath, body)["choices"][0];
  const auto pieces = events(kPath, with(body, {{"stream_options", {{"include_usage", true}}}}));
  ASSERT_GT(pieces.size(), 20U);
  std::string text;
  OrderedJson logprobs = {{"text_offset", OrderedJson::array()},
                          {"token_logprobs", OrderedJson::array()},
                          {"tokens", OrderedJson::array()},
                          {"top_logprobs", OrderedJson::array()}};
  std::vector<int> ids;
  for (size_t i = 0; i + 1 < pieces.size(); ++i) {
    const OrderedJson& choice = pieces[i]["choices"][0];
    text += choice["text"].get<std::string>();
    for (const OrderedJson& id : choice["token_ids"]) ids.push_back(id.get<int>());
    if (!choice["logprobs"].is_object()) continue;
    for (const auto& item : choice["logprobs"].items())
      for (const OrderedJson& value : item.value()) logprobs[item.key()].push_back(value);
  }
  EXPECT_EQ(text, whole["text"]);
  EXPECT_EQ(ids, whole["token_ids"].get<std::vector<int>>());
  EXPECT_EQ(logprobs, whole["logprobs"]);
  EXPECT_EQ(pieces[pieces.size() - 2]["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(pieces.back()["usage"]["completion_tokens"], 40);
}

TEST_F(CompletionsTest, prompts_come_as_text_or_ids_or_lists_of_either) {
  const std::vector<int> first = service_->encode("To be").value();
  const std::vector<int> second = service_->encode("My lord").value();
  const std::string one = text(greedy("To be"));
  const std::string two = text(greedy("My lord"));
  EXPECT_EQ(text(greedy(first)), one);
  for (const OrderedJson& prompt :
       {OrderedJson::array({"To be", "My lord"}), OrderedJson::array({first, second}),
        OrderedJson::array({first, "My lord"})}) {
    const OrderedJson got = answer(kPath, greedy(prompt));
    ASSERT_EQ(got["choices"].size(), 2U);
    EXPECT_EQ(got["choices"][0]["text"], one);
    EXPECT_EQ(got["choices"][1]["text"], two);
    EXPECT_EQ(got["choices"][1]["index"], 1);
    EXPECT_EQ(got["usage"]["prompt_tokens"], first.size() + second.size());
  }
  for (const OrderedJson& wrong : {OrderedJson(5), OrderedJson::array(), OrderedJson::array({true}),
                                   OrderedJson::array({"a", 5}), OrderedJson::object()})
    EXPECT_TRUE(error(kPath, greedy(wrong))["param"].get<std::string>().starts_with("prompt")) << wrong;
}

TEST_F(CompletionsTest, seeds_repeat_and_choices_differ) {
  const OrderedJson body = {
      {"prompt", "My lord,"}, {"max_tokens", 12}, {"temperature", 1}, {"seed", -5}, {"n", 3}};
  const OrderedJson first = answer(kPath, body)["choices"];
  ASSERT_EQ(first.size(), 3U);
  EXPECT_EQ(answer(kPath, body)["choices"], first);
  EXPECT_NE(first[0]["text"], first[1]["text"]);
  EXPECT_NE(text(with(body, {{"seed", 6}})), first[0]["text"]);
}

TEST_F(CompletionsTest, stop_strings_end_the_text_and_are_named) {
  const std::string whole = text(greedy("To be, or not to be", 30));
  const std::string stop = whole.substr(10, 4);
  for (const OrderedJson& form : {OrderedJson(stop), OrderedJson::array({"nowhere", stop})}) {
    const OrderedJson choice =
        answer(kPath, with(greedy("To be, or not to be", 30), {{"stop", form}}))["choices"][0];
    EXPECT_EQ(choice["text"], whole.substr(0, whole.find(stop)));
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_EQ(choice["stop_reason"], stop);
  }
  const OrderedJson kept =
      with(greedy("To be, or not to be", 30), {{"stop", stop}, {"include_stop_str_in_output", true}});
  EXPECT_EQ(text(kept), whole.substr(0, whole.find(stop) + stop.size()));
  std::string streamed;
  for (const OrderedJson& event : events(kPath, with(greedy("To be, or not to be", 30), {{"stop", stop}})))
    streamed += event["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(streamed, whole.substr(0, whole.find(stop)));
}

TEST_F(CompletionsTest, stop_tokens_and_allowed_tokens_are_obeyed) {
  const OrderedJson ids =
      answer(kPath, with(greedy("To be"), {{"return_token_ids", true}}))["choices"][0]["token_ids"];
  const OrderedJson stopped =
      answer(kPath, with(greedy("To be"), {{"stop_token_ids", {ids[3]}}}))["choices"][0];
  EXPECT_EQ(stopped["stop_reason"], ids[3]);
  EXPECT_EQ(stopped["finish_reason"], "stop");
  const OrderedJson allowed =
      with(greedy("To be"), {{"allowed_token_ids", {ids[0], ids[1]}}, {"return_token_ids", true}});
  const OrderedJson obeyed = answer(kPath, allowed)["choices"][0]["token_ids"];
  for (const OrderedJson& id : obeyed) EXPECT_TRUE(id == ids[0] || id == ids[1]);
  const OrderedJson biased =
      with(greedy("To be"), {{"logit_bias", {{to_text(ids[0]), -100}}}, {"return_token_ids", true}});
  EXPECT_NE(answer(kPath, biased)["choices"][0]["token_ids"][0], ids[0]);
  const OrderedJson bad = with(
      greedy("To be"),
      {{"bad_words", {service_->decode(std::vector<int>{ids[0].get<int>()})}}, {"return_token_ids", true}});
  EXPECT_NE(answer(kPath, bad)["choices"][0]["token_ids"][0], ids[0]);
}

TEST_F(CompletionsTest, logprobs_are_those_of_the_tokens) {
  const OrderedJson choice =
      answer(kPath, with(greedy("To be"), {{"logprobs", 2}, {"skip_special_tokens", false}}))["choices"][0];
  const OrderedJson& logprobs = choice["logprobs"];
  std::string joined;
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(logprobs["text_offset"][i], joined.size());
    joined += logprobs["tokens"][i].get<std::string>();
    const OrderedJson& top = logprobs["top_logprobs"][i];
    EXPECT_EQ(top.size(), 2U) << "the chosen one is the likeliest";
    EXPECT_EQ(top[logprobs["tokens"][i].get<std::string>()], logprobs["token_logprobs"][i]);
    EXPECT_LE(logprobs["token_logprobs"][i], 0.0);
  }
  EXPECT_EQ(joined, choice["text"]);
}

TEST_F(CompletionsTest, echo_tells_the_prompt_and_how_likely_it_was) {
  const std::string prompt = "To be, or not";
  const std::string alone = text(greedy(prompt, 5));
  const OrderedJson echoed =
      answer(kPath, with(greedy(prompt, 5), {{"echo", true}, {"logprobs", 1}}))["choices"][0];
  EXPECT_EQ(echoed["text"], prompt + alone);
  const auto ids = service_->encode(prompt).value();
  EXPECT_EQ(echoed["logprobs"]["tokens"].size(), ids.size() + 5);
  EXPECT_EQ(echoed["logprobs"]["token_logprobs"][0], nullptr);

  const OrderedJson scored =
      answer(kPath, with(greedy(prompt, 0), {{"echo", true}, {"logprobs", 1}, {"max_tokens", 0}}));
  EXPECT_EQ(scored["choices"][0]["text"], prompt);
  EXPECT_EQ(scored["usage"]["completion_tokens"], 0);
  EXPECT_EQ(scored["choices"][0]["logprobs"]["tokens"].size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i)
    EXPECT_EQ(scored["choices"][0]["logprobs"]["token_logprobs"][i], echoed["logprobs"]["token_logprobs"][i]);

  const OrderedJson asked = answer(kPath, with(greedy(prompt, 1), {{"prompt_logprobs", 0}}))["choices"][0];
  for (size_t i = 1; i < ids.size(); ++i) {
    EXPECT_EQ(asked["prompt_logprobs"][i][std::to_string(ids[i])]["logprob"],
              echoed["logprobs"]["token_logprobs"][i]);
  }
}

TEST_F(CompletionsTest, an_echo_is_streamed_once_for_each_choice) {
  const OrderedJson body = {{"prompt", "To be"}, {"max_tokens", 4}, {"n", 2},
                            {"echo", true},      {"logprobs", 0},   {"seed", 1}};
  const OrderedJson whole = answer(kPath, body)["choices"];
  std::vector<std::string> texts(2);
  for (const OrderedJson& event : events(kPath, body))
    texts[event["choices"][0]["index"].get<size_t>()] += event["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(texts[0], whole[0]["text"]);
  EXPECT_EQ(texts[1], whole[1]["text"]);
  EXPECT_TRUE(texts[0].starts_with("To be"));
}

TEST_F(CompletionsTest, structured_output_holds_in_every_form_of_asking) {
  const OrderedJson schema = {{"type", "object"},
                              {"properties", {{"a", {{"enum", {1, 2}}}}}},
                              {"required", {"a"}},
                              {"additionalProperties", false}};
  const std::vector<OrderedJson> forms = {
      {{"guided_json", schema}},
      {{"guided_json", to_text(schema)}},
      {{"structured_outputs", {{"json", schema}}}},
      {{"response_format",
        {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"schema", schema}, {"strict", true}}}}}}};
  for (const OrderedJson& form : forms) {
    OrderedJson body = {{"prompt", "Say"}, {"max_tokens", 60}, {"temperature", 1.5}, {"seed", 3}};
    const OrderedJson said = parse_ordered_json(text(with(body, form)), "answer").value();
    EXPECT_TRUE(said["a"] == 1 || said["a"] == 2) << said;
  }
  OrderedJson body = {{"prompt", "Say"}, {"max_tokens", 30}, {"temperature", 1.5}};
  EXPECT_EQ(text(with(body, {{"guided_choice", {"yes", "yes!"}}})).substr(0, 3), "yes");
  EXPECT_EQ(text(with(body, {{"structured_outputs", {{"regex", "(ab){3}"}}}})), "ababab");
  EXPECT_EQ(text(with(body, {{"guided_grammar", "root ::= \"x\" \"y\""}})), "xy");
  const OrderedJson both = with(body, {{"guided_regex", "a"}, {"guided_choice", {"a"}}});
  EXPECT_EQ(error(kPath, both)["param"], "guided_choice");
  EXPECT_EQ(error(kPath, with(body, {{"guided_regex", "(("}}))["type"], "invalid_request_error");
}

TEST_F(CompletionsTest, a_prefix_seen_before_is_counted_and_a_salt_keeps_it_apart) {
  std::string prompt =
      "Friends, Romans, countrymen, lend me your ears; I come to bury Caesar, not to praise him. ";
  prompt += prompt + prompt;
  const auto cached = [&](const char* salt) {
    return answer(kPath, with(greedy(prompt, 1),
                              {{"cache_salt", salt}}))["usage"]["prompt_tokens_details"]["cached_tokens"]
        .get<int>();
  };
  EXPECT_EQ(cached("one"), 0);
  EXPECT_GT(cached("one"), 32);
  EXPECT_EQ(cached("two"), 0);
}

TEST_F(CompletionsTest, prompts_are_truncated_on_the_side_asked_for) {
  const OrderedJson ids = service_->encode("To be, or not to be, that is").value();
  const auto shown = [&](const char* side) {
    return answer(kPath,
                  with(greedy(ids, 1), {{"truncate_prompt_tokens", 3},
                                        {"truncation_side", side},
                                        {"return_token_ids", true}}))["choices"][0]["prompt_token_ids"];
  };
  const auto all = ids.get<std::vector<int>>();
  EXPECT_EQ(shown("left").get<std::vector<int>>(), std::vector<int>(all.end() - 3, all.end()));
  EXPECT_EQ(shown("right").get<std::vector<int>>(), std::vector<int>(all.begin(), all.begin() + 3));
}

TEST_F(CompletionsTest, another_model_is_not_found) {
  const OrderedJson got = error(kPath, {{"model", "gpt-4"}, {"prompt", "x"}}, 404);
  EXPECT_EQ(got["code"], "model_not_found");
  EXPECT_EQ(got["param"], "model");
}

TEST_F(CompletionsTest, what_is_too_long_says_so) {
  const std::vector<int> ids(static_cast<size_t>(service_->max_model_len()), 20);
  EXPECT_EQ(error(kPath, greedy(ids, 1))["code"], "context_length_exceeded");
  const std::vector<int> fits(ids.begin(), ids.end() - 1);
  EXPECT_EQ(answer(kPath, greedy(fits, 1))["usage"]["total_tokens"], service_->max_model_len());
  EXPECT_EQ(error(kPath, greedy(fits, 2))["code"], "context_length_exceeded");
}

TEST_F(CompletionsTest, a_refused_prompt_takes_the_others_with_it) {
  const std::vector<int> too_long(static_cast<size_t>(service_->max_model_len()), 20);
  const OrderedJson prompts = OrderedJson::array({"To be", too_long});
  for (const bool stream : {false, true}) {
    const auto got = post(*api_, kPath, with(greedy(prompts), {{"stream", stream}}));
    EXPECT_EQ(got->status, 400);
    EXPECT_FALSE(got->streams());
  }
  EXPECT_TRUE(service_->wait_idle(60));
}

TEST_F(CompletionsTest, requests_name_their_answers) {
  ApiRequest request = request_of("POST", kPath, to_text(greedy("x", 1)));
  request.headers["x-request-id"] = "abc-1";
  EXPECT_EQ(ask(*api_, request)->json()["id"], "cmpl-abc-1");
  request.headers["x-request-id"] = "a\r\nb";
  EXPECT_EQ(ask(*api_, request)->json()["id"].get<std::string>().size(), 37U);
  EXPECT_EQ(answer(kPath, with(greedy("x", 1), {{"request_id", "mine"}}))["id"], "cmpl-mine");
}

TEST_F(CompletionsTest, models_are_listed_and_shown) {
  const OrderedJson list = get(*api_, "/v1/models")->json();
  EXPECT_EQ(list["object"], "list");
  EXPECT_EQ(list["data"][0]["id"], "bard");
  EXPECT_EQ(list["data"][0]["object"], "model");
  EXPECT_EQ(list["data"][0]["max_model_len"], service_->max_model_len());
  EXPECT_EQ(get(*api_, "/v1/models/bard")->json(), list["data"][0]);
  EXPECT_EQ(get(*api_, "/v1/models/else")->json()["error"]["code"], "model_not_found");
  EXPECT_TRUE(service_->wait_idle(60));
  EXPECT_EQ(get(*api_, "/load")->json()["server_load"], 0);
  EXPECT_TRUE(get(*api_, "/version")->json()["version"].is_string());
  EXPECT_NE(get(*api_, "/metrics")->body().find("heed:"), std::string::npos);
}

TEST_F(CompletionsTest, texts_become_tokens_and_back) {
  const std::string text = "To be, or not to be: é";
  const OrderedJson got =
      answer("/tokenize", {{"model", "bard"}, {"prompt", text}, {"return_token_strs", true}});
  const auto ids = service_->encode(text).value();
  EXPECT_EQ(got["tokens"].get<std::vector<int>>(), ids);
  EXPECT_EQ(got["count"], ids.size());
  EXPECT_EQ(got["token_strs"].size(), ids.size());
  EXPECT_EQ(got["max_model_len"], service_->max_model_len());
  const auto bare = service_->encode(text, false).value();
  EXPECT_EQ(answer("/tokenize", {{"prompt", text}, {"add_special_tokens", false}})["tokens"]
                .get<std::vector<int>>(),
            bare);
  EXPECT_EQ(answer("/detokenize", {{"tokens", bare}})["prompt"], text);
  const OrderedJson messages = {{{"role", "user"}, {"content", "Who is there?"}}};
  const OrderedJson chat = answer("/tokenize", {{"messages", messages}});
  EXPECT_EQ(service_->decode(chat["tokens"].get<std::vector<int>>()),
            "<bos><|user|>\nWho is there?<|end|>\n<|assistant|>\n");
  const OrderedJson open = answer("/tokenize", {{"messages", messages}, {"add_generation_prompt", false}});
  EXPECT_LT(open["count"], chat["count"]);
  EXPECT_EQ(error("/tokenize", {{"prompt", "x"}, {"messages", messages}})["param"], "prompt");
  EXPECT_EQ(error("/detokenize", {{"tokens", {4096}}})["param"], "tokens[0]");
  EXPECT_EQ(error("/detokenize", OrderedJson::object())["param"], "tokens");
}

}  // namespace
}  // namespace heed::completions_test
