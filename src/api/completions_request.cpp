#include "api/completions_request.h"

#include <limits>

namespace heed {
namespace {

constexpr const char* kPromptForms = "a string, a list of token ids, or a list of either";

// Where one prompt was given, it is a list of one.
std::vector<const OrderedJson*> prompts_of(const OrderedJson& value, const Place& place) {
  if (value.is_string()) return {&value};
  if (!value.is_array()) return place.expected(value, kPromptForms), std::vector<const OrderedJson*>();
  if (!value.empty() && value.front().is_number()) return {&value};
  if (!check_shape(list(kMaxPrompts, 1), value, place)) return {};
  std::vector<const OrderedJson*> all;
  for (const OrderedJson& prompt : value) {
    if (!prompt.is_string() && !prompt.is_array()) {
      place.at(std::ssize(all)).expected(prompt, "a string or a list of token ids");
      return {};
    }
    all.push_back(&prompt);
  }
  return all;
}

// Tokens of a text are never fewer than its bytes by such a factor; what is longer need not be tokenized to
// know that it is too long.
constexpr int64_t kMaxTokenBytes = 1024;

void truncate(const CompletionFields& fields, int max_len, std::vector<int>& ids) {
  if (!fields.truncate_prompt_tokens) return;
  const int given = *fields.truncate_prompt_tokens;
  const int64_t wanted = given < 0 ? max_len - std::max(1, fields.max_tokens) : given;
  const int64_t surplus = std::ssize(ids) - std::max<int64_t>(1, wanted);
  if (surplus <= 0) return;
  const auto cut = fields.truncation_side == "left" ? ids.begin() : ids.end() - surplus;
  ids.erase(cut, cut + surplus);
}

CompletionPrompt read_prompt(const OrderedJson& value, const CompletionFields& fields,
                             const ModelBounds& bounds, const Service& service, const Place& place) {
  CompletionPrompt prompt;
  if (value.is_array()) {
    constexpr int64_t kMaxIds = 4'000'000;  // before truncation
    prompt.ids = read_ids(value, bounds, kMaxIds, place);
  } else {
    const auto& text = value.get_ref<const std::string&>();
    if (std::ssize(text) > kMaxTokenBytes * bounds.max_len) {
      place.fail("'" + place.path() + "' has " + std::to_string(text.size()) +
                     " bytes; this model's maximum " + "context length is " + std::to_string(bounds.max_len) +
                     " tokens",
                 "context_length_exceeded");
      return prompt;
    }
    Result<std::vector<int>> ids = service.encode(text, fields.add_special_tokens);
    if (!ids.ok()) return place.fail(ids.error()), prompt;
    prompt.ids = *std::move(ids);
    prompt.text = text;
  }
  if (place.failed()) return prompt;
  const size_t given = prompt.ids.size();
  truncate(fields, bounds.max_len, prompt.ids);
  if (prompt.ids.empty()) place.fail("'" + place.path() + "' has no tokens; at least one is needed");
  const bool decodes = value.is_array() || prompt.ids.size() < given;
  if (fields.echo && decodes) prompt.text = service.decode(prompt.ids, fields.sampling.skip_special_tokens);
  return prompt;
}

void check_together(const CompletionFields& fields, const Place& place) {
  if (fields.best_of && *fields.best_of != fields.sampling.n) {
    place.at("best_of").fail("'best_of' is not supported: answers are not ranked; it may only equal 'n'",
                             "unsupported_parameter");
  }
  if (fields.max_tokens == 0 && !fields.echo)
    place.at("max_tokens").fail("'max_tokens' is 0; without 'echo' an integer of at least 1 is expected");
}

}  // namespace

FieldTable<CompletionFields> completion_table(const ModelBounds& bounds) {
  using C = CompletionFields;
  FieldTable<C> table({
      field("prompt", other(), &C::prompt),
      field("max_tokens", integer(0, bounds.max_len), &C::max_tokens),
      field("logprobs", integer(0, bounds.limits.max_logprobs), &C::logprobs),
      field("echo", boolean(), &C::echo),
      field("best_of", integer(1, bounds.limits.max_n), &C::best_of),
      field("add_special_tokens", boolean(), &C::add_special_tokens),
      field("truncate_prompt_tokens", integer(-1, std::numeric_limits<int>::max()),
            &C::truncate_prompt_tokens),
      field("truncation_side", one_of({"left", "right"}), &C::truncation_side),
      refused("suffix", "the model continues texts and does not fill gaps", ""),
      refused("prompt_embeds", "prompts are texts or token ids"),
  });
  return table.embed(&C::sampling, sampling_table(bounds));
}

CompletionRequest read_completion(const OrderedJson& body, const FieldTable<CompletionFields>& table,
                                  const Service& service, std::optional<ApiError>& error) {
  CompletionRequest request;
  CompletionFields& fields = request.fields;
  const Place place(error);
  read_fields(body, table, fields, place);
  check_model(fields.sampling.model, service, error);
  check_together(fields, place);
  if (fields.prompt == nullptr) place.missing("prompt");
  if (error) return request;
  request.generate = generate_request(fields.sampling, service, place);
  request.generate.max_tokens = std::max(1, fields.max_tokens);
  request.generate.logprobs = fields.logprobs;
  if (fields.echo && fields.logprobs >= 0)
    request.generate.prompt_logprobs = std::max(request.generate.prompt_logprobs, fields.logprobs);

  const ModelBounds bounds = bounds_of(service);
  const Place prompt_place = place.at("prompt");
  const std::vector<const OrderedJson*> prompts = prompts_of(*fields.prompt, prompt_place);
  const int64_t answers = std::ssize(prompts) * fields.sampling.n;
  if (answers > kMaxPrompts) {
    place.at("n").fail("prompts times 'n' is " + std::to_string(answers) + "; at most " +
                       std::to_string(kMaxPrompts) + " answers are given");
  }
  for (size_t i = 0; i < prompts.size() && !error; ++i) {
    const Place here = prompts.size() == 1 ? prompt_place : prompt_place.at(static_cast<int64_t>(i));
    request.prompts.push_back(read_prompt(*prompts[i], fields, bounds, service, here));
  }
  return request;
}

}  // namespace heed
