// The request of /v1/chat/completions. Source: OpenAI's API reference, vLLM's chat_completion/protocol.py.
#pragma once
#include <optional>
#include <string>

#include "api/sampling_fields.h"

namespace heed {

struct ChatFields {
  SamplingFields sampling;
  const OrderedJson* messages = nullptr;
  const OrderedJson* tools = nullptr;
  const OrderedJson* tool_choice = nullptr;
  bool parallel_tool_calls = true;
  bool logprobs = false;
  std::optional<int> top_logprobs;
  std::optional<int> max_tokens, max_completion_tokens;
  const OrderedJson* template_variables = nullptr;  // chat_template_kwargs
  const OrderedJson* processor = nullptr;           // mm_processor_kwargs
  const OrderedJson* documents = nullptr;
  bool add_generation_prompt = true, continue_final_message = false;
  std::string reasoning_effort;
  bool include_reasoning = true;
};
FieldTable<ChatFields> chat_table(const ModelBounds& bounds);

struct ChatCompletionRequest {
  ChatFields fields;
  ChatRequest chat;
  ImageParts images;  // that its messages show
};
ChatCompletionRequest read_chat(const OrderedJson& body, const FieldTable<ChatFields>& table,
                                const Service& service, std::optional<ApiError>& error);

// Variables for the chat template that a request may set; the rest of them are its own.
OrderedJson read_template_variables(const OrderedJson& value, const Place& place);
// Whether the template tells "developer" from "system".
bool knows_developer(const Service& service);

}  // namespace heed
