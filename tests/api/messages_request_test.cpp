// Bodies of Anthropic's POST /v1/messages: what they ask for, and what is refused.
#include "api/messages_request.h"

#include <gtest/gtest.h>

namespace heed::messages_request_test {
namespace {

struct Read {
  MessagesRequest request;
  std::optional<ApiError> error;
};

Read read(const std::string& body, bool counting = false) {
  Read result;
  read_messages_request(parse_ordered_json(body, "the test's body").value(), counting, result.request,
                        Place(result.error));
  return result;
}

const std::string kHi = R"("messages": [{"role": "user", "content": "hi"}])";

// A request with these members, without outer braces.
Read read_with(const std::string& members) {
  return read(R"({"model": "m", "max_tokens": 2000, )" + kHi + ", " + members + "}");
}
Read read_messages(const std::string& list) {
  return read(R"({"model": "m", "max_tokens": 10, "messages": )" + list + "}");
}

std::string messages(const Read& read) {
  EXPECT_FALSE(read.error) << read.error->message;
  return to_text(read.request.chat.messages);
}

std::string param_of(const Read& read) {
  EXPECT_TRUE(read.error);
  return read.error ? read.error->param : "";
}

TEST(MessagesRequest, a_plain_request_is_a_chat) {
  const Read r = read(R"({"model": "m", "max_tokens": 10, "system": "Be brief.", )" + kHi + "}");
  EXPECT_EQ(messages(r), R"([{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}])");
  EXPECT_EQ(r.request.model, "m");
  EXPECT_EQ(r.request.chat.generate.max_tokens, 10);
  EXPECT_TRUE(r.request.chat.add_generation_prompt);
  EXPECT_FALSE(r.request.chat.continue_final_message);
  EXPECT_FALSE(r.request.stream);
}

TEST(MessagesRequest, blocks_become_messages_of_a_chat) {
  const Read r = read(R"({"model": "m", "max_tokens": 10,
    "system": [{"type": "text", "text": "A.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B."}],
    "messages": [
      {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
      {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": [1, null]}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}}]},
      {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "t2", "is_error": true,
         "content": [{"type": "text", "text": "lost"}]},
        {"type": "text", "text": "go on"}]}]})");
  EXPECT_EQ(
      messages(r),
      R"([{"role":"system","content":"A.\nB."},{"role":"user","content":"one\ntwo"},)"
      R"({"role":"assistant","content":"Let me see.","reasoning_content":"hm","reasoning":"hm","tool_calls":[)"
      R"({"id":"t1","type":"function","function":{"name":"f","arguments":{"x":[1,null]}}},)"
      R"({"id":"t2","type":"function","function":{"name":"g","arguments":{}}}]},)"
      R"({"role":"tool","content":"one","tool_call_id":"t1","name":"f"},)"
      R"({"role":"tool","content":"Error: lost","tool_call_id":"t2","name":"g"},)"
      R"({"role":"user","content":"go on"}])");
}

TEST(MessagesRequest, messages_of_one_speaker_in_a_row_are_one_turn) {
  EXPECT_EQ(messages(read_messages(R"([{"role": "user", "content": "a"}, {"role": "user", "content": "b"},
    {"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"},
    {"role": "user", "content": "e"}])")),
            R"([{"role":"user","content":"a\nb"},{"role":"assistant","content":"cd"},)"
            R"({"role":"user","content":"e"}])");
}

TEST(MessagesRequest, an_answer_continues_a_last_message_of_the_assistant) {
  const Read r =
      read_messages(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "The"}])");
  EXPECT_EQ(messages(r), R"([{"role":"user","content":"a"},{"role":"assistant","content":"The"}])");
  EXPECT_TRUE(r.request.chat.continue_final_message);
  EXPECT_FALSE(r.request.chat.add_generation_prompt);
}

