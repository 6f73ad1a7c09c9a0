#include "api/answer_parts.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace heed {
namespace {

void append(std::vector<TokenLogprob>& to, std::vector<TokenLogprob> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

std::vector<AnswerStep> AnswerParts::push(ChatDelta delta) {
  using Kind = AnswerPart::Kind;
  std::vector<AnswerStep> steps;
  MessageDelta& message = delta.message;
  // Tokens may come before their text; those of other parts than text are not reported.
  append(waiting_, std::move(delta.answer.logprobs));
  if (message.content.empty() && !message.empty()) waiting_.clear();

  if (!message.reasoning.empty()) {
    if (!is_open(Kind::kReasoning)) open(Kind::kReasoning, "", steps);
    more(std::move(message.reasoning), {}, steps);
  }
  if (!message.content.empty()) {
    if (!is_open(Kind::kText)) open(Kind::kText, "", steps);
    more(std::move(message.content), std::exchange(waiting_, {}), steps);
  }
  for (ToolCallDelta& call : message.tool_calls) {
    if (!is_open(Kind::kToolCall) || call.index != open_call_) {
      open(Kind::kToolCall, std::move(call.name), steps);
      open_call_ = call.index;
    }
    if (!call.arguments.empty()) more(std::move(call.arguments), {}, steps);
  }
  if (delta.answer.end) {
    end_ = delta.answer.end;
    stop_string_ = std::move(delta.answer.stop_string);
  }
  return steps;
}

std::vector<AnswerStep> AnswerParts::finish(bool never_empty) {
  std::vector<AnswerStep> steps;
  if (parts_.empty() && never_empty) open(AnswerPart::Kind::kText, "", steps);
  if (is_open(AnswerPart::Kind::kText)) append(parts_.back().logprobs, std::exchange(waiting_, {}));
  close(steps);
  return steps;
}

bool AnswerParts::has_tool_call() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const AnswerPart& part) { return part.kind == AnswerPart::Kind::kToolCall; });
}

void AnswerParts::open(AnswerPart::Kind kind, std::string name, std::vector<AnswerStep>& steps) {
  close(steps);
  parts_.push_back({.kind = kind, .name = std::move(name)});
  open_ = true;
  steps.push_back({.what = AnswerStep::What::kOpen, .part = static_cast<int>(parts_.size()) - 1});
}

void AnswerParts::close(std::vector<AnswerStep>& steps) {
  if (!open_) return;
  open_ = false;
  steps.push_back({.what = AnswerStep::What::kClose, .part = static_cast<int>(parts_.size()) - 1});
}

void AnswerParts::more(std::string piece, std::vector<TokenLogprob> logprobs,
                       std::vector<AnswerStep>& steps) {
  AnswerPart& part = parts_.back();
  part.text += piece;
  part.logprobs.insert(part.logprobs.end(), logprobs.begin(), logprobs.end());
  steps.push_back({.what = AnswerStep::What::kMore,
                   .part = static_cast<int>(parts_.size()) - 1,
                   .piece = std::move(piece),
                   .logprobs = std::move(logprobs)});
}

std::string tool_call_id(const std::string& prefix, const std::string& stem, int part, bool is_short) {
  if (!is_short) return prefix + stem + std::to_string(part);
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  constexpr int kStemDigits = 7;
  const auto base = static_cast<int>(kDigits.size());
  return stem.substr(0, kStemDigits) + kDigits[static_cast<size_t>(part / base % base)] +
         kDigits[static_cast<size_t>(part % base)];
}

}  // namespace heed
