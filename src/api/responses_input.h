// The input of POST /v1/responses: items, as clients send them and as answers hold them.
//
//   message (role user, system, developer, assistant), reasoning, function_call, function_call_output
//
// Output items of earlier answers are input items as they are. Messages of users and outputs of functions may
// show pictures.
#pragma once
#include <string>

#include "api/fields.h"
#include "api/image_parts.h"
#include "base/json.h"

namespace heed {

// The value of "input" as a list of items: a string becomes a message of the user.
OrderedJson input_items(const OrderedJson& input);

// The conversation as messages of the chat form: `previous`, the items of the answer that it goes on from, if
// any (responses_store.h), then those of this request. `instructions`, if any, come first, in one system
// message with the system messages that follow at once: templates know one, and at the start. Pictures go to
// `images`. `place`: of the request.
OrderedJson messages_of_items(const std::string& instructions, const OrderedJson& previous,
                              const OrderedJson& input, ImageParts& images, const Place& place);

}  // namespace heed