TEST(MessagesRequest, sampling_is_taken) {
  const Read r = read_with(R"("temperature": 0.5, "top_p": 0.25, "top_k": 3, "stop_sequences": ["a", "b"],
    "stream": true, "metadata": {"user_id": "u"}, "cache_salt": "s", "priority": -2, "service_tier": "auto")");
  ASSERT_FALSE(r.error) << r.error->message;
  const GenerateRequest& generate = r.request.chat.generate;
  EXPECT_EQ(generate.sampling.temperature, 0.5F);
  EXPECT_EQ(generate.sampling.top_p, 0.25F);
  EXPECT_EQ(generate.sampling.top_k, 3);
  EXPECT_EQ(generate.stops, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(generate.cache_salt, "s");
  EXPECT_EQ(generate.priority, -2);
  EXPECT_TRUE(r.request.stream);
}

TEST(MessagesRequest, tools_and_choices_are_those_of_a_chat) {
  const std::string tools = R"("tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"},
    "cache_control": {"type": "ephemeral"}}, {"type": "custom", "name": "g", "input_schema": {}}])";
  const Read r = read_with(tools);
  ASSERT_FALSE(r.error) << r.error->message;
  EXPECT_EQ(
      to_text(r.request.chat.tools),
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}},)"
      R"({"type":"function","function":{"name":"g","parameters":{}}}])");
  EXPECT_EQ(r.request.chat.tool_choice, ToolChoice::kAuto);
  EXPECT_TRUE(r.request.chat.parallel_tool_calls);
  const auto choice = [&](const std::string& value) {
    return read_with(tools + ", \"tool_choice\": " + value);
  };
  EXPECT_EQ(choice(R"({"type": "any"})").request.chat.tool_choice, ToolChoice::kRequired);
  EXPECT_EQ(choice(R"({"type": "none"})").request.chat.tool_choice, ToolChoice::kNone);
  const Read named = choice(R"({"type": "tool", "name": "g", "disable_parallel_tool_use": true})");
  EXPECT_EQ(named.request.chat.tool_choice, ToolChoice::kNamed);
  EXPECT_EQ(named.request.chat.tool_name, "g");
  EXPECT_FALSE(named.request.chat.parallel_tool_calls);
  EXPECT_EQ(param_of(choice(R"({"type": "tool", "name": "h"})")), "tool_choice.name");
  EXPECT_EQ(param_of(choice(R"({"type": "some"})")), "tool_choice.type");
  EXPECT_EQ(param_of(read_with(R"("tool_choice": {"type": "any"})")), "tool_choice");
  const Read refused = read_with(R"("tools": [{"type": "bash_20250124", "name": "bash"}])");
  EXPECT_EQ(param_of(refused), "tools[0].type");
  EXPECT_NE(refused.error->message.find("bash_20250124"), std::string::npos);
  EXPECT_EQ(param_of(read_with(R"("tools": [{"name": "f"}])")), "tools[0].input_schema");
}

TEST(MessagesRequest, thinking_reaches_the_template) {
  const auto thinking = [](const std::string& value) { return read_with("\"thinking\": " + value); };
  const Read on = thinking(R"({"type": "enabled", "budget_tokens": 1024})");
  ASSERT_FALSE(on.error) << on.error->message;
  EXPECT_EQ(on.request.chat.template_variables["enable_thinking"], true);
  EXPECT_EQ(thinking(R"({"type": "disabled"})").request.chat.template_variables["enable_thinking"], false);
  EXPECT_TRUE(read_with(R"("top_k": 1)").request.chat.template_variables.empty());
  EXPECT_EQ(param_of(thinking(R"({"type": "enabled"})")), "thinking.budget_tokens");
  EXPECT_EQ(param_of(thinking(R"({"type": "enabled", "budget_tokens": 1000})")), "thinking.budget_tokens");
  EXPECT_EQ(param_of(thinking(R"({"type": "enabled", "budget_tokens": 2000})")), "thinking.budget_tokens");
  EXPECT_EQ(param_of(thinking(R"({"type": "enabled", "budget_tokens": 1024, "display": "omitted"})")),
            "thinking.display");
}

