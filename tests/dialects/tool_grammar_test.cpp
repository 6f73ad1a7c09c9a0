// Grammars that force calls: what they let through reads as calls whose arguments satisfy the schema.
#include <array>
#include <cmath>

#include "dialects/forms.h"
#include "tests/dialects/answers.h"
#include "tests/grammar/matching.h"

namespace heed {
namespace {

constexpr int kSamples = 12;
// What ends a text, a value or a call.
constexpr std::array<const char*, 9> kClosers = {
    "\n</parameter>", "</parameter>", "</arg_value>", "<|\"|>", "<escape>", "\"", "}", "]", ")"};

OrderedJson tool(const std::string& name, const std::string& parameters) {
  OrderedJson function = {{"name", name}};
  if (!parameters.empty()) function["parameters"] = OrderedJson::parse(parameters);
  return {{"type", "function"}, {"function", function}};
}

// Texts, numbers and words, which every form can write in its own way.
const std::string kPlain = R"({"type": "object", "required": ["city", "unit"], "properties": {
    "days": {"type": "integer", "minimum": 1, "maximum": 14}, "city": {"type": "string"},
    "unit": {"type": "string", "enum": ["celsius", "kelvin"]}, "exact": {"type": ["boolean", "null"]},
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 2}}})";
// A pattern, a union with strings, a reference: not to be written as bare text.
const std::string kHard = R"({"type": "object", "additionalProperties": false, "required": ["date", "where"],
    "properties": {"date": {"type": "string", "pattern": "^[0-9]{4}$"}, "where": {"$ref": "#/$defs/place"},
    "note": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "integer"}]}},
    "$defs": {"place": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}},
    "required": ["name"], "additionalProperties": false}}})";

const OrderedJson& plain_tools() {
  static const OrderedJson tools = {
      tool("get_weather", kPlain),
      tool("now", R"({"type": "object", "properties": {}, "additionalProperties": false})")};
  return tools;
}
const OrderedJson& hard_tools() {
  static const OrderedJson tools = {tool("look_up", kHard), tool("any", ""), tool("get_weather", kPlain)};
  return tools;
}

// A text drawn at random from the masks, which looks for its end after a while.
std::string sample(const Grammar& grammar, std::mt19937& random) {
  MaskCache masks(grammar, small_trie());
  Matcher matcher(masks);
  std::vector<uint32_t> mask(static_cast<size_t>(small_trie().mask_words()));
  std::string text;
  for (int step = 0; step < 3000; ++step) {
    if (matcher.can_end() && (matcher.must_end() || step > 150 || random() % 3 == 0)) return text;
    EXPECT_TRUE(matcher.fill_mask(mask));
    std::vector<int> allowed;
    for (int token = 1; token < small_trie().vocabulary_size(); ++token) {
      if (has_bit(mask, token)) allowed.push_back(token);
    }
    if (allowed.empty()) break;
    const char* closer = kClosers[random() % kClosers.size()];
    if (step > 40 && matcher.accept_bytes(closer)) {  // towards the end
      text += closer;
      continue;
    }
    const int token = allowed[random() % allowed.size()];
    EXPECT_TRUE(matcher.accept(token));
    text += small_trie().bytes_of(token);
  }
  ADD_FAILURE() << "no end: " << text;
  return text;
}

bool is_whole(const OrderedJson& value) {
  return value.is_number() && std::trunc(value.get<double>()) == value.get<double>();
}

void expect_plain(const OrderedJson& arguments) {
  ASSERT_TRUE(arguments.is_object());
  EXPECT_TRUE(arguments.at("city").is_string());
  EXPECT_TRUE(arguments.at("unit") == "celsius" || arguments.at("unit") == "kelvin");
  if (arguments.contains("days")) {
    EXPECT_TRUE(is_whole(arguments["days"]) && arguments["days"] >= 1 && arguments["days"] <= 14);
  }
  if (arguments.contains("exact")) {
    EXPECT_TRUE(arguments["exact"].is_boolean() || arguments["exact"].is_null());
  }
  if (!arguments.contains("tags")) return;
  ASSERT_TRUE(arguments["tags"].is_array());
  EXPECT_LE(arguments["tags"].size(), 2u);
  for (const OrderedJson& tag : arguments["tags"]) EXPECT_TRUE(tag.is_string());
}

