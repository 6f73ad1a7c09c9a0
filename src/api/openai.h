// OpenAI's routes, and the ones that every server of this kind has.
#pragma once
#include "api/router.h"
#include "serving/service.h"

namespace heed {

// All of the following. The service must outlive the Api.
void add_openai_routes(Api& api, Service& service);

void add_model_routes(Api& api, Service& service);       // /v1/models, /version, /load, /metrics
void add_tokenizer_routes(Api& api, Service& service);   // /tokenize, /detokenize
void add_completion_routes(Api& api, Service& service);  // /v1/completions
void add_chat_routes(Api& api, Service& service);        // /v1/chat/completions

}  // namespace heed
