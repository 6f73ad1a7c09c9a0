#include "api/responses_input.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "api/body.h"
#include "api/chat_turns.h"

namespace heed {
namespace {

constexpr int64_t kMaxParts = 100'000;
constexpr int64_t kMaxItems = 100'000;
constexpr const char* kItemTypes = R"("message", "reasoning", "function_call" or "function_call_output")";

struct ItemPart {
  std::string type;
  std::optional<std::string> text;
};

// Reads the parts of a content, all of which must be text.
std::vector<std::string> read_parts(const OrderedJson& content, const Place& place) {
  static const FieldTable<ItemPart> table({
      field("type", text(64, 1), &ItemPart::type),
      field("text", text(kMaxTextBytes), &ItemPart::text),
      field("refusal", text(kMaxTextBytes), &ItemPart::text),
      harmless("annotations"),
      harmless("logprobs"),
      harmless("prompt_cache_breakpoint"),
  });
  static const std::array<std::string_view, 6> texts = {"input_text",     "output_text",  "text",
                                                        "reasoning_text", "summary_text", "refusal"};
  std::vector<std::string> parts;
  if (content.is_string()) return {content.get<std::string>()};
  if (!check_shape(list(kMaxParts), content, place)) return parts;
  int64_t index = 0;
  for (const OrderedJson& value : content) {
    const Place here = place.at(index++);
    const std::string type = value.is_object() && value.contains("type") && value["type"].is_string()
                                 ? value["type"].get<std::string>()
                                 : "";
    if (type == "input_image" || type == "input_file" || type == "input_audio") {
      here.at("type").fail("parts of type '" + type + "' are not supported: only text is, 'input_text'");
      return parts;
    }
    ItemPart part;
    read_fields(value, table, part, here);
    if (place.failed()) return parts;
    if (std::find(texts.begin(), texts.end(), part.type) == texts.end()) {
      here.at("type").expected(part.type, R"("input_text", "output_text" or "refusal")");
      return parts;
    }
    if (!part.text) {
      here.missing(part.type == "refusal" ? "refusal" : "text");
      return parts;
    }
    parts.push_back(*std::move(part.text));
  }
  return parts;
}

// All fields of all kinds of items; which of them an item must have, its kind says.
struct Item {
  std::string type;
  std::string role;
  const OrderedJson* content = nullptr;
  const OrderedJson* summary = nullptr;
  const OrderedJson* output = nullptr;
  std::string call_id;
  std::string name;
  std::optional<std::string> arguments;
};

const FieldTable<Item>& message_item_table() {
  static const FieldTable<Item> table({
      field("type", one_of({"message"}), &Item::type),
      field("role", one_of({"user", "assistant", "system", "developer"}), &Item::role),
      field("content", other(), &Item::content),
      harmless("id"),
      harmless("status"),
      harmless("phase"),
  });
  return table;
}

const FieldTable<Item>& reasoning_item_table() {
  static const FieldTable<Item> table({
      field("type", one_of({"reasoning"}), &Item::type),
      field("content", other(), &Item::content),
      field("summary", other(), &Item::summary),
      refused("encrypted_content", "it comes from another server"),
      harmless("id"),
      harmless("status"),
  });
  return table;
}

const FieldTable<Item>& call_item_table() {
  static const FieldTable<Item> table({
      field("type", one_of({"function_call"}), &Item::type),
      field("call_id", text(kMaxNameBytes, 1), &Item::call_id),
      field("name", text(kMaxNameBytes, 1), &Item::name),
      field("arguments", text(kMaxTextBytes), &Item::arguments),
      refused("namespace", "tools have no namespaces here"),
      refused("caller", "only the model itself calls tools here", {{"type", "direct"}}),
      refused("async", "calls are not asynchronous here", false),
      harmless("id"),
      harmless("status"),
      harmless("parsed_arguments"),
  });
  return table;
}

const FieldTable<Item>& output_item_table() {
  static const FieldTable<Item> table({
      field("type", one_of({"function_call_output"}), &Item::type),
      field("call_id", text(kMaxNameBytes, 1), &Item::call_id),
      field("output", other(), &Item::output),
      refused("namespace", "tools have no namespaces here"),
      refused("caller", "only the model itself calls tools here", {{"type", "direct"}}),
      harmless("id"),
      harmless("status"),
      harmless("name"),
  });
  return table;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += part;
  return all;
}

class ItemReader {
 public:
  explicit ItemReader(std::string instructions) : system_(std::move(instructions)) {}

