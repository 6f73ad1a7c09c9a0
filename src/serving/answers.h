// All answers to one request under way: from the engine's events to the listener's calls and the metrics.
#pragma once
#include <chrono>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "metrics/serving_metrics.h"
#include "serving/answer_text.h"

namespace heed {

class Answers {
 public:
  Answers(const Tokenizer* tokenizer, const GenerateRequest& request,
          std::unique_ptr<AnswerListener> listener, Engine& engine, ServingMetrics& metrics);

  // The next event of a choice. On the text thread.
  void hear(int choice, const Event& event);
  // Nobody is to hear of this any more: it was never submitted in full.
  void abandon();
  // Every choice has heard its last event.
  bool ended() const { return open_choices_ == 0; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Choice {
    AnswerText text;
    int tokens = 0;
    int drafts = 0, accepted = 0;  // tokens
    std::optional<double> scheduled, first_token;
    double last_token = 0;
    bool told = false;  // the listener knows its end
  };
  double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  void count_token(Choice& choice);
  void count_drafts(Choice& choice, const Event& event);
  void close(Choice& choice, EndReason reason);

  Engine& engine_;
  ServingMetrics& metrics_;
  std::unique_ptr<AnswerListener> listener_;
  Clock::time_point start_;  // when the request came
  double submitted_;
  std::vector<Choice> choices_;
  std::optional<int> max_tokens_;
  Usage usage_;
  int untold_choices_, open_choices_;
};

}  // namespace heed
