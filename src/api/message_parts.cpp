#include "api/message_parts.h"

#include <algorithm>

namespace heed {

OrderedJson content_of(std::vector<MessagePart> parts, const char* separator) {
  const bool has_image =
      std::any_of(parts.begin(), parts.end(), [](const MessagePart& part) { return !part.image.is_null(); });
  if (has_image) {
    OrderedJson list = OrderedJson::array();
    for (MessagePart& part : parts) {
      if (part.image.is_null()) part.image = {{"type", "text"}, {"text", std::move(part.text)}};
      list.push_back(std::move(part.image));
    }
    return list;
  }
  std::string all;
  for (size_t i = 0; i < parts.size(); ++i) all += (i == 0 ? "" : separator) + parts[i].text;
  return all;
}

}  // namespace heed
