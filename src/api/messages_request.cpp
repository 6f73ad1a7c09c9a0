#include "api/messages_request.h"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "api/chat_messages.h"
#include "api/chat_turns.h"
#include "api/messages_content.h"

namespace heed {
namespace {

constexpr int64_t kMaxMessagesTools = 4096;
constexpr int64_t kMaxStops = 4096;  // the service has a tighter one
constexpr int64_t kMinBudget = 1024;

// The body's fields as they come; pointers into it.
struct MessagesFields {
  MessagesRequest* out = nullptr;
  const OrderedJson* system = nullptr;
  const OrderedJson* messages = nullptr;
  const OrderedJson* tools = nullptr;
  const OrderedJson* tool_choice = nullptr;
  const OrderedJson* thinking = nullptr;
  std::optional<int64_t> max_tokens;
};

GenerateRequest& generate(MessagesFields& fields) { return fields.out->chat.generate; }

void take_stops(MessagesFields& fields, const OrderedJson& value, const Place& place) {
  if (!check_elements(text(kMaxTextBytes, 1), value, place)) return;
  for (const OrderedJson& stop : value) generate(fields).stops.push_back(stop.get<std::string>());
}

struct Metadata {};
void take_user_metadata(MessagesFields&, const OrderedJson& value, const Place& place) {
  static const FieldTable<Metadata> table({harmless("user_id")});
  Metadata metadata;
  read_fields(value, table, metadata, place);
}

struct OutputConfig {
  std::string effort;
  const OrderedJson* format = nullptr;
};

struct MessagesFormat {
  std::string type;
  const OrderedJson* schema = nullptr;
};

void take_output_config(MessagesFields& fields, const OrderedJson& value, const Place& place) {
  static const FieldTable<OutputConfig> table({
      field("effort", one_of({"low", "medium", "high", "xhigh", "max"}), &OutputConfig::effort),
      field("format", object(), &OutputConfig::format),
  });
  static const FieldTable<MessagesFormat> format_table({
      field("type", one_of({"json_schema"}), &MessagesFormat::type),
      field("schema", object(), &MessagesFormat::schema),
  });
  OutputConfig config;
  read_fields(value, table, config, place);
  if (place.failed()) return;
  if (!config.effort.empty()) fields.out->chat.template_variables["reasoning_effort"] = config.effort;
  if (config.format == nullptr) return;
  const Place here = place.at("format");
  MessagesFormat format;
  read_fields(*config.format, format_table, format, here);
  if (place.failed()) return;
  if (format.type.empty() || format.schema == nullptr)
    return here.expected(*config.format, "an object with 'type' and 'schema'");
  generate(fields).format = {.kind = OutputFormat::Kind::kJsonSchema, .schema = *format.schema};
}

struct Thinking {
  std::string type;
  std::optional<int64_t> budget;
};

void read_thinking(const MessagesFields& fields, bool counting, const Place& place) {
  static const FieldTable<Thinking> table({
      field("type", one_of({"enabled", "disabled", "adaptive"}), &Thinking::type),
      field("budget_tokens", integer(kMinBudget, kMaxInt), &Thinking::budget),
      refused("display", "thinking is shown as it is", "summarized"),
  });
  Thinking thinking;
  read_fields(*fields.thinking, table, thinking, place);
  if (place.failed()) return;
  if (thinking.type.empty()) return place.expected(*fields.thinking, "an object with 'type'");
  if (thinking.type == "enabled") {
    if (!thinking.budget) return place.missing("budget_tokens");
    if (!counting && *thinking.budget >= *fields.max_tokens)
      return place.at("budget_tokens").fail("'thinking.budget_tokens' must be less than 'max_tokens'");
  }
  // The names that templates know: Qwen's, and DeepSeek's and Granite's.
  for (const char* name : {"enable_thinking", "thinking"})
    fields.out->chat.template_variables[name] = thinking.type != "disabled";
}

struct MessagesTool {
  std::string type;
  std::string name;
  std::string description;
  const OrderedJson* schema = nullptr;
  bool strict = false;
};

void read_messages_tool(const OrderedJson& value, OrderedJson& tools, const Place& place) {
  static const FieldTable<MessagesTool> table({
      field("type", one_of({"custom"}), &MessagesTool::type),
      field("name", text(kMaxNameBytes, 1), &MessagesTool::name),
      field("description", text(kMaxTextBytes), &MessagesTool::description),
      field("input_schema", object(), &MessagesTool::schema),
      field("strict", boolean(), &MessagesTool::strict),
      harmless("cache_control"),
      harmless("eager_input_streaming"),
      refused("allowed_callers", "only the model itself calls tools here", OrderedJson::array({"direct"})),
      refused("defer_loading", "the model sees all tools", false),
      refused("input_examples", "chat templates have no place for them"),
  });
  if (value.is_object() && value.contains("type") && value["type"].is_string() && value["type"] != "custom") {
    return place.at("type").fail("tools of type " + in_words(value["type"]) +
                                 R"( are not supported: only "custom", which the client runs)");
  }
  MessagesTool tool;
  read_fields(value, table, tool, place);
  if (place.failed()) return;
  if (tool.name.empty()) return place.missing("name");
  if (tool.schema == nullptr) return place.missing("input_schema");
  OrderedJson function = {{"name", tool.name}};
  if (!tool.description.empty()) function["description"] = tool.description;
  function["parameters"] = *tool.schema;
  if (tool.strict) function["strict"] = true;
  tools.push_back({{"type", "function"}, {"function", std::move(function)}});
}

void read_tools(const MessagesFields& fields, const Place& place) {
  if (!check_shape(list(kMaxMessagesTools), *fields.tools, place)) return;
  OrderedJson tools = OrderedJson::array();
  int64_t index = 0;
  for (const OrderedJson& tool : *fields.tools) {
    read_messages_tool(tool, tools, place.at(index++));
    if (place.failed()) return;
  }
  if (!tools.empty()) fields.out->chat.tools = std::move(tools);
}

struct MessagesToolChoice {
  std::string type;
  std::string name;
  bool disable_parallel = false;
};

void read_tool_choice(MessagesFields& fields, const Place& place) {
  static const FieldTable<MessagesToolChoice> table({
      field("type", one_of({"auto", "any", "tool", "none"}), &MessagesToolChoice::type),
      field("name", text(kMaxNameBytes, 1), &MessagesToolChoice::name),
      field("disable_parallel_tool_use", boolean(), &MessagesToolChoice::disable_parallel),
  });
  MessagesToolChoice choice;
  read_fields(*fields.tool_choice, table, choice, place);
  if (place.failed()) return;
  ChatRequest& chat = fields.out->chat;
  chat.parallel_tool_calls = !choice.disable_parallel;
  if (choice.type.empty()) return place.expected(*fields.tool_choice, "an object with 'type'");
  if (choice.type == "none") {
    chat.tool_choice = ToolChoice::kNone;
  } else if (choice.type == "any") {
    chat.tool_choice = ToolChoice::kRequired;
  } else if (choice.type == "tool") {
    chat.tool_choice = ToolChoice::kNamed;
    chat.tool_name = choice.name;
    if (!offers(chat.tools, choice.name))
      return place.at("name").fail("'tool_choice.name' names none of the tools");
  }
  const bool forces = chat.tool_choice == ToolChoice::kRequired || chat.tool_choice == ToolChoice::kNamed;
  if (forces && chat.tools.is_null())
    place.fail("'tool_choice' asks for a tool, and the request has no tools");
  if (forces && generate(fields).format.kind != OutputFormat::Kind::kText)
    place.fail("'tool_choice' asks for a tool call and 'output_config.format' for another text");
}

// MessagesFields that both routes have.
std::vector<Field<MessagesFields>> common_rows() {
  return {
      field(
          "model", text(kMaxNameBytes, 1),
          +[](MessagesFields& fields, const OrderedJson& value, const Place&) {
            fields.out->model = value.get<std::string>();
          }),
      field("messages", other(), &MessagesFields::messages),
      field("system", other(), &MessagesFields::system),
      field("tools", other(), &MessagesFields::tools),
      field("tool_choice", object(), &MessagesFields::tool_choice),
      field("thinking", object(), &MessagesFields::thinking),
      field("output_config", object(), take_output_config),
      harmless("cache_control"),
      refused("speed", "there is one speed here", "standard"),
      refused("mcp_servers", "this server calls no others", OrderedJson::array()),
      refused("context_management", "the client manages the context here", OrderedJson::object()),
  };
}

const FieldTable<MessagesFields>& counting_table() {
  static const FieldTable<MessagesFields> table(common_rows());
  return table;
}

const FieldTable<MessagesFields>& full_table() {
  static const FieldTable<MessagesFields> table([] {
    std::vector<Field<MessagesFields>> rows = common_rows();
    const std::vector<Field<MessagesFields>> more = {
        field("max_tokens", integer(1, kMaxInt), &MessagesFields::max_tokens),
        field(
            "stream", boolean(),
            +[](MessagesFields& fields, const OrderedJson& value, const Place&) {
              fields.out->stream = value.get<bool>();
            }),
        field(
            "temperature", number(0, 1),
            +[](MessagesFields& fields, const OrderedJson& value, const Place&) {
              generate(fields).sampling.temperature = value.get<float>();
            }),
        field(
            "top_p", number_above(0, 1),
            +[](MessagesFields& fields, const OrderedJson& value, const Place&) {
              generate(fields).sampling.top_p = value.get<float>();
            }),
        field(
            "top_k", integer(0, kMaxInt),
            +[](MessagesFields& fields, const OrderedJson& value, const Place&) {
              generate(fields).sampling.top_k = static_cast<int>(value.get<int64_t>());
            }),
        field("stop_sequences", list(kMaxStops), take_stops),
        field("metadata", object(), take_user_metadata),
        field(
            "cache_salt", text(kMaxNameBytes, 1),
            +[](MessagesFields& fields, const OrderedJson& value, const Place&) {
              generate(fields).cache_salt = value.get<std::string>();
            }),
        field(
            "priority", integer(INT32_MIN, INT32_MAX),
            +[](MessagesFields& fields, const OrderedJson& value, const Place&) {
              generate(fields).priority = static_cast<int>(value.get<int64_t>());
            }),
        field(
            "service_tier", one_of({"auto", "standard_only"}),
            +[](MessagesFields&, const OrderedJson&, const Place&) {}),
        refused("container", "there are no containers here"),
        refused("inference_geo", "this server is where it is"),
        refused("diagnostics", "there are none here"),
    };
    rows.insert(rows.end(), more.begin(), more.end());
    return rows;
  }());
  return table;
}

}  // namespace

void read_messages_request(const OrderedJson& body, bool counting, MessagesRequest& request,
                           const Place& place) {
  MessagesFields fields{.out = &request};
  read_fields(body, counting ? counting_table() : full_table(), fields, place);
  if (place.failed()) return;
  const auto require = [&](bool there, const char* name) {
    if (!there) place.missing(name);
  };
  require(!request.model.empty(), "model");
  if (!counting) require(fields.max_tokens.has_value(), "max_tokens");
  require(fields.messages != nullptr, "messages");
  if (place.failed()) return;

  ChatRequest& chat = request.chat;
  if (fields.max_tokens) chat.generate.max_tokens = static_cast<int>(*fields.max_tokens);
  if (fields.thinking != nullptr) read_thinking(fields, counting, place.at("thinking"));
  if (fields.tools != nullptr) read_tools(fields, place.at("tools"));
  if (place.failed()) return;
  if (fields.tool_choice != nullptr) read_tool_choice(fields, place.at("tool_choice"));
  ChatTurns turns;
  if (!place.failed()) {
    const OrderedJson none;
    read_conversation(fields.system != nullptr ? *fields.system : none, *fields.messages, turns,
                      request.images, place);
  }
  if (place.failed()) return;
  chat.continue_final_message = turns.ends_with_assistant();
  chat.add_generation_prompt = !chat.continue_final_message;
  chat.messages = turns.take();
}

}  // namespace heed
