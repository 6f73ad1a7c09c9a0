// Pieces of OpenAI's answers that completions and chat share. No Service is needed to render.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "api/sampling_fields.h"
#include "base/json.h"
#include "serving/answer.h"

namespace heed {

// What every object of one answer says.
struct AnswerHead {
  std::string id, object, model;
  int64_t created = 0;
};
AnswerHead answer_head(const std::string& id_prefix, const std::string& object, const ApiRequest& request,
                       const SamplingFields& fields, const Service& service);
OrderedJson head_object(const AnswerHead& head);

// {"prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details", ...}. kPredictions: and how
// many tokens were guessed rightly and wrongly.
enum class UsageDetails { kNone, kUsual, kPredictions };
OrderedJson usage_object(const Usage& usage, UsageDetails details = UsageDetails::kUsual);
inline UsageDetails usage_details(bool predictions) {
  return predictions ? UsageDetails::kPredictions : UsageDetails::kUsual;
}
// "stop", "length" or "tool_calls"; null before the end.
OrderedJson finish_reason(const std::optional<EndReason>& end);
// The stop string, the id of `stop_token_ids` that stopped it, or null. As vLLM tells it.
OrderedJson stop_reason(const AnswerDelta& delta);

// How tokens are written: as text; as "bytes:\xe2\x98" where they are not whole characters, so that no two
// look alike; with `as_ids` as "token_id:17".
std::string token_text(const TokenLogprob& token, bool as_ids);
// Minus infinity is no JSON.
double finite(float logprob);
bool is_whole_text(std::string_view bytes);

// vLLM's prompt_logprobs: null for the first token, then {"<id>": {"logprob", "rank", "decoded_token"}, ...}
// `num_top` of the likeliest besides.
OrderedJson prompt_logprobs_object(const std::vector<TokenLogprob>& tokens, int num_top);

}  // namespace heed
