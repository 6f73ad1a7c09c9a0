// The request of /v1/completions. Source: OpenAI's API reference, vLLM's completion/protocol.py.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "api/sampling_fields.h"

namespace heed {

struct CompletionFields {
  SamplingFields sampling;
  const OrderedJson* prompt = nullptr;
  int max_tokens = 16;  // 0: with echo only
  int logprobs = -1;    // -1: none
  bool echo = false;
  std::optional<int> best_of;
  bool add_special_tokens = true;
  std::optional<int> truncate_prompt_tokens;  // -1: to what the context holds
  std::string truncation_side = "left";
};
FieldTable<CompletionFields> completion_table(const ModelBounds& bounds);

struct CompletionPrompt {
  std::string text;  // as given, or decoded from ids (where it is told)
  std::vector<int> ids;
};

inline constexpr int64_t kMaxPrompts = 2048;

struct CompletionRequest {
  CompletionFields fields;
  std::vector<CompletionPrompt> prompts;
  GenerateRequest generate;  // but for its prompt
};
// Reads a body and finds the tokens of its prompts.
CompletionRequest read_completion(const OrderedJson& body, const FieldTable<CompletionFields>& table,
                                  const Service& service, std::optional<ApiError>& error);

}  // namespace heed
