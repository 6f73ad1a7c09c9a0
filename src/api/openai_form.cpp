#include "api/openai_form.h"

#include <algorithm>
#include <ctime>

#include "api/ids.h"

namespace heed {
namespace {

constexpr double kLeastLogprob = -9999;

OrderedJson entry_of(const TokenLogprob& token) {
  return {
      {"logprob", finite(token.logprob)}, {"rank", token.rank}, {"decoded_token", token_text(token, false)}};
}

}  // namespace

AnswerHead answer_head(const std::string& id_prefix, const std::string& object, const ApiRequest& request,
                       const SamplingFields& fields, const Service& service) {
  return {.id = fields.request_id.empty() ? request_id(id_prefix, request) : id_prefix + fields.request_id,
          .object = object,
          .model = service.model_name(),
          .created = std::time(nullptr)};
}

OrderedJson head_object(const AnswerHead& head) {
  return {{"id", head.id}, {"object", head.object}, {"created", head.created}, {"model", head.model}};
}

OrderedJson usage_object(const Usage& usage, UsageDetails details) {
  OrderedJson object{{"prompt_tokens", usage.prompt_tokens},
                     {"total_tokens", usage.prompt_tokens + usage.generated_tokens},
                     {"completion_tokens", usage.generated_tokens}};
  if (details == UsageDetails::kNone) return object;
  object["prompt_tokens_details"] = {{"cached_tokens", usage.cached_tokens}};
  if (usage.image_tokens > 0) object["prompt_tokens_details"]["image_tokens"] = usage.image_tokens;
  OrderedJson& completion = object["completion_tokens_details"];
  completion = {{"reasoning_tokens", usage.reasoning_tokens}};
  if (details == UsageDetails::kPredictions) {
    completion["accepted_prediction_tokens"] = usage.accepted_tokens;
    completion["rejected_prediction_tokens"] = usage.draft_tokens - usage.accepted_tokens;
  }
  return object;
}

OrderedJson finish_reason(const std::optional<EndReason>& end) {
  if (!end) return nullptr;
  switch (*end) {
    case EndReason::kStop:
      return "stop";
    case EndReason::kLength:
      return "length";
    case EndReason::kToolCalls:
      return "tool_calls";
    case EndReason::kCancelled:
      return nullptr;  // told as an error
  }
  return nullptr;
}

OrderedJson stop_reason(const AnswerDelta& delta) {
  if (!delta.stop_string.empty()) return delta.stop_string;
  if (delta.stop_id) return *delta.stop_id;
  return nullptr;
}

bool is_whole_text(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
    if (length == 0 || i + length > bytes.size()) return false;
    for (size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(bytes[i + k]) & 0xc0) != 0x80) return false;
    i += length;
  }
  return true;
}

std::string token_text(const TokenLogprob& token, bool as_ids) {
  if (as_ids) return "token_id:" + std::to_string(token.id);
  if (is_whole_text(token.bytes)) return token.bytes;
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "bytes:";
  for (const char c : token.bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

double finite(float logprob) { return std::max(static_cast<double>(logprob), kLeastLogprob); }

OrderedJson prompt_logprobs_object(const std::vector<TokenLogprob>& tokens, int num_top) {
  OrderedJson all = OrderedJson::array({nullptr});
  for (const TokenLogprob& token : tokens) {
    OrderedJson entries{{std::to_string(token.id), entry_of(token)}};
    for (size_t i = 0; i < token.top.size() && static_cast<int>(i) < num_top; ++i)
      entries[std::to_string(token.top[i].id)] = entry_of(token.top[i]);
    all.push_back(std::move(entries));
  }
  return all;
}

}  // namespace heed
