#include "cli/conversation.h"

#include <chrono>
#include <future>

#include "text/stop_strings.h"

namespace heed {

Result<std::vector<int>> chat_prompt(const TextSide& text, const OrderedJson& messages) {
  const std::string rendered =
      TRY(render_chat(text, {{"messages", messages}, {"add_generation_prompt", true}}));
  return encode_chat(text, rendered);
}

namespace {

// Turns a request's events into an Answer, on the engine's thread.
class Listener {
 public:
  Listener(Engine& engine, const TextSide& text, const AnswerOptions& options)
      : engine_(engine), options_(options), stops_(options.stops) {
    if (text.tokenizer) decoder_.emplace(*text.tokenizer);
  }

  void hear(const Event& event) {
    if (event.id >= 0 && !over_) take(event);
    if (!event.finish) return;
    if (!over_) result_.finish = *event.finish;
    result_.cached_tokens = event.cached_tokens;
    if (decoder_) show(stops_.push(decoder_->finish()));
    show(stops_.finish());
    if (stops_.stopped()) result_.finish = Finish::kStop;
    done_.set_value(std::move(result_));
  }

  std::future<Answer> result() { return done_.get_future(); }

 private:
  using Clock = std::chrono::steady_clock;

  void take(const Event& event) {
    const auto seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    if (result_.ids.empty()) result_.prefill_seconds = seconds;
    result_.decode_seconds = seconds - result_.prefill_seconds;
    result_.ids.push_back(event.id);
    if (!event.is_stop && decoder_) show(stops_.push(decoder_->push(event.id)));
    const bool cancelled = options_.cancelled && options_.cancelled();
    if (!stops_.stopped() && !cancelled) return;
    over_ = true;
    result_.finish = stops_.stopped() ? Finish::kStop : Finish::kCancelled;
    engine_.cancel(event.request);
  }

  void show(const std::string& piece) {
    result_.text += piece;
    if (!piece.empty() && options_.on_text) options_.on_text(piece);
  }

  Engine& engine_;
  const AnswerOptions& options_;
  StopStrings stops_;
  std::optional<StreamDecoder> decoder_;
  Clock::time_point start_ = Clock::now();
  bool over_ = false;  // a stop string or the caller has ended the answer
  Answer result_;
  std::promise<Answer> done_;
};

}  // namespace

Result<Answer> answer(Engine& engine, const TextSide& text, Request request, const AnswerOptions& options) {
  Listener listener(engine, text, options);
  std::future<Answer> result = listener.result();
  request.on_event = [&listener](const Event& event) { listener.hear(event); };
  TRY(engine.submit(std::move(request)));
  Answer answered = result.get();
  engine.drain();  // the listener must outlive the last event
  return answered;
}

}  // namespace heed
