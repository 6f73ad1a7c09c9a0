#include "serving/image_text.h"

#include <algorithm>

namespace heed {
namespace {

constexpr const char* kUserProbe =
    R"([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "x"}]}])";
// Mistral's templates want ids of nine characters.
constexpr const char* kToolProbe = R"([{"role": "user", "content": "x"},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call00000", "type": "function",
        "function": {"name": "f", "arguments": {}}}]},
    {"role": "tool", "tool_call_id": "call00000", "name": "f",
        "content": [{"type": "image"}, {"type": "text", "text": "x"}]}])";

// Whether the template writes the placeholder for the one picture in these messages.
bool shows_parts(const TextSide& text, const char* messages, const std::string& placeholder) {
  if (placeholder.empty()) return false;
  const Result<std::string> rendered = render_chat(
      text,
      {{"messages", parse_ordered_json(messages, "messages").value()}, {"add_generation_prompt", true}});
  if (!rendered.ok()) return false;
  const size_t at = rendered->find(placeholder);
  return at != std::string::npos && rendered->find(placeholder, at + 1) == std::string::npos;
}

std::string text_of(const OrderedJson& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool is_image_part(const OrderedJson& part) { return part.is_object() && text_of(part, "type") == "image"; }

bool message_has_images(const OrderedJson& message) {
  if (!message.is_object() || !message.contains("content")) return false;
  const OrderedJson& content = message["content"];
  return content.is_array() && std::any_of(content.begin(), content.end(), is_image_part);
}

// Parts joined by line breaks, as text parts are.
OrderedJson as_string(const OrderedJson& parts, const std::string& placeholder) {
  std::string all;
  for (const OrderedJson& part : parts) {
    if (&part != &parts.front()) all += '\n';
    all += is_image_part(part) ? placeholder : text_of(part, "text");
  }
  return all;
}

}  // namespace

ImageText image_text_of(const TextSide& text, const ImageTokens& tokens) {
  ImageText result{.around = tokens.around};
  if (!text.tokenizer) return result;
  result.placeholder = text.tokenizer->token_of(tokens.placeholder);
  result.image = text.tokenizer->token_of(tokens.image);
  if (!text.chat_template) return result;
  result.parts_of_user = shows_parts(text, kUserProbe, result.placeholder);
  result.parts_of_tool = shows_parts(text, kToolProbe, result.placeholder);
  return result;
}

std::string spaced(const ImageText& images, const std::string& text) {
  return surround_placeholders(text, images.placeholder, images.image, images.around);
}

bool has_images(const OrderedJson& messages) {
  return messages.is_array() && std::any_of(messages.begin(), messages.end(), message_has_images);
}

Result<ShownMessages> show_images(const ImageText& text, const OrderedJson& messages,
                                  const ImageList& images) {
  ShownMessages shown{.messages = messages};
  for (OrderedJson& message : shown.messages) {
    if (!message_has_images(message)) continue;
    OrderedJson& content = message["content"];
    for (OrderedJson& part : content) {
      if (!is_image_part(part)) continue;
      const auto index = part.find("image");
      const bool known = index != part.end() && index->is_number_integer() && *index >= 0 &&
                         *index < static_cast<int64_t>(images.size());
      if (!known) return invalid("messages: a part of type \"image\" names none of the pictures");
      shown.images.push_back(images[index->get<size_t>()]);
      part = {{"type", "image"}};
    }
    const bool takes_parts = text_of(message, "role") == "tool" ? text.parts_of_tool : text.parts_of_user;
    if (!takes_parts) content = as_string(content, text.placeholder);
  }
  return shown;
}

}  // namespace heed
