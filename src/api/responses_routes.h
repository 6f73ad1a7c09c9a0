// OpenAI's Responses API:
//   POST /v1/responses
//   GET, DELETE /v1/responses/{id}, POST /v1/responses/{id}/cancel   of answers that were stored
#pragma once
#include "api/responses_store.h"
#include "api/router.h"
#include "serving/service.h"

namespace heed {

// The service outlives the API's last answer.
void add_responses_routes(Api& api, Service& service, ResponseStoreLimits limits = {});

}  // namespace heed
