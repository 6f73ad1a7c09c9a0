// Completions rendered from hand-made deltas.
#include "api/completions_response.h"

#include <gtest/gtest.h>

#include "tests/api/recording.h"

namespace heed::completions_response_test {
namespace {

CompletionForm form(int prompts = 1, int n = 1) {
  CompletionForm form{.head = {.id = "cmpl-1", .object = "text_completion", .model = "m", .created = 7},
                      .n = n};
  for (int i = 0; i < prompts; ++i)
    form.prompts.push_back({.text = "P" + std::to_string(i), .ids = {10 + i, 20}, .first_bytes = "P"});
  return form;
}

TokenLogprob token(int id, const std::string& bytes, float logprob, std::vector<TokenLogprob> top = {}) {
  return {.id = id, .bytes = bytes, .logprob = logprob, .rank = 1, .top = std::move(top)};
}

TEST(CompletionWhole, has_the_shape_of_openai) {
  CompletionWhole whole(form());
  whole.push(0, {.text = "To ", .ids = {1}});
  whole.push(0, {.text = "be", .ids = {2}, .end = EndReason::kStop, .stop_string = "."});
  EXPECT_FALSE(whole.is_complete());
  whole.end(0, {.prompt_tokens = 2, .cached_tokens = 1, .generated_tokens = 2});
  ASSERT_TRUE(whole.is_complete());
  EXPECT_EQ(
      to_text(whole.body()),
      R"({"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"text":)"
      R"("To be","logprobs":null,"finish_reason":"stop","stop_reason":"."}],"usage":{"prompt_tokens":2,)"
      R"("total_tokens":4,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1},)"
      R"("completion_tokens_details":{"reasoning_tokens":0}}})");
}

TEST(CompletionWhole, choices_of_several_prompts_keep_their_places) {
  CompletionWhole whole(form(2, 2));
  whole.push(1, {.choice = 1, .text = "d", .end = EndReason::kLength});
  whole.push(0, {.choice = 0, .text = "a", .end = EndReason::kLength});
  whole.push(1, {.choice = 0, .text = "c", .end = EndReason::kLength});
  whole.end(1, {.prompt_tokens = 2, .generated_tokens = 2});
  EXPECT_FALSE(whole.is_complete());
  whole.push(0, {.choice = 1, .text = "b", .end = EndReason::kLength});
  whole.end(0, {.prompt_tokens = 3, .generated_tokens = 2});
  const OrderedJson body = whole.body();
  std::string texts;
  for (const OrderedJson& choice : body["choices"]) {
    EXPECT_EQ(choice["index"], texts.size());
    texts += choice["text"].get<std::string>();
  }
  EXPECT_EQ(texts, "abcd");
  EXPECT_EQ(body["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(body["usage"]["completion_tokens"], 4);
}

TEST(CompletionWhole, logprobs_have_offsets_in_characters_and_the_chosen_among_the_top) {
  CompletionForm with = form();
  with.logprobs = 1;
  CompletionWhole whole(with);
  // "é" in two tokens, neither of them a character.
  const TokenLogprob best = token(5, "e", -0.5F);
  whole.push(0, {.ids = {1}, .logprobs = {token(1, "\xc3", -1, {best})}});
  whole.push(0, {.text = "é", .ids = {2}, .logprobs = {token(2, "\xa9", -INFINITY, {best})}});
  whole.push(0, {.text = "x",
                 .ids = {3},
                 .logprobs = {token(3, "x", 0, {token(3, "x", 0)})},
                 .end = EndReason::kLength});
  whole.end(0, {});
  const OrderedJson logprobs = whole.body()["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], OrderedJson::array({"bytes:\\xc3", "bytes:\\xa9", "x"}));
  EXPECT_EQ(logprobs["text_offset"], OrderedJson::array({0, 1, 1}));
  EXPECT_EQ(logprobs["token_logprobs"], OrderedJson::array({-1.0, -9999.0, 0.0}));
  EXPECT_EQ(logprobs["top_logprobs"][0], (OrderedJson{{"bytes:\\xc3", -1.0}, {"e", -0.5}}));
  EXPECT_EQ(logprobs["top_logprobs"][2], (OrderedJson{{"x", 0.0}}));
}

TEST(CompletionWhole, echo_puts_the_prompt_and_its_logprobs_first) {
  CompletionForm with = form(1, 2);
  with.echo = true;
  with.logprobs = 0;
  with.awaits_prompt = true;
  CompletionWhole whole(with);
  // The second choice speaks before the prompt's log-probabilities have come.
  whole.push(0, {.choice = 1, .text = "y", .logprobs = {token(8, "y", -3)}, .end = EndReason::kLength});
  whole.push(0, {.choice = 0,
                 .text = "x",
                 .logprobs = {token(7, "x", -2)},
                 .prompt_logprobs = {token(20, "0", -1)},
                 .end = EndReason::kLength});
  whole.end(0, {});
  const OrderedJson choices = whole.body()["choices"];
  EXPECT_EQ(choices[0]["text"], "P0x");
  EXPECT_EQ(choices[1]["text"], "P0y");
  for (const OrderedJson& choice : choices) {
    EXPECT_EQ(choice["logprobs"]["token_logprobs"][0], nullptr);
    EXPECT_EQ(choice["logprobs"]["token_logprobs"][1], -1.0);
    EXPECT_EQ(choice["logprobs"]["text_offset"], OrderedJson::array({0, 1, 2}));
  }
  EXPECT_EQ(choices[1]["logprobs"]["tokens"], OrderedJson::array({"P", "0", "y"}));
}

TEST(CompletionWhole, echo_alone_leaves_the_generated_token_out) {
  CompletionForm with = form();
  with.echo = with.echo_only = true;
  CompletionWhole whole(with);
  whole.push(0, {.text = "x", .ids = {1}, .end = EndReason::kStop});
  whole.end(0, {.prompt_tokens = 2, .generated_tokens = 1});
  const OrderedJson body = whole.body();
  EXPECT_EQ(body["choices"][0]["text"], "P0");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
}

TEST(CompletionWhole, token_ids_and_prompt_logprobs_are_told_if_asked_for) {
  CompletionForm with = form();
  with.return_token_ids = true;
  with.prompt_logprobs = 1;
  with.awaits_prompt = true;
  CompletionWhole whole(with);
  whole.push(
      0, {.ids = {4}, .prompt_logprobs = {token(20, "0", -1, {token(9, "z", -0.25F), token(8, "q", -3)})}});
  whole.push(0, {.text = "x", .ids = {5, 6}, .end = EndReason::kStop, .stop_id = 6});
  whole.end(0, {});
  const OrderedJson choice = whole.body()["choices"][0];
  EXPECT_EQ(choice["token_ids"], OrderedJson::array({4, 5, 6}));
  EXPECT_EQ(choice["prompt_token_ids"], OrderedJson::array({10, 20}));
  EXPECT_EQ(choice["stop_reason"], 6);
  EXPECT_EQ(to_text(choice["prompt_logprobs"]),
            R"([null,{"20":{"logprob":-1.0,"rank":1,"decoded_token":"0"},)"
            R"("9":{"logprob":-0.25,"rank":1,"decoded_token":"z"}}])");
}

TEST(CompletionStream, sends_pieces_then_usage_then_done) {
  CompletionForm with = form();
  with.include_usage = true;
  CompletionStream stream(with);
  EXPECT_EQ(stream.push(0, {.ids = {1}}), "") << "nothing is certain yet";
  std::string bytes = stream.push(0, {.text = "a", .ids = {2}});
  EXPECT_EQ(
      bytes,
      "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"choices\":"
      "[{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}],"
      "\"usage\":null}\n\n");
  bytes += stream.push(0, {.end = EndReason::kLength});
  bytes += stream.end(0, {.prompt_tokens = 2, .generated_tokens = 2});
  const auto events = events_of(bytes);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[1]["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(events[2]["choices"], OrderedJson::array());
  EXPECT_EQ(events[2]["usage"]["total_tokens"], 4);
}

TEST(CompletionStream, continuous_usage_counts_each_choice) {
  CompletionForm with = form(1, 2);
  with.include_usage = with.continuous_usage = true;
  CompletionStream stream(with);
  std::string bytes = stream.push(0, {.choice = 0, .text = "a", .ids = {1, 2}});
  bytes += stream.push(0, {.choice = 1, .text = "b", .ids = {3}});
  bytes += stream.end(0, {});
  const auto events = events_of(bytes);
  EXPECT_EQ(events[0]["usage"]["completion_tokens"], 2);
  EXPECT_EQ(events[1]["usage"]["completion_tokens"], 1);
  EXPECT_EQ(events[1]["usage"]["prompt_tokens"], 2);
}

TEST(CompletionStream, an_answer_that_the_server_stopped_ends_in_an_error_event) {
  CompletionStream stream(form());
  std::string bytes = stream.push(0, {.text = "a", .end = EndReason::kCancelled});
  bytes += stream.end(0, {});
  const auto events = events_of(bytes);
  EXPECT_EQ(events.back()["error"]["code"], "stopping");
}

}  // namespace
}  // namespace heed::completions_response_test
