#include "cli/conversation.h"

#include <chrono>
#include <future>

#include "serving/answer_text.h"

namespace heed {
namespace {

// Turns a request's events into an Answer, on the engine's thread.
class Listener {
 public:
  Listener(Engine& engine, AnswerText text, const AnswerOptions& options)
      : engine_(engine), options_(options), text_(std::move(text)) {}

  void hear(const Event& event) {
    take(text_.hear(event), event.request);
    if (!event.finish) return;
    result_.cached_tokens = event.cached_tokens;
    done_.set_value(std::move(result_));
  }

  std::future<Answer> result() { return done_.get_future(); }

 private:
  using Clock = std::chrono::steady_clock;

  void take(const AnswerDelta& delta, uint64_t request) {
    if (!delta.ids.empty()) {
      const auto seconds = std::chrono::duration<double>(Clock::now() - start_).count();
      if (result_.ids.empty()) result_.prefill_seconds = seconds;
      result_.decode_seconds = seconds - result_.prefill_seconds;
    }
    result_.ids.insert(result_.ids.end(), delta.ids.begin(), delta.ids.end());
    result_.text += delta.text;
    if (!delta.text.empty() && options_.on_text) options_.on_text(delta.text);
    if (delta.end) result_.finish = *delta.end == EndReason::kLength ? Finish::kLength : Finish::kStop;
    const bool cancelled = options_.cancelled && options_.cancelled();
    if (text_.stopped() || cancelled) engine_.cancel(request);
  }

  Engine& engine_;
  const AnswerOptions& options_;
  AnswerText text_;
  Clock::time_point start_ = Clock::now();
  Answer result_;
  std::promise<Answer> done_;
};

}  // namespace

Result<Answer> answer(Engine& engine, const TextSide& text, Request request, const AnswerOptions& options) {
  const Tokenizer* tokenizer = text.tokenizer ? &*text.tokenizer : nullptr;
  AnswerText answer_text(tokenizer, {.prompt = request.prompt, .stops = options.stops}, 0);
  Listener listener(engine, std::move(answer_text), options);
  std::future<Answer> result = listener.result();
  request.on_event = [&listener](const Event& event) { listener.hear(event); };
  TRY(engine.submit(std::move(request)));
  Answer answered = result.get();
  engine.drain();  // the listener must outlive the last event
  return answered;
}

}  // namespace heed
