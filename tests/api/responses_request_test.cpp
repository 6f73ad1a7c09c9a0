// Bodies of POST /v1/responses: what they ask for, and what is refused.
#include "api/responses_request.h"

#include <gtest/gtest.h>

#include "api/responses_input.h"

namespace heed::responses_request_test {
namespace {

struct Read {
  ResponsesRequest request;
  std::optional<ApiError> error;
};

const ResponsesParser& parser() {
  static const ResponsesParser parser({.vocabulary = 4096, .max_len = 2048});
  return parser;
}

// With the messages filled in.
Read read(const std::string& body, const OrderedJson& previous = nullptr) {
  Read result;
  const Place place(result.error);
  parser().read(parse_ordered_json(body, "the test's body").value(), result.request, place);
  if (!result.error)
    result.request.chat.messages = messages_of_items(result.request.instructions, previous,
                                                     result.request.input, result.request.images, place);
  return result;
}

// A request with these members, without outer braces.
Read read_with(const std::string& members) {
  return read(R"({"model": "m", "input": "hi", )" + members + "}");
}

std::string messages(const Read& read) {
  EXPECT_FALSE(read.error) << read.error->message;
  return to_text(read.request.chat.messages);
}

std::string param_of(const Read& read) {
  EXPECT_TRUE(read.error);
  return read.error ? read.error->param : "";
}

TEST(ResponsesRequest, a_string_is_a_message_of_the_user) {
  const Read r = read(R"({"model": "m", "input": "hi", "instructions": "Be brief."})");
  EXPECT_EQ(messages(r), R"([{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}])");
  EXPECT_EQ(r.request.model, "m");
  EXPECT_TRUE(r.request.store);
  EXPECT_FALSE(r.request.stream);
  EXPECT_EQ(r.request.chat.generate.max_tokens, std::nullopt);
}

TEST(ResponsesRequest, items_become_messages_of_a_chat) {
  const Read r = read(R"({"model": "m", "input": [
    {"role": "developer", "content": "Rules."},
    {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"x\":1}"},
    {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": "{}", "status": "completed"},
    {"type": "function_call_output", "call_id": "call_1", "output": "one"},
    {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "two"}]},
    {"role": "user", "content": "go on"}]})");
  EXPECT_EQ(
      messages(r),
      R"([{"role":"system","content":"Rules."},)"
      R"({"role":"user","content":"a\nb"},)"
      R"({"role":"assistant","content":"Let me see.","reasoning_content":"hm","reasoning":"hm","tool_calls":[)"
      R"({"id":"call_1","type":"function","function":{"name":"f","arguments":{"x":1}}},)"
      R"({"id":"call_2","type":"function","function":{"name":"g","arguments":{}}}]},)"
      R"({"role":"tool","content":"one","tool_call_id":"call_1","name":"f"},)"
      R"({"role":"tool","content":"two","tool_call_id":"call_2","name":"g"},)"
      R"({"role":"user","content":"go on"}])");
}

TEST(ResponsesRequest, instructions_and_leading_system_messages_are_one) {
  const Read r = read(R"({"model": "m", "instructions": "A.", "input": [{"role": "system", "content": "B."},
    {"role": "user", "content": "hi"}, {"role": "system", "content": "C."}]})");
  EXPECT_EQ(messages(r), R"([{"role":"system","content":"A.\n\nB."},{"role":"user","content":"hi"},)"
                         R"({"role":"system","content":"C."}])");
}

TEST(ResponsesRequest, two_messages_of_the_assistant_stay_two) {
  const Read r = read(R"({"model": "m", "input": [{"role": "assistant", "content": "a"},
    {"role": "assistant", "content": "b"}]})");
  EXPECT_EQ(messages(r), R"([{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}])");
}

TEST(ResponsesRequest, earlier_items_come_before_the_input) {
  const OrderedJson previous = input_items("first");
  const Read r = read(R"({"model": "m", "input": "second", "previous_response_id": "resp_1"})", previous);
  EXPECT_EQ(messages(r), R"([{"role":"user","content":"first\nsecond"}])");
  EXPECT_EQ(r.request.previous_response_id, "resp_1");
}

TEST(ResponsesRequest, sampling_and_limits_are_taken) {
  const Read r =
      read_with(R"("max_output_tokens": 7, "temperature": 0.25, "top_p": 0.5, "stream": true, "seed": 4,
    "stop": "a", "cache_salt": "s", "chat_template_kwargs": {"v": 1},
    "store": false, "truncation": "auto", "top_logprobs": 3, "parallel_tool_calls": false)");
  ASSERT_FALSE(r.error) << r.error->message;
  EXPECT_EQ(r.request.chat.generate.max_tokens, 7);
  EXPECT_EQ(r.request.sampling.temperature, 0.25F);
  EXPECT_EQ(r.request.sampling.top_p, 0.5F);
  EXPECT_EQ(r.request.sampling.seed, 4U);
  EXPECT_EQ(r.request.sampling.stops, (std::vector<std::string>{"a"}));
  EXPECT_EQ(r.request.sampling.cache_salt, "s");
  EXPECT_EQ(r.request.chat.template_variables["v"], 1);
  EXPECT_EQ(r.request.chat.generate.logprobs, 3);
  EXPECT_TRUE(r.request.stream);
  EXPECT_FALSE(r.request.store);
  EXPECT_TRUE(r.request.truncate);
  EXPECT_FALSE(r.request.chat.parallel_tool_calls);
  EXPECT_EQ(read_with(R"("include": ["message.output_text.logprobs"])").request.chat.generate.logprobs, 0);
  EXPECT_EQ(read_with(R"("include": ["reasoning.encrypted_content"])").request.chat.generate.logprobs, -1);
}

