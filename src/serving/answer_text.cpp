#include "serving/answer_text.h"

#include <algorithm>

namespace heed {
namespace {

// So many tokens of the prompt are decoded ahead of the answer: a tokenizer's first token loses its leading
// space, and the answer's first token is not the text's first.
constexpr size_t kContextTokens = 6;

EndReason reason_of(Finish finish) {
  if (finish == Finish::kLength) return EndReason::kLength;
  return finish == Finish::kStop ? EndReason::kStop : EndReason::kCancelled;
}

}  // namespace

AnswerText::AnswerText(const Tokenizer* tokenizer, const GenerateRequest& request, int choice)
    : tokenizer_(tokenizer),
      stops_(request.stops),
      own_stop_ids_(request.stop_ids),
      choice_(choice),
      include_stop_(request.include_stop) {
  if (tokenizer == nullptr) return;
  decoder_.emplace(*tokenizer, request.skip_special_tokens);
  const size_t size = request.prompt.size();
  for (size_t i = size - std::min(size, kContextTokens); i < size; ++i) decoder_->push(request.prompt[i]);
}

AnswerDelta AnswerText::hear(const Event& event) {
  AnswerDelta delta{.choice = choice_};
  if (ended_) return delta;
  for (const std::vector<Logprob>& entries : event.prompt_logprobs) {
    TokenLogprob token = named(entries.front());
    for (size_t i = 1; i < entries.size(); ++i) token.top.push_back(named(entries[i]));
    delta.prompt_logprobs.push_back(std::move(token));
  }
  if (event.id >= 0) take_token(event, delta);
  if (event.finish || stopped()) end(event, delta);
  return delta;
}

void AnswerText::take_token(const Event& event, AnswerDelta& delta) {
  delta.ids.push_back(event.id);
  if (event.is_stop) {
    const bool own = std::find(own_stop_ids_.begin(), own_stop_ids_.end(), event.id) != own_stop_ids_.end();
    if (own) delta.stop_id = event.id;
    if (include_stop_ && tokenizer_ != nullptr) stop_text_ = tokenizer_->bytes_of(event.id);
    return;
  }
  if (event.logprob) {
    TokenLogprob token = named(*event.logprob);
    for (const Logprob& top : event.top_logprobs) token.top.push_back(named(top));
    delta.logprobs.push_back(std::move(token));
  }
  if (decoder_) show(decoder_->push(event.id), delta);
}

void AnswerText::end(const Event& event, AnswerDelta& delta) {
  ended_ = true;
  if (decoder_ && !stopped()) show(decoder_->finish(), delta);
  if (stopped()) {
    delta.stop_string = stops_.matched();
    delta.end = EndReason::kStop;
    if (include_stop_) delta.text += delta.stop_string;
    return;
  }
  delta.text += stops_.finish() + stop_text_;
  delta.end = reason_of(*event.finish);
}

void AnswerText::show(std::string_view text, AnswerDelta& delta) { delta.text += stops_.push(text); }

TokenLogprob AnswerText::named(const Logprob& logprob) const {
  return {.id = logprob.id,
          .bytes = tokenizer_ != nullptr ? tokenizer_->bytes_of(logprob.id) : "",
          .logprob = logprob.logprob,
          .rank = logprob.rank};
}

}  // namespace heed
