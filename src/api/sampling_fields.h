// The fields that /v1/completions and /v1/chat/completions share: how to sample, when to stop, what to tell.
// Source: OpenAI's API reference; vLLM's extensions as in its entrypoints/openai/*/protocol.py.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/fields.h"
#include "api/format_fields.h"
#include "api/image_parts.h"
#include "serving/service.h"

namespace heed {

struct SamplingFields {
  std::string model;
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  float presence_penalty = 0, frequency_penalty = 0;
  std::optional<int> top_k;  // -1 and 0: all
  std::optional<uint64_t> seed;
  int n = 1;
  int min_tokens = 0;
  std::vector<std::string> stops;
  std::vector<int> stop_ids;
  bool ignore_eos = false, include_stop = false, skip_special_tokens = true;
  std::vector<std::pair<int, float>> logit_bias;
  std::vector<int> allowed_ids;
  std::vector<std::string> bad_words;
  std::optional<int> prompt_logprobs;
  int priority = 0;
  std::string cache_salt;
  FormatFields format;
  std::string request_id;
  bool tokens_as_ids = false;  // return_tokens_as_token_ids
  bool return_token_ids = false;
  bool return_predictions = false;  // return_prediction_tokens
  bool stream = false;
  bool has_stream_options = false, include_usage = false, continuous_usage = false;
};

// What the served model sets bounds to.
struct ModelBounds {
  ServiceLimits limits;
  int vocabulary = 0;
  int max_len = 0;
  ImageRules images;
};
ModelBounds bounds_of(const Service& service);

FieldTable<SamplingFields> sampling_table(const ModelBounds& bounds);

// Token ids, at most `max` of them.
std::vector<int> read_ids(const OrderedJson& value, const ModelBounds& bounds, int64_t max,
                          const Place& place);

// The model that a request names, or none, must be the one that is served; another is a 404.
void check_model(const std::string& name, const Service& service, std::optional<ApiError>& error);

// What the fields ask for, over the defaults of generation_config.json, and what they rule out together.
// Without prompt, max_tokens and logprobs.
GenerateRequest generate_request(SamplingFields& fields, const Service& service, const Place& place);

}  // namespace heed
