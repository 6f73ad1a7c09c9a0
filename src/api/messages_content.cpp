#include "api/messages_content.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace heed {
namespace {

constexpr int64_t kMaxMessages = 100'000;
constexpr int64_t kMaxBlocks = 100'000;

// All fields of all kinds of blocks.
struct Block {
  std::string type;
  std::optional<std::string> text;  // or thinking
  std::string id;                   // or tool_use_id
  std::string name;
  const OrderedJson* input = nullptr;
  const OrderedJson* content = nullptr;
  const OrderedJson* source = nullptr;
  bool is_error = false;
};

const FieldTable<Block>& text_table() {
  static const FieldTable<Block> table({
      field("type", one_of({"text"}), &Block::type),
      field("text", text(kMaxTextBytes), &Block::text),
      harmless("cache_control"),
      refused("citations", "answers cite nothing", OrderedJson::array()),
      harmless("parsed_output"),
  });
  return table;
}

const FieldTable<Block>& image_table() {
  static const FieldTable<Block> table({
      field("type", one_of({"image"}), &Block::type),
      field("source", object(), &Block::source),
      harmless("cache_control"),
      refused("transformations", "pictures are shown as they are", OrderedJson::object()),
  });
  return table;
}

const FieldTable<Block>& thinking_table() {
  static const FieldTable<Block> table({
      field("type", one_of({"thinking"}), &Block::type),
      field("thinking", text(kMaxTextBytes), &Block::text),
      harmless("signature"),
  });
  return table;
}

const FieldTable<Block>& tool_use_table() {
  static const FieldTable<Block> table({
      field("type", one_of({"tool_use"}), &Block::type),
      field("id", text(kMaxNameBytes, 1), &Block::id),
      field("name", text(kMaxNameBytes, 1), &Block::name),
      field("input", object(), &Block::input),
      harmless("cache_control"),
      refused("caller", "only the model itself calls tools here", {{"type", "direct"}}),
      refused("toolset_name", "there are no toolsets here"),
  });
  return table;
}

const FieldTable<Block>& tool_result_table() {
  static const FieldTable<Block> table({
      field("type", one_of({"tool_result"}), &Block::type),
      field("tool_use_id", text(kMaxNameBytes, 1), &Block::id),
      field("content", other(), &Block::content),
      field("is_error", boolean(), &Block::is_error),
      harmless("cache_control"),
      refused("toolset_name", "there are no toolsets here"),
  });
  return table;
}

std::string type_of(const OrderedJson& block) {
  if (!block.is_object() || !block.contains("type") || !block["type"].is_string()) return "";
  return block["type"].get<std::string>();
}

void refuse_type(const std::string& type, const ImageParts& images, const char* accepted,
                 const Place& place) {
  if (type == "document" || (type == "image" && !images.rules().accepted)) {
    return place.at("type").fail("blocks of type '" + type + "' are not supported: " +
                                 (images.rules().accepted ? "only text and pictures are" : "only text is"));
  }
  place.at("type").expected(type, accepted);
}

struct BlockSource {
  std::string type, media_type;
  const OrderedJson* data = nullptr;
  const OrderedJson* url = nullptr;
};

MessagePart read_image(const OrderedJson& value, ImageParts& images, const Place& place) {
  static const FieldTable<BlockSource> table({
      field("type", text(kMaxNameBytes), &BlockSource::type),
      field("media_type", one_of({"image/jpeg", "image/png", "image/gif", "image/webp"}),
            &BlockSource::media_type),
      field("data", text(kMaxTextBytes, 1), &BlockSource::data),
      field("url", text(kMaxTextBytes, 1), &BlockSource::url),
      refused("file_id", R"(there are no stored pictures; give "base64" or "url")"),
  });
  Block block;
  read_fields(value, image_table(), block, place);
  if (place.failed()) return {};
  if (block.source == nullptr) return place.missing("source"), MessagePart();
  const Place here = place.at("source");
  BlockSource source;
  read_fields(*block.source, table, source, here);
  if (place.failed()) return {};
  if (source.type != "base64" && source.type != "url")
    return here.at("type").expected(source.type, R"("base64" or "url")"), MessagePart();
  const bool is_url = source.type == "url";
  const OrderedJson* given = is_url ? source.url : source.data;
  if (given == nullptr) return here.missing(is_url ? "url" : "data"), MessagePart();
  if (is_url) return {.image = images.add(given->get<std::string>(), false, here)};
  if (source.media_type.empty()) return here.missing("media_type"), MessagePart();
  const std::string head = "data:" + source.media_type + ";base64,";
  return {.image = images.add(head + given->get_ref<const std::string&>(), false, here)};
}

// A string, or blocks of text, and with `shows_images` pictures.
std::vector<MessagePart> read_parts(const OrderedJson& content, bool shows_images, ImageParts& images,
                                    const Place& place) {
  if (content.is_string()) return {{.text = content.get<std::string>()}};
  std::vector<MessagePart> parts;
  if (!check_shape(list(kMaxBlocks), content, place)) return parts;
  int64_t index = 0;
  for (const OrderedJson& value : content) {
    const Place here = place.at(index++);
    const std::string type = type_of(value);
    if (type == "image" && shows_images && images.rules().accepted) {
      parts.push_back(read_image(value, images, here));
    } else if (value.is_object() && type != "text") {
      refuse_type(type, images, shows_images ? R"("text" or "image")" : R"("text")", here);
    } else {
      Block block;
      read_fields(value, text_table(), block, here);
      if (!block.text && !place.failed()) here.missing("text");
      parts.push_back({.text = std::move(block.text).value_or("")});
    }
    if (place.failed()) return parts;
  }
  return parts;
}

void read_tool_result(const OrderedJson& value, ChatTurns& turns, ImageParts& images, const Place& place) {
  Block block;
  read_fields(value, tool_result_table(), block, place);
  if (place.failed()) return;
  if (block.id.empty()) return place.missing("tool_use_id");
  std::vector<MessagePart> parts;
  if (block.content != nullptr) parts = read_parts(*block.content, true, images, place.at("content"));
  if (place.failed()) return;
  if (block.is_error) {
    if (parts.empty() || !parts.front().image.is_null()) parts.insert(parts.begin(), MessagePart());
    parts.front().text.insert(0, "Error: ");
  }
  if (!turns.tool_result(block.id, std::move(parts)))
    place.at("tool_use_id").fail("no tool_use before it has the id '" + block.id + "'");
}

void read_user_block(const OrderedJson& value, ChatTurns& turns, ImageParts& images, const Place& place) {
  const std::string type = type_of(value);
  if (type == "tool_result") return read_tool_result(value, turns, images, place);
  if (type == "image" && images.rules().accepted) {
    MessagePart part = read_image(value, images, place);
    if (!place.failed()) turns.user({std::move(part)});
    return;
  }
  if (value.is_object() && type != "text")
    return refuse_type(type, images, R"("text", "image" or "tool_result")", place);
  Block block;
  read_fields(value, text_table(), block, place);
  if (place.failed()) return;
  if (!block.text) return place.missing("text");
  turns.user({{.text = *std::move(block.text)}});
}

void read_tool_use(const OrderedJson& value, ChatTurns& turns, const Place& place) {
  Block block;
  read_fields(value, tool_use_table(), block, place);
  if (place.failed()) return;
  if (block.id.empty()) return place.missing("id");
  if (block.name.empty()) return place.missing("name");
  if (block.input == nullptr) return place.missing("input");
  turns.tool_call(block.id, block.name, *block.input);
}

void read_assistant_block(const OrderedJson& value, ChatTurns& turns, const ImageParts& images,
                          const Place& place) {
  const std::string type = type_of(value);
  if (type == "tool_use") return read_tool_use(value, turns, place);
  const bool thinking = type == "thinking";
  if (value.is_object() && type != "text" && !thinking)
    return refuse_type(type, images, R"("text", "thinking" or "tool_use")", place);
  Block block;
  read_fields(value, thinking ? thinking_table() : text_table(), block, place);
  if (place.failed()) return;
  if (!block.text) return place.missing(type.c_str());
  if (thinking) {
    turns.reasoning(*block.text);
  } else {
    turns.assistant(*block.text);
  }
}

struct BlockMessage {
  std::string role;
  const OrderedJson* content = nullptr;
};

void read_block_message(const OrderedJson& value, ChatTurns& turns, ImageParts& images, const Place& place) {
  static const FieldTable<BlockMessage> table({
      field("role", one_of({"user", "assistant", "system"}), &BlockMessage::role),
      field("content", other(), &BlockMessage::content),
  });
  BlockMessage message;
  read_fields(value, table, message, place);
  if (place.failed()) return;
  if (message.role.empty()) return place.missing("role");
  if (message.content == nullptr) return place.missing("content");
  const Place here = place.at("content");
  const OrderedJson& content = *message.content;
  if (message.role == "system") return turns.system(read_parts(content, false, images, here));
  const bool is_user = message.role == "user";
  if (content.is_string()) {
    if (is_user) return turns.user({{.text = content.get<std::string>()}});
    return turns.assistant(content.get<std::string>());
  }
  if (!check_shape(list(kMaxBlocks, 1), content, here)) return;
  int64_t index = 0;
  for (const OrderedJson& block : content) {
    const Place inner = here.at(index++);
    if (is_user) {
      read_user_block(block, turns, images, inner);
    } else {
      read_assistant_block(block, turns, images, inner);
    }
    if (here.failed()) return;
  }
}

}  // namespace

void read_conversation(const OrderedJson& system, const OrderedJson& messages, ChatTurns& turns,
                       ImageParts& images, const Place& place) {
  if (!system.is_null()) {
    std::vector<MessagePart> parts = read_parts(system, false, images, place.at("system"));
    if (place.failed()) return;
    if (!parts.empty()) turns.system(std::move(parts));
  }
  const Place here = place.at("messages");
  if (!check_shape(list(kMaxMessages, 1), messages, here)) return;
  int64_t index = 0;
  for (const OrderedJson& message : messages) {
    read_block_message(message, turns, images, here.at(index++));
    if (place.failed()) return;
  }
  if (turns.ends_with_tool_call())
    here.fail("the last message calls a tool; a message with its 'tool_result' is expected to follow");
}

}  // namespace heed