TEST(ResponsesRequest, tools_and_choices_are_those_of_a_chat) {
  const std::string tools = R"("tools": [{"type": "function", "name": "f", "description": "d",
    "parameters": {"type": "object"}, "strict": true}, {"type": "function", "name": "g", "parameters": null}])";
  const Read r = read_with(tools + R"(, "tool_choice": {"type": "function", "name": "g"})");
  ASSERT_FALSE(r.error) << r.error->message;
  EXPECT_EQ(to_text(r.request.chat.tools),
            R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},)"
            R"("strict":true}},{"type":"function","function":{"name":"g",)"
            R"("parameters":{"type":"object","properties":{}}}}])");
  EXPECT_EQ(r.request.chat.tool_choice, ToolChoice::kNamed);
  EXPECT_EQ(r.request.chat.tool_name, "g");
  EXPECT_EQ(r.request.blank["tools"][0]["strict"], true);
  EXPECT_EQ(r.request.blank["tools"][1]["parameters"], nullptr);
  EXPECT_EQ(r.request.blank["tool_choice"]["name"], "g");
  EXPECT_EQ(read_with(tools + R"(, "tool_choice": "required")").request.chat.tool_choice,
            ToolChoice::kRequired);
  EXPECT_EQ(read_with(tools + R"(, "tool_choice": "none")").request.chat.tool_choice, ToolChoice::kNone);
  EXPECT_EQ(param_of(read_with(tools + R"(, "tool_choice": {"type": "function", "name": "h"})")),
            "tool_choice.name");
  EXPECT_EQ(param_of(read_with(R"("tool_choice": "required")")), "tool_choice");
  const Read refused = read_with(R"("tools": [{"type": "web_search"}])");
  EXPECT_EQ(param_of(refused), "tools[0].type");
  EXPECT_NE(refused.error->message.find("web_search"), std::string::npos);
}

TEST(ResponsesRequest, formats_are_those_of_structured_output) {
  const Read r = read_with(R"("text": {"format": {"type": "json_schema", "name": "n", "strict": true,
    "schema": {"type": "object"}}})");
  ASSERT_FALSE(r.error) << r.error->message;
  EXPECT_EQ(r.request.chat.generate.format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(to_text(r.request.chat.generate.format.schema), R"({"type":"object"})");
  EXPECT_EQ(r.request.blank["text"]["format"]["name"], "n");
  EXPECT_EQ(read_with(R"("text": {"format": {"type": "json_object"}})").request.chat.generate.format.kind,
            OutputFormat::Kind::kJsonObject);
  EXPECT_EQ(param_of(read_with(R"("text": {"format": {"type": "json_schema", "name": "n"}})")),
            "text.format");
  EXPECT_EQ(param_of(read_with(R"("text": {"verbosity": "low"})")), "text.verbosity");
}

TEST(ResponsesRequest, effort_reaches_the_template) {
  const OrderedJson variables =
      read_with(R"("reasoning": {"effort": "low", "summary": "auto"})").request.chat.template_variables;
  EXPECT_EQ(variables["reasoning_effort"], "low");
  EXPECT_FALSE(variables.contains("enable_thinking")) << "the template decides";
  EXPECT_EQ(
      read_with(R"("reasoning": {"effort": "none"})").request.chat.template_variables["enable_thinking"],
      false);
  EXPECT_TRUE(read_with(R"("reasoning": {})").request.chat.template_variables.empty());
}

TEST(ResponsesRequest, the_blank_response_shows_what_was_asked) {
  const Read r =
      read_with(R"("metadata": {"k": "v"}, "user": "u", "temperature": 0.7, "max_output_tokens": 5)");
  ASSERT_FALSE(r.error) << r.error->message;
  const OrderedJson& blank = r.request.blank;
  EXPECT_EQ(blank["object"], "response");
  EXPECT_EQ(blank["metadata"]["k"], "v");
  EXPECT_EQ(blank["user"], "u");
  EXPECT_EQ(blank["max_output_tokens"], 5);
  EXPECT_EQ(blank["store"], true);
  EXPECT_EQ(blank["text"]["format"]["type"], "text");
  EXPECT_EQ(blank["truncation"], "disabled");
}

