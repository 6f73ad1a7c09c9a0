#include "api/completions_response.h"

#include <algorithm>

#include "api/sse.h"

namespace heed {
namespace {

int64_t num_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

OrderedJson empty_logprobs() {
  const OrderedJson none = OrderedJson::array();
  return {{"text_offset", none}, {"token_logprobs", none}, {"tokens", none}, {"top_logprobs", none}};
}

void append(OrderedJson& all, const OrderedJson& more) {
  for (const OrderedJson& element : more) all.push_back(element);
}

// Joins the next piece of a choice to what there is.
void join(OrderedJson& whole, const OrderedJson& piece) {
  whole["text"].get_ref<std::string&>() += piece["text"].get_ref<const std::string&>();
  if (piece["logprobs"].is_object()) {
    if (!whole["logprobs"].is_object()) whole["logprobs"] = empty_logprobs();
    for (const auto& item : piece["logprobs"].items()) append(whole["logprobs"][item.key()], item.value());
  }
  whole["finish_reason"] = piece["finish_reason"];
  whole["stop_reason"] = piece["stop_reason"];
  for (const char* told_once : {"prompt_logprobs", "prompt_token_ids"})
    if (piece.contains(told_once)) whole[told_once] = piece[told_once];
  if (piece.contains("token_ids")) append(whole["token_ids"], piece["token_ids"]);
}

void add_usage(Usage& all, const Usage& more, bool echo_only) {
  all.prompt_tokens += more.prompt_tokens;
  all.cached_tokens += more.cached_tokens;
  if (echo_only) return;
  all.generated_tokens += more.generated_tokens;
  all.reasoning_tokens += more.reasoning_tokens;
  all.draft_tokens += more.draft_tokens;
  all.accepted_tokens += more.accepted_tokens;
}

}  // namespace

void CompletionLogprobs::add(const TokenLogprob& token, OrderedJson logprob, OrderedJson top) {
  if (object_.is_null()) object_ = empty_logprobs();
  object_["text_offset"].push_back(offset_);
  object_["token_logprobs"].push_back(std::move(logprob));
  object_["tokens"].push_back(token_text(token, as_ids_));
  object_["top_logprobs"].push_back(std::move(top));
  offset_ += num_characters(token.bytes);
}

void CompletionLogprobs::add_first(const TokenLogprob& token) { add(token, nullptr, nullptr); }

void CompletionLogprobs::add(const TokenLogprob& token) {
  // The chosen token, and the likeliest: as many as asked for, or one more.
  OrderedJson top{{token_text(token, as_ids_), finite(token.logprob)}};
  for (size_t i = 0; i < token.top.size() && static_cast<int>(i) < num_top_; ++i)
    top[token_text(token.top[i], as_ids_)] = finite(token.top[i].logprob);
  add(token, finite(token.logprob), std::move(top));
}

OrderedJson CompletionLogprobs::take() { return std::exchange(object_, nullptr); }

CompletionPieces::CompletionPieces(const CompletionForm& form) : form_(form) {
  const auto n = static_cast<size_t>(form.n);
  for (size_t i = 0; i < form.prompts.size() * n; ++i)
    choices_.push_back({.logprobs = CompletionLogprobs(form.logprobs, form.tokens_as_ids)});
  prompts_.resize(form.prompts.size());
}

std::vector<OrderedJson> CompletionPieces::push(int prompt_index, AnswerDelta delta) {
  std::vector<OrderedJson> pieces;
  Prompt& prompt = prompts_[static_cast<size_t>(prompt_index)];
  if (form_.awaits_prompt && !prompt.known) {
    if (delta.choice != 0) {
      prompt.waiting.push_back(std::move(delta));
      return pieces;
    }
    prompt.known = true;
    prompt.logprobs = std::move(delta.prompt_logprobs);
    piece(prompt_index, delta, pieces);
    for (AnswerDelta& held : prompt.waiting) piece(prompt_index, held, pieces);
    prompt.waiting.clear();
    return pieces;
  }
  piece(prompt_index, delta, pieces);
  return pieces;
}

// What the first piece of a choice says of the prompt.
void CompletionPieces::begin(int prompt_index, Choice& choice, OrderedJson& object) {
  const CompletionForm::Prompt& given = form_.prompts[static_cast<size_t>(prompt_index)];
  const Prompt& prompt = prompts_[static_cast<size_t>(prompt_index)];
  choice.begun = true;
  if (form_.return_token_ids) object["prompt_token_ids"] = given.ids;
  if (form_.prompt_logprobs >= 0)
    object["prompt_logprobs"] = prompt_logprobs_object(prompt.logprobs, form_.prompt_logprobs);
  if (!form_.echo) return;
  object["text"] = given.text;
  if (form_.logprobs < 0) return;
  choice.logprobs.add_first({.id = given.ids.front(), .bytes = given.first_bytes});
  for (const TokenLogprob& token : prompt.logprobs) choice.logprobs.add(token);
}

void CompletionPieces::piece(int prompt_index, AnswerDelta& delta, std::vector<OrderedJson>& pieces) {
  const int index = prompt_index * form_.n + delta.choice;
  Choice& choice = choices_[static_cast<size_t>(index)];
  if (delta.end == EndReason::kCancelled) was_cancelled_ = true;
  if (form_.echo_only) delta = {.end = delta.end ? EndReason::kLength : delta.end};
  choice.generated += static_cast<int>(delta.ids.size());
  OrderedJson object{{"index", index}, {"text", ""}, {"logprobs", nullptr}};
  const bool is_first = !choice.begun;
  const bool tells_prompt = is_first && (form_.echo || form_.return_token_ids || form_.prompt_logprobs >= 0);
  if (is_first) begin(prompt_index, choice, object);
  for (const TokenLogprob& token : delta.logprobs) choice.logprobs.add(token);
  object["text"].get_ref<std::string&>() += delta.text;
  object["logprobs"] = choice.logprobs.take();
  object["finish_reason"] = finish_reason(delta.end);
  object["stop_reason"] = stop_reason(delta);
  if (form_.return_token_ids) object["token_ids"] = delta.ids;
  const bool says_nothing = delta.text.empty() && object["logprobs"].is_null() && !delta.end &&
                            !(form_.return_token_ids && !delta.ids.empty());
  if (tells_prompt || !says_nothing) pieces.push_back(std::move(object));
}

CompletionStream::CompletionStream(CompletionForm form)
    : form_(std::move(form)), pieces_(form_), open_prompts_(static_cast<int>(form_.prompts.size())) {}

OrderedJson CompletionStream::chunk(OrderedJson choices) const {
  OrderedJson object = head_object(form_.head);
  object["choices"] = std::move(choices);
  if (form_.include_usage) object["usage"] = nullptr;
  return object;
}

std::string CompletionStream::push(int prompt, AnswerDelta delta) {
  std::string events;
  for (OrderedJson& piece : pieces_.push(prompt, std::move(delta))) {
    const auto index = piece["index"].get<int64_t>();
    OrderedJson object = chunk(OrderedJson::array({std::move(piece)}));
    if (form_.continuous_usage) {
      const Usage usage{
          .prompt_tokens = static_cast<int>(form_.prompts[static_cast<size_t>(prompt)].ids.size()),
          .generated_tokens = pieces_.generated(index)};
      object["usage"] = usage_object(usage, UsageDetails::kNone);
    }
    events += sse_data(object);
  }
  return events;
}

std::string CompletionStream::end(int /*prompt*/, const Usage& usage) {
  add_usage(usage_, usage, form_.echo_only);
  if (--open_prompts_ > 0) return "";
  std::string events;
  if (pieces_.was_cancelled()) {
    events += sse_data(error_object(stopped_error()));
  } else if (form_.include_usage) {
    OrderedJson object = chunk(OrderedJson::array());
    object["usage"] = usage_object(usage_, usage_details(form_.predictions));
    events += sse_data(object);
  }
  return events.append(kSseDone);
}

CompletionWhole::CompletionWhole(CompletionForm form)
    : form_(std::move(form)), pieces_(form_), open_prompts_(static_cast<int>(form_.prompts.size())) {
  const int n = open_prompts_ * form_.n;
  for (int i = 0; i < n; ++i) {
    choices_.push_back({{"index", i},
                        {"text", ""},
                        {"logprobs", nullptr},
                        {"finish_reason", nullptr},
                        {"stop_reason", nullptr}});
    if (form_.logprobs >= 0) choices_.back()["logprobs"] = empty_logprobs();
    if (form_.return_token_ids) choices_.back()["token_ids"] = OrderedJson::array();
  }
}

void CompletionWhole::push(int prompt, AnswerDelta delta) {
  for (const OrderedJson& piece : pieces_.push(prompt, std::move(delta)))
    join(choices_[piece["index"].get<size_t>()], piece);
}

void CompletionWhole::end(int /*prompt*/, const Usage& usage) {
  add_usage(usage_, usage, form_.echo_only);
  --open_prompts_;
}

OrderedJson CompletionWhole::body() const {
  OrderedJson object = head_object(form_.head);
  object["choices"] = choices_;
  object["usage"] = usage_object(usage_, usage_details(form_.predictions));
  return object;
}

}  // namespace heed
