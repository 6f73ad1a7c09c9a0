#include "api/chat_messages.h"

#include <algorithm>

#include "api/body.h"
#include "api/message_parts.h"

namespace heed {
namespace {

constexpr int64_t kMaxChatMessages = 10'000;
constexpr int64_t kMaxChatParts = 10'000;
constexpr int64_t kMaxCalls = 1'000;
constexpr int64_t kMaxChatTools = 1'000;

struct ChatMessage {
  std::string role;
  const OrderedJson* content = nullptr;
  const OrderedJson* tool_calls = nullptr;
  std::optional<std::string> name, tool_call_id, reasoning, reasoning_content;
};

const FieldTable<ChatMessage>& chat_message_table() {
  static const FieldTable<ChatMessage> table({
      field("role", one_of({"system", "developer", "user", "assistant", "tool"}), &ChatMessage::role),
      field("content", other(), &ChatMessage::content),
      field("name", text(kMaxNameBytes), &ChatMessage::name),
      field("tool_calls", list(kMaxCalls), &ChatMessage::tool_calls),
      field("tool_call_id", text(kMaxNameBytes), &ChatMessage::tool_call_id),
      field("reasoning", text(kMaxTextBytes), &ChatMessage::reasoning),
      field("reasoning_content", text(kMaxTextBytes), &ChatMessage::reasoning_content),
      harmless("refusal"),
      refused("annotations", "messages are text", OrderedJson::array()),
      refused("audio", "messages are text"),
      refused("function_call", "it is deprecated; give 'tool_calls'"),
      refused("prefix", "set 'continue_final_message' of the request", false),
  });
  return table;
}

struct ChatPart {
  std::string type;
  std::optional<std::string> text, refusal;
  const OrderedJson* image_url = nullptr;
};

const FieldTable<ChatPart>& chat_part_table() {
  static const FieldTable<ChatPart> table({
      field("type", text(kMaxNameBytes), &ChatPart::type),
      field("text", text(kMaxTextBytes), &ChatPart::text),
      field("refusal", text(kMaxTextBytes), &ChatPart::refusal),
      field("image_url", other(), &ChatPart::image_url),
      harmless("annotations"),
      harmless("cache_control"),
      harmless("prompt_cache_breakpoint"),
  });
  return table;
}

// `images`: null where the role shows none.
MessagePart read_part(const OrderedJson& value, ImageParts* images, const Place& place) {
  if (!value.is_object()) return place.expected(value, "an object"), MessagePart();
  const bool sees = images != nullptr && images->rules().accepted;
  const auto type = value.find("type");
  if (type == value.end() || !type->is_string()) {
    place.at("type").fail("'" + place.path() + ".type' is required: \"text\"" +
                          (sees ? " or \"image_url\"" : ""));
    return {};
  }
  const auto& kind = type->get_ref<const std::string&>();
  const bool is_text = kind == "text" || kind == "input_text" || kind == "output_text";
  const bool is_image = sees && kind == "image_url";
  if (!is_text && !is_image && kind != "refusal") {
    const char* accepted = sees ? R"(parts of type "text" and "image_url" are accepted)"
                           : images != nullptr
                               ? R"(this model reads text, and parts of type "text" are accepted)"
                               : R"(in messages of this role parts of type "text" are accepted)";
    place.at("type").fail("'" + place.path() + "' is of type " + in_words(*type) + "; " + accepted,
                          "unsupported_content");
    return {};
  }
  ChatPart part;
  read_fields(value, chat_part_table(), part, place);
  if (place.failed()) return {};
  if (is_image) {
    if (part.image_url == nullptr) return place.missing("image_url"), MessagePart();
    return {.image = read_image_url(*part.image_url, "", *images, place.at("image_url"))};
  }
  const std::optional<std::string>& said = is_text ? part.text : part.refusal;
  if (!said) place.missing(is_text ? "text" : "refusal");
  return {.text = said.value_or("")};
}

OrderedJson read_content(const OrderedJson& value, ImageParts* images, const Place& place) {
  if (value.is_string()) return value;
  if (!value.is_array()) return place.expected(value, "a string or a list of parts"), nullptr;
  if (!check_shape(list(kMaxChatParts), value, place)) return nullptr;
  std::vector<MessagePart> parts;
  for (const OrderedJson& part : value) {
    parts.push_back(read_part(part, images, place.at(std::ssize(parts))));
    if (place.failed()) return nullptr;
  }
  return content_of(std::move(parts), "\n");
}

struct CalledFunction {
  std::string name;
  const OrderedJson* arguments = nullptr;
};
struct ChatCall {
  std::optional<std::string> id, type;
  const OrderedJson* function = nullptr;
};

OrderedJson read_arguments(const OrderedJson* value, BodyLimits& limits, const Place& place) {
  if (value == nullptr) return OrderedJson::object();
  if (value->is_object()) return *value;
  if (!value->is_string()) return place.expected(*value, "an object's JSON text"), nullptr;
  const auto& text = value->get_ref<const std::string&>();
  if (text.empty()) return OrderedJson::object();
  Result<OrderedJson> parsed = parse_within(text, "'" + place.path() + "'", limits);
  if (!parsed.ok()) return place.fail(parsed.error()), nullptr;
  if (!parsed->is_object()) return place.expected(*parsed, "the JSON text of an object"), nullptr;
  return *std::move(parsed);
}

OrderedJson read_chat_call(const OrderedJson& value, BodyLimits& limits, const Place& place) {
  static const FieldTable<ChatCall> call_table({
      field("id", text(kMaxNameBytes), &ChatCall::id),
      field("type", one_of({"function"}), &ChatCall::type),
      field("function", object(), &ChatCall::function),
      harmless("index"),
  });
  static const FieldTable<CalledFunction> function_table({
      field("name", text(kMaxNameBytes, 1), &CalledFunction::name),
      field("arguments", other(), &CalledFunction::arguments),
  });
  ChatCall call;
  read_fields(value, call_table, call, place);
  if (place.failed()) return nullptr;
  const Place inner = place.at("function");
  if (call.function == nullptr) return inner.fail("'" + inner.path() + "' is required"), nullptr;
  CalledFunction function;
  read_fields(*call.function, function_table, function, inner);
  if (place.failed()) return nullptr;
  if (function.name.empty()) return inner.fail("'" + inner.path() + ".name' is required"), nullptr;
  OrderedJson arguments = read_arguments(function.arguments, limits, inner.at("arguments"));
  OrderedJson result = OrderedJson::object();
  if (call.id) result["id"] = *call.id;
  result["type"] = "function";
  result["function"] = {{"name", function.name}, {"arguments", std::move(arguments)}};
  return result;
}

// What a role may not say, or must.
void check_role(const ChatMessage& message, const Place& place) {
  if (message.role.empty()) return place.missing("role");
  if (message.tool_calls != nullptr && !message.tool_calls->empty() && message.role != "assistant") {
    return place.at("tool_calls")
        .fail("'" + place.path() +
              ".tool_calls' belongs to messages of the role "
              "\"assistant\"");
  }
  if (message.tool_call_id && message.role != "tool") {
    return place.at("tool_call_id")
        .fail("'" + place.path() +
              ".tool_call_id' belongs to messages of the role "
              "\"tool\"");
  }
  if (message.content == nullptr && message.role != "assistant") place.missing("content");
}

OrderedJson read_chat_message(const OrderedJson& value, bool knows_developer, BodyLimits& limits,
                              ImageParts& images, const Place& place) {
  ChatMessage message;
  read_fields(value, chat_message_table(), message, place);
  if (place.failed()) return nullptr;
  check_role(message, place);
  if (place.failed()) return nullptr;
  const bool is_system = message.role == "developer" && !knows_developer;
  OrderedJson result{{"role", is_system ? "system" : message.role}};
  const bool shows_images = message.role == "user" || message.role == "tool";
  result["content"] = "";
  if (message.content != nullptr)
    result["content"] = read_content(*message.content, shows_images ? &images : nullptr, place.at("content"));
  if (message.name) result["name"] = *message.name;
  if (message.tool_call_id) result["tool_call_id"] = *message.tool_call_id;
  const auto& thoughts = message.reasoning ? message.reasoning : message.reasoning_content;
  if (thoughts) {
    result["reasoning"] = *thoughts;
    result["reasoning_content"] = *thoughts;
  }
  if (message.tool_calls == nullptr || message.tool_calls->empty()) return result;
  const Place calls_place = place.at("tool_calls");
  OrderedJson calls = OrderedJson::array();
  for (const OrderedJson& call : *message.tool_calls) {
    calls.push_back(read_chat_call(call, limits, calls_place.at(std::ssize(calls))));
    if (place.failed()) return nullptr;
  }
  result["tool_calls"] = std::move(calls);
  return result;
}

struct ChatTool {
  std::string type;
  const OrderedJson* function = nullptr;
};
struct OfferedFunction {
  std::string name;
  const OrderedJson* parameters = nullptr;
  bool strict = false;
};

void check_tool(const OrderedJson& value, const Place& place) {
  static const FieldTable<ChatTool> tool_table({
      field("type", one_of({"function"}), &ChatTool::type),
      field("function", object(), &ChatTool::function),
      refused("defer_loading", "all tools are shown to the model", false),
  });
  static const FieldTable<OfferedFunction> function_table({
      field("name", text(kMaxNameBytes, 1), &OfferedFunction::name),
      harmless("description"),
      field("parameters", object(), &OfferedFunction::parameters),
      field("strict", boolean(), &OfferedFunction::strict),
  });
  ChatTool tool;
  read_fields(value, tool_table, tool, place);
  if (place.failed()) return;
  const Place inner = place.at("function");
  if (tool.function == nullptr) return inner.fail("'" + inner.path() + "' is required");
  OfferedFunction function;
  read_fields(*tool.function, function_table, function, inner);
  if (!place.failed() && function.name.empty()) inner.missing("name");
}

struct NamedFunction {
  std::string type;
  const OrderedJson* function = nullptr;
};

}  // namespace

bool offers(const OrderedJson& tools, const std::string& name) {
  return tools.is_array() && std::any_of(tools.begin(), tools.end(), [&](const OrderedJson& tool) {
           return tool["function"]["name"] == name;
         });
}

OrderedJson read_messages(const OrderedJson& value, bool knows_developer, ImageParts& images,
                          const Place& place) {
  if (!check_shape(list(kMaxChatMessages, 1), value, place)) return nullptr;
  BodyLimits limits;  // of all arguments together
  OrderedJson messages = OrderedJson::array();
  for (const OrderedJson& message : value) {
    messages.push_back(
        read_chat_message(message, knows_developer, limits, images, place.at(std::ssize(messages))));
    if (place.failed()) return nullptr;
  }
  return messages;
}

void check_tools(const OrderedJson& value, const Place& place) {
  if (!check_shape(list(kMaxChatTools), value, place)) return;
  int64_t index = 0;
  for (const OrderedJson& tool : value) {
    check_tool(tool, place.at(index++));
    if (place.failed()) return;
  }
}

ChosenTool read_tool_choice(const OrderedJson& value, const OrderedJson* tools, const Place& place) {
  constexpr const char* kForms =
      R"("none", "auto", "required" or {"type": "function", "function": {"name": ...}})";
  ChosenTool chosen;
  if (value.is_string()) {
    const auto& word = value.get_ref<const std::string&>();
    if (word != "none" && word != "auto" && word != "required") return place.expected(value, kForms), chosen;
    if (word == "none") chosen.choice = ToolChoice::kNone;
    if (word == "required") chosen.choice = ToolChoice::kRequired;
  } else {
    static const FieldTable<NamedFunction> named_table({
        field("type", one_of({"function"}), &NamedFunction::type),
        field("function", object(), &NamedFunction::function),
    });
    static const FieldTable<CalledFunction> function_table({
        field("name", text(kMaxNameBytes, 1), &CalledFunction::name),
    });
    if (!value.is_object()) return place.expected(value, kForms), chosen;
    NamedFunction named;
    read_fields(value, named_table, named, place);
    if (place.failed()) return chosen;
    if (named.function == nullptr) return place.expected(value, kForms), chosen;
    CalledFunction function;
    read_fields(*named.function, function_table, function, place.at("function"));
    chosen = {.choice = ToolChoice::kNamed, .name = function.name};
  }
  const bool needs_tools = chosen.choice == ToolChoice::kRequired || chosen.choice == ToolChoice::kNamed;
  if (place.failed() || !needs_tools) return chosen;
  if (tools == nullptr || tools->empty()) {
    place.fail("'tool_choice' asks for a tool, and 'tools' offers none");
  } else if (chosen.choice == ToolChoice::kNamed && !offers(*tools, chosen.name)) {
    place.fail("'tool_choice' names " + in_words(chosen.name) + ", which is not among 'tools'");
  }
  return chosen;
}

}  // namespace heed