TEST(MessagesRequest, a_schema_for_the_output_is_taken) {
  const Read r = read_with(R"("output_config": {"effort": "low",
    "format": {"type": "json_schema", "schema": {"type": "object"}}})");
  ASSERT_FALSE(r.error) << r.error->message;
  EXPECT_EQ(r.request.chat.generate.format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(to_text(r.request.chat.generate.format.schema), R"({"type":"object"})");
  EXPECT_EQ(r.request.chat.template_variables["reasoning_effort"], "low");
  EXPECT_EQ(param_of(read_with(R"("output_config": {"format": {"type": "json_schema"}})")),
            "output_config.format");
}

TEST(MessagesRequest, fields_that_are_not_done_are_refused_by_name) {
  for (const std::string member :
       {R"("container": "c")", R"("mcp_servers": [{"url": "x"}])", R"("context_management": {"edits": []})",
        R"("speed": "fast")", R"("inference_geo": "us")", R"("no_such_field": 1)"}) {
    const std::string name = member.substr(1, member.find('"', 1) - 1);
    const Read r = read_with(member);
    EXPECT_EQ(param_of(r), name) << member;
    ASSERT_TRUE(r.error);
    EXPECT_NE(r.error->message.find(name), std::string::npos) << r.error->message;
  }
}

TEST(MessagesRequest, mistakes_are_named_where_they_are) {
  const auto user = [](const std::string& content) {
    return param_of(read_messages(R"([{"role": "user", "content": )" + content + "}]"));
  };
  EXPECT_EQ(user(R"([{"type": "image", "source": {}}])"), "messages[0].content[0].type");
  EXPECT_EQ(user(R"([{"type": "text"}])"), "messages[0].content[0].text");
  EXPECT_EQ(user(R"([{"type": "tool_use", "id": "t", "name": "f", "input": {}}])"),
            "messages[0].content[0].type");
  EXPECT_EQ(user(R"([{"type": "tool_result", "tool_use_id": "t"}])"), "messages[0].content[0].tool_use_id");
  EXPECT_EQ(user("[]"), "messages[0].content");
  EXPECT_EQ(user("3"), "messages[0].content");
  EXPECT_EQ(user(R"(["hi"])"), "messages[0].content[0]");
  EXPECT_EQ(param_of(read_messages("[]")), "messages");
  EXPECT_EQ(param_of(read_messages("{}")), "messages");
  EXPECT_EQ(param_of(read_messages(R"([{"role": "tool", "content": "x"}])")), "messages[0].role");
  EXPECT_EQ(param_of(read_messages(R"([{"role": "user", "content": "x"}, {"role": "assistant", "content":
    [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}])")),
            "messages");
  EXPECT_EQ(param_of(read(R"({"max_tokens": 1, )" + kHi + "}")), "model");
  EXPECT_EQ(param_of(read(R"({"model": "m", )" + kHi + "}")), "max_tokens");
  EXPECT_EQ(param_of(read(R"({"model": "m", "max_tokens": 1})")), "messages");
  EXPECT_EQ(param_of(read_with(R"("temperature": 1.5)")), "temperature");
  EXPECT_EQ(param_of(read_with(R"("stop_sequences": [3])")), "stop_sequences[0]");
}

TEST(MessagesRequest, counting_takes_no_sampling) {
  EXPECT_FALSE(read(R"({"model": "m", )" + kHi + R"(, "system": "s"})", true).error);
  EXPECT_EQ(param_of(read(R"({"model": "m", "max_tokens": 1, )" + kHi + "}", true)), "max_tokens");
  EXPECT_FALSE(
      read(R"({"model": "m", "thinking": {"type": "enabled", "budget_tokens": 1024}, )" + kHi + "}", true)
          .error);
}

}  // namespace
}  // namespace heed::messages_request_test
