#include "serving/checks.h"

namespace heed {
namespace {

Status within(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return {};
  return limit_reached(std::string(field) + " is " + std::to_string(value) + "; from " +
                       std::to_string(least) + " to " + std::to_string(most) + " is accepted");
}

}  // namespace

Status check(const OutputFormat& format, const ServiceLimits& limits) {
  auto bytes = static_cast<int64_t>(format.text.size());
  for (const std::string& choice : format.choices) bytes += static_cast<int64_t>(choice.size());
  if (format.kind == OutputFormat::Kind::kJsonSchema)
    bytes = static_cast<int64_t>(to_text(format.schema).size());
  if (bytes <= limits.max_schema_bytes) return {};
  return limit_reached("the schema, grammar or choices have " + std::to_string(bytes) + " bytes; up to " +
                       std::to_string(limits.max_schema_bytes) + " are accepted");
}

Status check(const GenerateRequest& r, const ServiceLimits& limits, int context) {
  TRY(within("n", r.n, 1, limits.max_n));
  TRY(within("logprobs", r.logprobs, -1, limits.max_logprobs));
  TRY(within("prompt_logprobs", r.prompt_logprobs, -1, limits.max_logprobs));
  TRY(within("the number of stop strings", static_cast<int64_t>(r.stops.size()), 0, limits.max_stops));
  int64_t stop_bytes = 0;
  for (const std::string& stop : r.stops) stop_bytes += static_cast<int64_t>(stop.size());
  TRY(within("the size of all stop strings", stop_bytes, 0, limits.max_stop_bytes));
  TRY(within("the number of stop_token_ids", static_cast<int64_t>(r.stop_ids.size()), 0, limits.max_stops));
  TRY(within("the number of bad_words", static_cast<int64_t>(r.sampling.bad_words.size()), 0,
             limits.max_bad_words));
  TRY(within("the number of logit_bias entries", static_cast<int64_t>(r.sampling.logit_bias.size()), 0,
             limits.max_logit_bias));

  const auto prompt = static_cast<int64_t>(r.prompt.size());
  const int64_t wanted = r.max_tokens.value_or(1);
  if (wanted < 1) return invalid("max_tokens is " + std::to_string(wanted) + "; 1 or more is expected");
  if (prompt + wanted > context) {
    return limit_reached("this model's maximum context length is " + std::to_string(context) +
                         " tokens, but " + std::to_string(prompt + wanted) + " were asked for (" +
                         std::to_string(prompt) + " in the prompt, " + std::to_string(wanted) +
                         " for the answer); shorten the prompt or lower max_tokens");
  }
  if (r.min_tokens < 0 || (r.max_tokens && r.min_tokens > *r.max_tokens))
    return invalid("min_tokens is " + std::to_string(r.min_tokens) + "; from 0 to max_tokens is accepted");
  return {};
}

}  // namespace heed
