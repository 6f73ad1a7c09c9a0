// One answer's events turned into text as it becomes certain.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "serving/answer.h"
#include "serving/text_side.h"
#include "text/stop_strings.h"

namespace heed {

class AnswerText {
 public:
  // `tokenizer` null: the answer has ids only. Bytes of tokens for log-probabilities come from it.
  AnswerText(const Tokenizer* tokenizer, const GenerateRequest& request, int choice);

  // The delta of the engine's next event. Once `end` was set, what follows is empty.
  AnswerDelta hear(const Event& event);
  // A stop string was found: the engine need not go on.
  bool stopped() const { return stops_.stopped(); }
  bool ended() const { return ended_; }

 private:
  void take_token(const Event& event, AnswerDelta& delta);
  void end(const Event& event, AnswerDelta& delta);
  void show(std::string_view text, AnswerDelta& delta);
  TokenLogprob named(const Logprob& logprob) const;

  const Tokenizer* tokenizer_;
  std::optional<StreamDecoder> decoder_;
  StopStrings stops_;
  std::vector<int> own_stop_ids_;
  int choice_;
  bool include_stop_;
  bool ended_ = false;
  std::string stop_text_;  // of the stop token, if it is shown
};

}  // namespace heed
