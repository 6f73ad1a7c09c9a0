// What a message says, part by part, and as the content of a message of the chat form.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace heed {

struct MessagePart {
  std::string text;
  OrderedJson image = nullptr;  // of a picture: the part that stands for it (ImageParts::add())
};

// Texts joined to a string, which every template takes. With a picture among them, a list of parts.
OrderedJson content_of(std::vector<MessagePart> parts, const char* separator);

}  // namespace heed