void expect_valid(const Call& call) {
  const Result<OrderedJson> parsed = parse_ordered_json(call.arguments, call.name);
  ASSERT_TRUE(parsed.ok()) << call.arguments;
  const OrderedJson& arguments = *parsed;
  if (call.name == "get_weather") return expect_plain(arguments);
  ASSERT_TRUE(arguments.is_object());
  if (call.name == "now") {
    EXPECT_TRUE(arguments.empty()) << call.arguments;
  }
  if (call.name != "look_up") return;
  const std::string date = arguments.at("date").get<std::string>();
  EXPECT_EQ(date.find_first_not_of("0123456789"), std::string::npos);
  EXPECT_EQ(date.size(), 4u);
  EXPECT_TRUE(arguments.at("where").at("name").is_string());
  EXPECT_EQ(arguments.at("where").size(), 1u);
  if (arguments.contains("note")) {
    EXPECT_TRUE(arguments["note"].is_string() || is_whole(arguments["note"]));
  }
}

Answer read_calls(const Dialect& dialect, const OrderedJson& tools, const std::string& text) {
  return read(dialect, {.tools = true, .tool_list = tools}, text);
}

std::vector<std::string> writable_forms() {
  std::vector<std::string> names = tool_form_names();
  std::erase(names, "harmony");
  names.emplace_back("none");
  return names;
}

bool is_in(const std::string& name, const OrderedJson& tools) {
  for (const OrderedJson& one : tools) {
    if (one["function"]["name"] == name) return true;
  }
  return false;
}

}  // namespace

TEST(ToolGrammar, samples_read_as_valid_calls_in_every_form) {
  const uint32_t seed = 20261121;
  std::mt19937 random(seed);
  int num_parallel = 0;
  for (const std::string& form : writable_forms()) {
    const Dialect dialect = dialect_of(form);
    for (const OrderedJson* tools : {&plain_tools(), &hard_tools()}) {
      const Result<Grammar> grammar = tool_grammar(dialect, *tools, ToolChoice::kRequired, "", true);
      ASSERT_TRUE(grammar.ok()) << form << ": " << grammar.error().message;
      for (int i = 0; i < kSamples; ++i) {
        const std::string text = sample(*grammar, random);
        const Answer answer = read_calls(dialect, *tools, text);
        ASSERT_FALSE(answer.calls.empty()) << form << " seed " << seed << ": " << text;
        EXPECT_EQ(answer.content, "") << form << ": " << text;
        num_parallel += answer.calls.size() > 1;
        for (const Call& call : answer.calls) {
          EXPECT_TRUE(is_in(call.name, *tools)) << form << ": " << text;
          expect_valid(call);
          if (HasFailure()) FAIL() << form << " seed " << seed << ": " << text;
        }
      }
    }
  }
  EXPECT_GT(num_parallel, 20);
}

TEST(ToolGrammar, a_named_tool_is_called_once) {
  std::mt19937 random(7);
  for (const std::string& form : writable_forms()) {
    const Dialect dialect = dialect_of(form);
    const Result<Grammar> named = tool_grammar(dialect, hard_tools(), ToolChoice::kNamed, "look_up", true);
    const Result<Grammar> single = tool_grammar(dialect, plain_tools(), ToolChoice::kRequired, "", false);
    ASSERT_TRUE(named.ok() && single.ok());
    for (int i = 0; i < 4; ++i) {
      const Answer answer = read_calls(dialect, hard_tools(), sample(*named, random));
      ASSERT_EQ(answer.calls.size(), 1u) << form;
      EXPECT_EQ(answer.calls[0].name, "look_up");
      EXPECT_EQ(read_calls(dialect, plain_tools(), sample(*single, random)).calls.size(), 1u) << form;
    }
  }
}

