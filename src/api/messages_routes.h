// Anthropic's Messages API:
//   POST /v1/messages, POST /v1/messages/count_tokens
// All that is refused below /v1/messages has the form of Anthropic's errors.
#pragma once
#include "api/router.h"
#include "serving/service.h"

namespace heed {

// The service outlives the API's last answer.
void add_messages_routes(Api& api, Service& service);

}  // namespace heed
