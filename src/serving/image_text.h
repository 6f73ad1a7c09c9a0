// How pictures are written in the text of a prompt, before it is tokenized.
#pragma once
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "serving/images.h"
#include "serving/text_side.h"

namespace heed {

struct ImageText {
  std::string placeholder;  // the tokens' texts; empty where there is no tokenizer
  std::string image;
  std::string around;
  // The chat template shows {"type": "image"} parts, of users' and of tools' messages. Where it does not,
  // contents are made strings that have the placeholder in such a part's place.
  bool parts_of_user = false, parts_of_tool = false;
};
// Finds out by rendering such messages.
ImageText image_text_of(const TextSide& text, const ImageTokens& tokens);

// The text of a prompt with pictures, with `around` where it belongs.
std::string spaced(const ImageText& images, const std::string& text);

// Whether a message has a picture: a part {"type": "image", "image": i}, i being an index of a list.
bool has_images(const OrderedJson& messages);

struct ShownMessages {
  OrderedJson messages;  // as the template reads them
  ImageList images;      // in the order in which they stand in the messages
};
// An error where a part names no picture of the list. Messages without pictures stay as they are.
Result<ShownMessages> show_images(const ImageText& text, const OrderedJson& messages,
                                  const ImageList& images);

}  // namespace heed
