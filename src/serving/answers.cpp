#include "serving/answers.h"

#include <utility>

namespace heed {
namespace {

FinishedReason metric_of(EndReason reason) {
  if (reason == EndReason::kLength) return FinishedReason::kLength;
  return reason == EndReason::kCancelled ? FinishedReason::kAbort : FinishedReason::kStop;
}

}  // namespace

Answers::Answers(const Tokenizer* tokenizer, const GenerateRequest& request,
                 std::unique_ptr<AnswerListener> listener, Engine& engine, ServingMetrics& metrics)
    : engine_(engine),
      metrics_(metrics),
      listener_(std::move(listener)),
      start_(request.arrived.value_or(Clock::now())),
      submitted_(now()),
      max_tokens_(request.max_tokens),
      untold_choices_(request.n),
      open_choices_(request.n) {
  usage_.prompt_tokens = static_cast<int>(request.prompt.size());
  usage_.image_tokens = count_soft_tokens(request.images);
  for (int i = 0; i < request.n; ++i) choices_.push_back({.text = AnswerText(tokenizer, request, i)});
}

void Answers::abandon() { listener_.reset(); }

void Answers::hear(int index, const Event& event) {
  Choice& choice = choices_[static_cast<size_t>(index)];
  if (!choice.told) {
    if (index == 0) usage_.cached_tokens = event.cached_tokens;
    if (event.id >= 0) choice.scheduled = submitted_ + event.queue_seconds;
    if (event.id >= 0) count_token(choice);
    count_drafts(choice, event);
    AnswerDelta delta = choice.text.hear(event);
    const std::optional<EndReason> end = delta.end;
    if (listener_) listener_->on_delta(std::move(delta));
    if (end) close(choice, *end);
    if (end && !event.finish) engine_.cancel(event.request);  // by a stop string
    if (untold_choices_ == 0 && listener_) {
      listener_->on_end(usage_);
      listener_.reset();
    }
  }
  if (event.finish) --open_choices_;
}

void Answers::count_token(Choice& choice) {
  const double moment = now();
  if (!choice.first_token) {
    choice.first_token = moment;
    metrics_.observe_first_token(moment);
  } else {
    metrics_.observe_next_token(moment - choice.last_token);
  }
  choice.last_token = moment;
  ++choice.tokens;
  ++usage_.generated_tokens;
}

// Events tell how many there have been so far.
void Answers::count_drafts(Choice& choice, const Event& event) {
  usage_.draft_tokens += event.draft_tokens - std::exchange(choice.drafts, event.draft_tokens);
  usage_.accepted_tokens += event.accepted_tokens - std::exchange(choice.accepted, event.accepted_tokens);
}

void Answers::close(Choice& choice, EndReason reason) {
  choice.told = true;
  --untold_choices_;
  if (!listener_) return;
  metrics_.observe_finished({.reason = metric_of(reason),
                             .prompt_tokens = usage_.prompt_tokens,
                             .generation_tokens = choice.tokens,
                             .max_tokens = max_tokens_,
                             .queued = 0,
                             .scheduled = choice.scheduled,
                             .first_token = choice.first_token,
                             .last_token = choice.last_token,
                             .finished = now()});
}

}  // namespace heed
