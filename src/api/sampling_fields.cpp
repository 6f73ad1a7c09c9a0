#include "api/sampling_fields.h"

#include <charconv>

namespace heed {
namespace {

using TakeSampling = Field<SamplingFields>::Take;

void take_stop(SamplingFields& out, const OrderedJson& value, const Place& place,
               const ServiceLimits& limits) {
  if (!value.is_string() && !value.is_array())
    return place.expected(value,
                          "a string or a list of up to " + std::to_string(limits.max_stops) + " strings");
  const OrderedJson all = value.is_string() ? OrderedJson::array({value}) : value;
  if (!check_shape(list(limits.max_stops), all, place)) return;
  if (!check_elements(text(limits.max_stop_bytes, 1), all, place)) return;
  out.stops = all.get<std::vector<std::string>>();
  int64_t bytes = 0;
  for (const std::string& stop : out.stops) bytes += std::ssize(stop);
  if (bytes > limits.max_stop_bytes) {
    place.fail("'stop' has " + std::to_string(bytes) + " bytes in all; at most " +
               std::to_string(limits.max_stop_bytes) + " are accepted");
  }
}

void take_logit_bias(SamplingFields& out, const OrderedJson& value, const Place& place,
                     const ModelBounds& bounds) {
  if (std::ssize(value) > bounds.limits.max_logit_bias) {
    return place.fail("'logit_bias' has " + std::to_string(value.size()) + " entries; at most " +
                      std::to_string(bounds.limits.max_logit_bias) + " are accepted");
  }
  for (const auto& item : value.items()) {
    const std::string& key = item.key();
    const Place here = place.at(key);
    int id = -1;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (problem != std::errc() || end != key.data() + key.size() || id < 0 || id >= bounds.vocabulary) {
      return here.fail("'" + here.path() + "' is not a token id; integers from 0 to " +
                       std::to_string(bounds.vocabulary - 1) + " are");
    }
    if (!check_shape(number(-100, 100), item.value(), here)) return;
    out.logit_bias.emplace_back(id, item.value().get<float>());
  }
}

void take_bad_words(SamplingFields& out, const OrderedJson& value, const Place& place) {
  constexpr int64_t kMaxWordBytes = 1024;
  if (check_elements(text(kMaxWordBytes, 1), value, place))
    out.bad_words = value.get<std::vector<std::string>>();
}

void take_stream_options(SamplingFields& out, const OrderedJson& value, const Place& place) {
  static const FieldTable<SamplingFields> table({
      field("include_usage", boolean(), &SamplingFields::include_usage),
      field("continuous_usage_stats", boolean(), &SamplingFields::continuous_usage),
      refused("include_obfuscation", "events are not padded", false),
  });
  out.has_stream_options = true;
  read_fields(value, table, out, place);
}

TakeSampling ids_taker(std::vector<int> SamplingFields::*member, const ModelBounds& bounds, int64_t max) {
  return [member, bounds, max](SamplingFields& out, const OrderedJson& value, const Place& place) {
    out.*member = read_ids(value, bounds, max, place);
  };
}

// Known to vLLM's and OpenAI's clients, and not done here.
const FieldTable<SamplingFields>& idle_sampling_table() {
  static const FieldTable<SamplingFields> table({
      harmless("user"),
      harmless("metadata"),
      harmless("safety_identifier"),
      harmless("prompt_cache_key"),
      harmless("prompt_cache_retention"),
      harmless("session_id"),
      refused("store", "answers are not stored", false),
      refused("use_beam_search", "answers are sampled", false),
      refused("length_penalty", "it belongs to beam search", 1),
      refused("spaces_between_special_tokens", "the tokenizer decides about spaces", true),
      refused("logprob_token_ids", "ask for the likeliest by 'logprobs' or 'top_logprobs'"),
      refused("repetition_detection", "use 'repetition_penalty' or 'frequency_penalty'"),
      refused("thinking_token_budget", "the length of reasoning is not limited by itself", -1),
      refused("stream_interval", "every token is sent as soon as it is known", 1),
      refused("watermarking", "answers carry no watermark", false),
      refused("kv_transfer_params", "there is no transfer between servers"),
      refused("ec_transfer_params", "there is no transfer between servers"),
      refused("vllm_xargs", "it belongs to extensions of vLLM"),
      refused("logits_processors", "there are no custom ones"),
      refused("return_token_offsets", "tokens are told without their offsets", false),
  });
  return table;
}

// Each word with and without a space in front: both may be how it is written. As vLLM's sampling_params.py.
std::vector<std::vector<int>> ids_of_words(const std::vector<std::string>& words, const Service& service,
                                           const Place& place) {
  std::vector<std::vector<int>> all;
  for (const std::string& word : words) {
    const size_t begin = word.find_first_not_of(' ');
    const std::string bare = begin == std::string::npos ? word : word.substr(begin);
    Result<std::vector<int>> plain = service.encode(bare, false);
    Result<std::vector<int>> spaced = service.encode(" " + bare, false);
    if (!plain.ok() || !spaced.ok()) {
      place.at("bad_words").fail(plain.ok() ? spaced.error() : plain.error());
      return {};
    }
    if (plain->empty()) continue;
    const bool differs = !spaced->empty() && spaced->front() != plain->front();
    if (differs && spaced->size() == plain->size()) all.push_back(*spaced);
    all.push_back(*std::move(plain));
  }
  return all;
}

Sampling sampling_of(const SamplingFields& fields, const GenerationConfig& defaults) {
  Sampling sampling;
  sampling.temperature = fields.temperature.value_or(defaults.temperature.value_or(1));
  sampling.top_p = fields.top_p.value_or(defaults.top_p.value_or(1));
  sampling.min_p = fields.min_p.value_or(defaults.min_p.value_or(0));
  sampling.top_k = std::max(0, fields.top_k.value_or(defaults.top_k.value_or(0)));
  sampling.repetition_penalty = fields.repetition_penalty.value_or(defaults.repetition_penalty.value_or(1));
  sampling.presence_penalty = fields.presence_penalty;
  sampling.frequency_penalty = fields.frequency_penalty;
  sampling.seed = fields.seed.value_or(0);
  sampling.logit_bias = fields.logit_bias;
  sampling.allowed_ids = fields.allowed_ids;
  return sampling;
}

}  // namespace

ModelBounds bounds_of(const Service& service) {
  return {.limits = service.limits(),
          .vocabulary = service.engine().spec().vocab,
          .max_len = service.max_model_len(),
          .images = image_rules(service)};
}

FieldTable<SamplingFields> sampling_table(const ModelBounds& bounds) {
  using S = SamplingFields;
  const ServiceLimits& limits = bounds.limits;
  const auto stop = [limits](S& out, const OrderedJson& value, const Place& place) {
    take_stop(out, value, place, limits);
  };
  const auto logit_bias = [bounds](S& out, const OrderedJson& value, const Place& place) {
    take_logit_bias(out, value, place, bounds);
  };
  FieldTable<S> table({
      field("model", text(1024), &S::model),
      field("temperature", number(0, 100), &S::temperature),
      field("top_p", number_above(0, 1), &S::top_p),
      field("top_k", integer(-1, kMaxInt), &S::top_k),
      field("min_p", number(0, 1), &S::min_p),
      field("repetition_penalty", number_above(0, 100), &S::repetition_penalty),
      field("presence_penalty", number(-2, 2), &S::presence_penalty),
      field("frequency_penalty", number(-2, 2), &S::frequency_penalty),
      field("seed", integer(INT64_MIN, INT64_MAX), &S::seed),
      field("n", integer(1, limits.max_n), &S::n),
      field("min_tokens", integer(0, bounds.max_len), &S::min_tokens),
      field<S>("stop", other(), stop),
      field<S>("stop_token_ids", list(limits.max_stops), ids_taker(&S::stop_ids, bounds, limits.max_stops)),
      field("ignore_eos", boolean(), &S::ignore_eos),
      field("include_stop_str_in_output", boolean(), &S::include_stop),
      field("skip_special_tokens", boolean(), &S::skip_special_tokens),
      field<S>("logit_bias", object(), logit_bias),
      field<S>("allowed_token_ids", list(bounds.vocabulary, 1),
               ids_taker(&S::allowed_ids, bounds, bounds.vocabulary)),
      // A word can be two sequences: with a space in front, too.
      field("bad_words", list(limits.max_bad_words / 2), &take_bad_words),
      field("prompt_logprobs", integer(0, limits.max_logprobs), &S::prompt_logprobs),
      field("priority", integer(INT32_MIN, kMaxInt), &S::priority),
      field("cache_salt", text(1024, 1), &S::cache_salt),
      field("request_id", text(256, 1), &S::request_id),
      field("return_tokens_as_token_ids", boolean(), &S::tokens_as_ids),
      field("return_token_ids", boolean(), &S::return_token_ids),
      field("return_prediction_tokens", boolean(), &S::return_predictions),
      field("stream", boolean(), &S::stream),
      field("stream_options", object(), &take_stream_options),
  });
  table.embed(&S::format, format_table(limits.max_schema_bytes));
  table.append(idle_sampling_table());
  return table;
}

std::vector<int> read_ids(const OrderedJson& value, const ModelBounds& bounds, int64_t max,
                          const Place& place) {
  if (!check_shape(list(max), value, place)) return {};
  if (!check_elements(integer(0, bounds.vocabulary - 1), value, place)) return {};
  std::vector<int> ids;
  ids.reserve(value.size());
  for (const OrderedJson& id : value) ids.push_back(id.get<int>());
  return ids;
}

void check_model(const std::string& name, const Service& service, std::optional<ApiError>& error) {
  if (error || name.empty() || name == service.model_name()) return;
  error =
      not_found_error("there is no model " + in_words(name) + "; \"" + service.model_name() + "\" is served",
                      "model_not_found");
  error->param = "model";
}

GenerateRequest generate_request(SamplingFields& fields, const Service& service, const Place& place) {
  GenerateRequest request;
  request.n = fields.n;
  request.sampling = sampling_of(fields, service.generation_defaults());
  request.sampling.bad_words = ids_of_words(fields.bad_words, service, place);
  request.has_seed = fields.seed.has_value();
  request.min_tokens = fields.min_tokens;
  request.stops = std::move(fields.stops);
  request.stop_ids = std::move(fields.stop_ids);
  request.ignore_eos = fields.ignore_eos;
  request.include_stop = fields.include_stop;
  request.skip_special_tokens = fields.skip_special_tokens;
  request.prompt_logprobs = fields.prompt_logprobs.value_or(-1);
  request.priority = fields.priority;
  request.cache_salt = std::move(fields.cache_salt);
  request.format = std::move(fields.format.format);
  if (fields.has_stream_options && !fields.stream)
    place.at("stream_options").fail("'stream_options' needs 'stream' to be true");
  if (fields.stream && fields.prompt_logprobs) {
    place.at("prompt_logprobs").fail("'prompt_logprobs' is not told in a stream; set 'stream' to false");
  }
  return request;
}

}  // namespace heed
