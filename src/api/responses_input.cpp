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
  std::string type, detail;
  std::optional<std::string> text;
  const OrderedJson* image_url = nullptr;
};

const FieldTable<ItemPart>& text_part_table() {
  static const FieldTable<ItemPart> table({
      field("type", text(64, 1), &ItemPart::type),
      field("text", text(kMaxTextBytes), &ItemPart::text),
      field("refusal", text(kMaxTextBytes), &ItemPart::text),
      harmless("annotations"),
      harmless("logprobs"),
      harmless("prompt_cache_breakpoint"),
  });
  return table;
}

const FieldTable<ItemPart>& image_part_table() {
  static const FieldTable<ItemPart> table({
      field("type", one_of({"input_image"}), &ItemPart::type),
      field("image_url", text(kMaxTextBytes, 1), &ItemPart::image_url),
      field("detail", image_detail(), &ItemPart::detail),
      refused("file_id", "files are not read as pictures; give 'image_url', which may be a data: URL"),
      harmless("prompt_cache_breakpoint"),
  });
  return table;
}

MessagePart read_image_part(const OrderedJson& value, ImageParts& images, const Place& here) {
  ItemPart part;
  read_fields(value, image_part_table(), part, here);
  if (here.failed()) return {};
  if (part.image_url == nullptr) return here.missing("image_url"), MessagePart();
  return {.image = read_image_url(*part.image_url, part.detail, images, here.at("image_url"))};
}

MessagePart read_text_part(const OrderedJson& value, const char* accepted, const Place& here) {
  static const std::array<std::string_view, 6> texts = {"input_text",     "output_text",  "text",
                                                        "reasoning_text", "summary_text", "refusal"};
  ItemPart part;
  read_fields(value, text_part_table(), part, here);
  if (here.failed()) return {};
  if (std::find(texts.begin(), texts.end(), part.type) == texts.end()) {
    here.at("type").expected(part.type, accepted);
  } else if (!part.text) {
    here.missing(part.type == "refusal" ? "refusal" : "text");
  }
  return {.text = std::move(part.text).value_or("")};
}

// Reads the parts of a content. `images`: null where all must be text.
std::vector<MessagePart> read_parts(const OrderedJson& content, ImageParts* images, const Place& place) {
  if (content.is_string()) return {{.text = content.get<std::string>()}};
  std::vector<MessagePart> parts;
  if (!check_shape(list(kMaxParts), content, place)) return parts;
  const bool sees = images != nullptr && images->rules().accepted;
  for (const OrderedJson& value : content) {
    const Place here = place.at(std::ssize(parts));
    const std::string type = value.is_object() && value.contains("type") && value["type"].is_string()
                                 ? value["type"].get<std::string>()
                                 : "";
    if (type == "input_image" && sees) {
      parts.push_back(read_image_part(value, *images, here));
    } else if (type == "input_image" || type == "input_file" || type == "input_audio") {
      here.at("type").fail(
          "parts of type '" + type + "' are not supported" +
          (sees ? ": only 'input_text' and 'input_image' are" : " here: only text is, 'input_text'"));
    } else {
      const char* accepted = sees ? R"("input_text", "input_image", "output_text" or "refusal")"
                                  : R"("input_text", "output_text" or "refusal")";
      parts.push_back(read_text_part(value, accepted, here));
    }
    if (place.failed()) return parts;
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

std::string joined(const std::vector<MessagePart>& parts) {
  std::string all;
  for (const MessagePart& part : parts) all += part.text;
  return all;
}

class ItemReader {
 public:
  ItemReader(std::string instructions, ImageParts& images)
      : system_(std::move(instructions)), images_(images) {}

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
    ImageParts* images = item.role == "user" ? &images_ : nullptr;
    std::vector<MessagePart> parts = read_parts(*item.content, images, here.at("content"));
    if (here.failed()) return;
    const bool is_system = item.role == "system" || item.role == "developer";
    if (is_system && turns_.empty()) {
      for (const MessagePart& part : parts) system_ += (system_.empty() ? "" : "\n\n") + part.text;
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
    std::vector<MessagePart> parts;
    if (item.content != nullptr) parts = read_parts(*item.content, nullptr, here.at("content"));
    if (parts.empty() && item.summary != nullptr)
      parts = read_parts(*item.summary, nullptr, here.at("summary"));
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
    std::vector<MessagePart> parts = read_parts(*item.output, &images_, here.at("output"));
    if (here.failed()) return;
    if (!turns_.tool_result(item.call_id, std::move(parts)))
      here.at("call_id").fail("no function_call before it has the call_id '" + item.call_id + "'");
    after_message_ = false;
  }

  void flush_system() {
    if (!system_.empty()) turns_.system({{.text = std::exchange(system_, {})}});
  }

  std::string system_;  // said so far at the start
  ImageParts& images_;
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
                              const OrderedJson& input, ImageParts& images, const Place& place) {
  ItemReader reader(instructions, images);
  if (previous.is_array()) reader.read(previous, place.at("previous_response_id"));
  if (!place.failed()) reader.read(input, place.at("input"));
  return reader.messages();
}

}  // namespace heed