TEST(ToolGrammar, texts_are_in_the_forms_own_words) {
  const auto allows = [](const std::string& form, const OrderedJson& tools, const std::string& text) {
    return matches(tool_grammar(dialect_of(form), tools, ToolChoice::kRequired, "", true).value(), text);
  };
  EXPECT_TRUE(allows(
      "hermes", plain_tools(),
      "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"P\", \"unit\": \"kelvin\"}}\n"
      "</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"));
  EXPECT_FALSE(allows("hermes", plain_tools(),
                      "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a\": 1}}\n</tool_call>"));
  EXPECT_FALSE(allows("hermes", plain_tools(), "Let me see."));
  EXPECT_TRUE(allows(
      "qwen3_coder", plain_tools(),
      "<tool_call>\n<function=get_weather>\n<parameter=days>\n3\n</parameter>\n<parameter=city>\nS\xC3\xA3o\n"
      "\"<b>\"\n</parameter>\n<parameter=unit>\nkelvin\n</parameter>\n</function>\n</tool_call>"));
  EXPECT_FALSE(
      allows("qwen3_coder", plain_tools(),
             "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n"
             "</tool_call>"));
  EXPECT_TRUE(allows("qwen3_coder", hard_tools(),
                     "<tool_call>\n{\"name\": \"any\", \"arguments\": {\"x\": []}}\n</tool_call>"));
  EXPECT_TRUE(
      allows("gemma", plain_tools(),
             "<|tool_call>call:get_weather{city:<|\"|>Paris<|\"|>,unit:\"kelvin\",exact:null}<tool_call|>"));
  EXPECT_TRUE(allows("gemma", hard_tools(), "<|tool_call>call:any{\"x\": [1]}<tool_call|>"));
  EXPECT_TRUE(allows("pythonic", plain_tools(), "[get_weather(city=\"Paris\", unit=\"kelvin\"), now()]"));
  EXPECT_TRUE(allows("mistral_args", plain_tools(), "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}"));
  EXPECT_TRUE(allows("none", plain_tools(), "[{\"name\": \"now\", \"parameters\": {}}]"));
  EXPECT_FALSE(allows("none", plain_tools(), "[]"));
}

TEST(ToolGrammar, what_is_wrong_with_the_request_is_said) {
  const auto error = [](const OrderedJson& tools, ToolChoice choice, const std::string& name,
                        const char* form = "hermes") {
    const Result<Grammar> grammar = tool_grammar(dialect_of(form), tools, choice, name, true);
    return grammar.ok() ? "no error" : grammar.error().message;
  };
  EXPECT_EQ(error(plain_tools(), ToolChoice::kNamed, "nil"),
            "tool_choice: there is no tool \"nil\" in tools");
  EXPECT_EQ(error(nullptr, ToolChoice::kRequired, ""), "tools: a list of at least one tool is expected");
  EXPECT_EQ(error(OrderedJson::array({{{"type", "function"}}}), ToolChoice::kRequired, ""),
            "tools[0].function: an object is expected");
  EXPECT_EQ(error(OrderedJson::array({tool("a b", "")}), ToolChoice::kRequired, ""),
            "tools[0].function.name: letters, digits, '_', '-' and '.' are expected");
  EXPECT_EQ(
      error(OrderedJson::array({tool("f", R"({"type": "object", "not": {}})")}), ToolChoice::kRequired, ""),
      "tool \"f\": schema at /not: the keyword \"not\" is not supported");
  EXPECT_NE(error(plain_tools(), ToolChoice::kRequired, "", "harmony"), "no error");
  EXPECT_NE(error(plain_tools(), ToolChoice::kAuto, ""), "no error");
  const Result<Grammar> large =
      tool_grammar(dialect_of("hermes"), plain_tools(), ToolChoice::kRequired, "", true, {.max_states = 100});
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().code, ErrorCode::kLimit);
}

}  // namespace heed