TEST(ResponsesRequest, sampling_is_set_without_losing_the_rest) {
  ResponsesRequest request =
      read_with(R"("max_output_tokens": 5, "text": {"format": {"type": "json_object"}})").request;
  GenerateRequest generate;
  generate.sampling.temperature = 0.6F;
  generate.stops = {"x"};
  set_sampling(request, generate);
  EXPECT_EQ(to_text(request.blank["temperature"]), "0.6") << "as it is written";
  EXPECT_EQ(to_text(request.blank["top_p"]), "1.0");
  EXPECT_EQ(request.chat.generate.max_tokens, 5);
  EXPECT_EQ(request.chat.generate.format.kind, OutputFormat::Kind::kJsonObject);
  EXPECT_EQ(request.chat.generate.stops, generate.stops);
}

TEST(ResponsesRequest, fields_that_are_not_done_are_refused_by_name) {
  for (const std::string member :
       {R"("background": true)", R"("conversation": "conv_1")", R"("prompt": {"id": "p"})",
        R"("max_tool_calls": 3)", R"("service_tier": "flex")", R"("prompt_cache_retention": "24h")",
        R"("moderation": {"model": "x"})", R"("context_management": [{"type": "compaction"}])",
        R"("no_such_field": 1)"}) {
    const std::string name = member.substr(1, member.find('"', 1) - 1);
    const Read r = read_with(member);
    EXPECT_EQ(param_of(r), name) << member;
    ASSERT_TRUE(r.error);
    EXPECT_NE(r.error->message.find(name), std::string::npos) << r.error->message;
  }
  EXPECT_FALSE(read_with(R"("background": false, "conversation": null, "service_tier": "auto")").error);
}

TEST(ResponsesRequest, mistakes_are_named_where_they_are) {
  const auto items = [](const std::string& list) {
    return param_of(read(R"({"model": "m", "input": )" + list + "}"));
  };
  EXPECT_EQ(items(R"([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}])"),
            "input[0].content[0].type");
  EXPECT_EQ(items(R"([{"role": "user", "content": [{"type": "input_text"}]}])"), "input[0].content[0].text");
  EXPECT_EQ(items(R"([{"role": "tool", "content": "x"}])"), "input[0].role");
  EXPECT_EQ(items(R"([{"role": "user"}])"), "input[0].content");
  EXPECT_EQ(items(R"(["hi"])"), "input[0]");
  EXPECT_EQ(items(R"([{"type": "item_reference", "id": "x"}])"), "input[0].type");
  EXPECT_EQ(items(R"([{"type": "function_call_output", "call_id": "c", "output": "x"}])"),
            "input[0].call_id");
  EXPECT_EQ(items(R"([{"type": "function_call", "call_id": "c", "name": "f"}])"), "input[0].arguments");
  EXPECT_EQ(items(R"([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}])"),
            "input[0].arguments");
  EXPECT_EQ(items(R"([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "[]"}])"),
            "input[0].arguments");
  EXPECT_EQ(items(R"([{"type": "reasoning", "summary": [], "encrypted_content": "x"}])"),
            "input[0].encrypted_content");
  EXPECT_EQ(items("[]"), "input");
  EXPECT_EQ(items("3"), "input");
  EXPECT_EQ(param_of(read(R"({"input": "hi"})")), "model");
  EXPECT_EQ(param_of(read(R"({"model": "m"})")), "input");
  EXPECT_EQ(param_of(read_with(R"("temperature": -1)")), "temperature");
  EXPECT_EQ(param_of(read_with(R"("max_output_tokens": 0)")), "max_output_tokens");
  EXPECT_EQ(param_of(read_with(R"("metadata": {"k": 1})")), "metadata.k");
}

OrderedJson talk(int turns) {
  OrderedJson messages = OrderedJson::array({{{"role", "system"}, {"content", "s"}}});
  for (int i = 0; i < turns; ++i) {
    messages.push_back({{"role", "user"}, {"content", std::to_string(i)}});
    messages.push_back({{"role", "assistant"}, {"content", "a"}});
    messages.push_back({{"role", "tool"}, {"content", "t"}});
  }
  return messages;
}

TEST(ResponsesRequest, truncation_drops_the_oldest_turns) {
  for (size_t room = 1; room < 40; ++room) {
    OrderedJson messages = talk(10);
    const bool fits = drop_oldest(messages, [&](const OrderedJson& m) { return m.size() <= room; });
    EXPECT_EQ(fits, room >= 4) << room;
    if (!fits) {
      EXPECT_EQ(messages, talk(10));
      continue;
    }
    EXPECT_LE(messages.size(), room);
    EXPECT_GT(messages.size() + 3, std::min<size_t>(room, 31)) << "no more than needed";
    EXPECT_EQ(messages[0]["role"], "system");
    EXPECT_EQ(messages[1]["role"], "user");
    EXPECT_EQ(messages.back(), talk(10).back());
  }
}

}  // namespace
}  // namespace heed::responses_request_test
