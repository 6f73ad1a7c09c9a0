// The conversation of a Messages request: system prompt and messages of content blocks.
#pragma once
#include "api/chat_turns.h"
#include "api/fields.h"
#include "api/image_parts.h"

namespace heed {

// `system`: a string or text blocks; may be null. Gives messages of the chat form to `turns`, and their
// pictures to `images`.
void read_conversation(const OrderedJson& system, const OrderedJson& messages, ChatTurns& turns,
                       ImageParts& images, const Place& place);

}  // namespace heed