  void read(const OrderedJson& items, const Place& place) {
    if (!check_shape(list(kMaxItems), items, place)) return;
    int64_t index = 0;
    for (const OrderedJson& item : items) {
      read_item(item, place.at(index++));
      if (place.failed()) return;
    }
  }
  OrderedJson messages() {
    flush_system();
    return turns_.take();
  }

 private:
  void read_item(const OrderedJson& value, const Place& here) {
    if (!value.is_object()) return here.expected(value, "an item: an object with 'type'");
    std::string type;
    if (value.contains("type") && value["type"].is_string()) type = value["type"].get<std::string>();
    if (type.empty() && value.contains("role")) type = "message";
    if (type == "message") return read_message(value, here);
    flush_system();
    if (type == "reasoning") return read_reasoning(value, here);
    if (type == "function_call") return read_call(value, here);
    if (type == "function_call_output") return read_output(value, here);
    here.at("type").expected(type, kItemTypes);
  }

  void read_message(const OrderedJson& value, const Place& here) {
    Item item;
    read_fields(value, message_item_table(), item, here);
    if (here.failed()) return;
    if (item.role.empty()) return here.missing("role");
    if (item.content == nullptr) return here.missing("content");
    std::vector<std::string> parts = read_parts(*item.content, here.at("content"));
    if (here.failed()) return;
    const bool is_system = item.role == "system" || item.role == "developer";
    if (is_system && turns_.empty()) {
      for (const std::string& part : parts) system_ += (system_.empty() ? "" : "\n\n") + part;
      return;
    }
    flush_system();
    if (is_system) {
      turns_.system(std::move(parts));
    } else if (item.role == "user") {
      turns_.user(std::move(parts));
    } else {
      if (after_message_) turns_.break_turn();
      turns_.assistant(joined(parts));
    }
    after_message_ = item.role == "assistant";
  }

  void read_reasoning(const OrderedJson& value, const Place& here) {
    Item item;
    read_fields(value, reasoning_item_table(), item, here);
    if (here.failed()) return;
    // The reasoning itself where there is some, else what is left of it.
    std::vector<std::string> parts;
    if (item.content != nullptr) parts = read_parts(*item.content, here.at("content"));
    if (parts.empty() && item.summary != nullptr) parts = read_parts(*item.summary, here.at("summary"));
    if (here.failed() || parts.empty()) return;
    turns_.break_turn();
    turns_.reasoning(joined(parts));
    after_message_ = false;
  }

  void read_call(const OrderedJson& value, const Place& here) {
    Item item;
    read_fields(value, call_item_table(), item, here);
    if (here.failed()) return;
    if (item.call_id.empty()) return here.missing("call_id");
    if (item.name.empty()) return here.missing("name");
    if (!item.arguments) return here.missing("arguments");
    const Place inner = here.at("arguments");
    Result<OrderedJson> arguments = parse_within(*item.arguments, "'" + inner.path() + "'", limits_);
    if (!arguments.ok()) return inner.fail(arguments.error());
    if (!arguments->is_object()) return inner.expected(*arguments, "the JSON text of an object");
    turns_.tool_call(item.call_id, item.name, std::move(arguments).value());
    after_message_ = false;
  }

  void read_output(const OrderedJson& value, const Place& here) {
    Item item;
    read_fields(value, output_item_table(), item, here);
    if (here.failed()) return;
    if (item.call_id.empty()) return here.missing("call_id");
    if (item.output == nullptr) return here.missing("output");
    std::vector<std::string> parts = read_parts(*item.output, here.at("output"));
    if (here.failed()) return;
    if (!turns_.tool_result(item.call_id, std::move(parts)))
      here.at("call_id").fail("no function_call before it has the call_id '" + item.call_id + "'");
    after_message_ = false;
  }

  void flush_system() {
    if (!system_.empty()) turns_.system({std::exchange(system_, {})});
  }

  std::string system_;  // said so far at the start
  ChatTurns turns_;
  BodyLimits limits_;           // of all arguments together
  bool after_message_ = false;  // the last item was a message of the assistant's
};

}  // namespace

OrderedJson input_items(const OrderedJson& input) {
  if (!input.is_string()) return input;
  return OrderedJson::array({{{"type", "message"},
                              {"role", "user"},
                              {"content", OrderedJson::array({{{"type", "input_text"}, {"text", input}}})}}});
}

OrderedJson messages_of_items(const std::string& instructions, const OrderedJson& previous,
                              const OrderedJson& input, const Place& place) {
  ItemReader reader(instructions);
  if (previous.is_array()) reader.read(previous, place.at("previous_response_id"));
  if (!place.failed()) reader.read(input, place.at("input"));
  return reader.messages();
}

}  // namespace heed
